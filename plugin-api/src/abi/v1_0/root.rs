//! The root module of a plugin library and the table of what the host offers.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString};

use super::{
    ActionView, ConnectRecord, EventView, InterestRecord, OutcomeCompleter, RequestRecord, ServiceCompleter,
    SessionRecord, Status, VerdictCompleter, VerdictRecord,
};

/// What a library says of itself.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PluginInfo {
    pub name: RString,
    pub version: RString,
    /// Version of `gatemq-plugin-api` that it was built with.
    pub api_version: RString,
    /// Built with panic=abort: its panics could not be contained, so it is refused.
    pub panic_aborts: bool,
}

/// A started plugin: a pointer that only the library which made it understands.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Instance {
    pub pointer: *const (),
}

// SAFETY: the SDK makes instances of types that are Send and Sync; the host never looks inside.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// Functions of an auth provider. None of them unwinds.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AuthTable {
    /// Copies what it needs, starts the work on the plugin's runtime and returns; never runs the author's code.
    pub authenticate: extern "C" fn(Instance, &ConnectRecord, OutcomeCompleter),
    /// One more round of enhanced authentication: the session's CONNECT, the client's data, the state of the last round,
    /// whether it is a re-authentication.
    pub exchange: extern "C" fn(Instance, &ConnectRecord, RSlice<'_, u8>, u64, bool, OutcomeCompleter),
    pub refresh: extern "C" fn(Instance, &SessionRecord, OutcomeCompleter),
    /// Runs the author's code: called on a call thread.
    pub authorize: extern "C" fn(Instance, &SessionRecord, &ActionView<'_>, &mut VerdictRecord) -> Status,
    pub authorize_slow: extern "C" fn(Instance, &SessionRecord, &ActionView<'_>, VerdictCompleter),
}

/// Functions of an event collector. None of them unwinds.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct CollectorTable {
    pub interest: extern "C" fn(Instance, &mut InterestRecord) -> Status,
    pub collect: extern "C" fn(Instance, RSlice<'_, EventView<'_>>) -> Status,
}

/// The root module.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRoot_Ref, prefix_fields = PluginRoot_Prefix)))]
#[sabi(missing_field(panic))]
pub struct PluginRoot {
    pub info: extern "C" fn() -> PluginInfo,
    /// Parses the configuration (JSON) and starts an instance. Runs the author's code.
    pub start: extern "C" fn(RStr<'_>, HostTable_Ref) -> RResult<Instance, Status>,
    /// Parses the configuration and nothing else.
    pub check: extern "C" fn(RStr<'_>) -> Status,
    /// Which keys its configuration has: JSON, a list of objects with `key`, `takes` and `needed`.
    pub keys: extern "C" fn(&mut RString) -> Status,
    pub reconfigure: extern "C" fn(Instance, RStr<'_>) -> Status,
    /// 1 ready, 2 degraded, 3 not ready; the message says why.
    pub health: extern "C" fn(Instance, &mut u32) -> Status,
    /// Deadline in milliseconds.
    pub stop: extern "C" fn(Instance, u64) -> Status,
    /// Drops the instance. It must not be used any more; calls under way keep it alive until they end.
    pub destroy: extern "C" fn(Instance) -> Status,
    pub auth: ROption<AuthTable>,
    pub events: ROption<CollectorTable>,
    /// Place of the third role, `Interceptor`, which comes with interface 1.1.
    #[sabi(last_prefix_field)]
    pub interceptor: ROption<u64>,
}

impl RootModule for PluginRoot_Ref {
    abi_stable::declare_root_module_statics! {PluginRoot_Ref}
    const BASE_NAME: &'static str = "gatemq_plugin";
    const NAME: &'static str = "GateMQ plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new(super::VERSION);
}

/// What the host offers. None of the functions blocks or unwinds; all may be called from any thread.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostTable_Ref, prefix_fields = HostTable_Prefix)))]
#[sabi(missing_field(panic))]
pub struct HostTable {
    pub context: u64,
    /// Level 1 error to 5 trace, target, message.
    pub log: extern "C" fn(u64, u8, RStr<'_>, RStr<'_>),
    /// Most detailed level that is wanted.
    pub log_level: extern "C" fn(u64) -> u8,
    /// Adds to a counter, whose name is prefixed with the plugin's.
    pub count: extern "C" fn(u64, RStr<'_>, u64),
    /// Sets a gauge, whose name is prefixed with the plugin's.
    pub gauge: extern "C" fn(u64, RStr<'_>, i64),
    /// Milliseconds since 1970 by the host's clock.
    pub now_ms: extern "C" fn(u64) -> u64,
    /// A request with an answer.
    #[sabi(last_prefix_field)]
    pub request: extern "C" fn(u64, &RequestRecord, ServiceCompleter),
}
