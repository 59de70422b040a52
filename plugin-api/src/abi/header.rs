//! The one symbol that a plugin library exports.

use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult};

use super::v1_0::PluginRoot_Ref;

/// Name of the exported static.
pub const ENTRY_SYMBOL: &str = "gatemq_plugin";

/// What the symbol is: abi_stable's header with the layout of the root module, so that a library is understood before it
/// is called.
pub type Header = LibHeader;

/// Something that can make a root module; `export_plugin!` writes one.
pub trait Root {
    /// Makes it. Called once, by the host's loader.
    fn root() -> PluginRoot_Ref;
}

extern "C" fn construct<R: Root>() -> RootModuleResult {
    __call_root_module_loader(R::root)
}

/// The header of a library whose root module `R` makes.
pub const fn header<R: Root>() -> Header {
    // SAFETY: `construct` returns a PluginRoot_Ref, which is the type that the layout is taken from.
    unsafe { LibHeader::from_constructor::<PluginRoot_Ref>(construct::<R>, CheckTypeLayout::Yes) }
}
