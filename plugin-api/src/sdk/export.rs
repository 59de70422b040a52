//! `export_plugin!`: makes a library of a plugin type.

/// Exports a plugin type from the library, in one or both roles:
///
/// ```ignore
/// export_plugin!(MyPlugin: auth);
/// export_plugin!(MyPlugin: events);
/// export_plugin!(MyPlugin: auth, events);
/// ```
///
/// The crate must be a `cdylib` built with unwinding panics. It needs no `unsafe` of its own.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty: auth) => {
        $crate::export_plugin!(@export $plugin, ::core::option::Option::Some($crate::abi::entry::auth_table::<$plugin>()), ::core::option::Option::None);
    };
    ($plugin:ty: events) => {
        $crate::export_plugin!(@export $plugin, ::core::option::Option::None, ::core::option::Option::Some($crate::abi::entry::collector_table::<$plugin>()));
    };
    ($plugin:ty: auth, events) => {
        $crate::export_plugin!(
            @export $plugin,
            ::core::option::Option::Some($crate::abi::entry::auth_table::<$plugin>()),
            ::core::option::Option::Some($crate::abi::entry::collector_table::<$plugin>())
        );
    };
    (@export $plugin:ty, $auth:expr, $events:expr) => {
        const _: () = {
            extern "C" fn info() -> $crate::abi::v1_0::PluginInfo {
                $crate::abi::entry::info($crate::abi::entry::Package {
                    name: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    panic_aborts: cfg!(panic = "abort"),
                })
            }
            struct Exported;
            impl $crate::abi::Root for Exported {
                fn root() -> $crate::abi::v1_0::PluginRoot_Ref {
                    $crate::abi::entry::root::<$plugin>(info, $auth, $events)
                }
            }
            $crate::export_root!(Exported);
        };
    };
}

/// Exports the library's one symbol for something that makes a root module. `export_plugin!` is what authors want.
#[doc(hidden)]
#[macro_export]
macro_rules! export_root {
    ($root:ty) => {
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, missing_docs)]
        pub static gatemq_plugin: $crate::abi::Header = $crate::abi::header::<$root>();
    };
}
