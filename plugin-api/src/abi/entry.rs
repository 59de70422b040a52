//! The functions of the tables, for a plugin type: what the host's pointers point to.
//!
//! None of them unwinds: each runs under `contained`. An [`Instance`] is an `Arc<Running<P>>` turned into a pointer.

use std::marker::PhantomData;
use std::sync::Arc;

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString};

use super::convert;
use super::v1_0::{
    ActionView, AuthTable, CollectorTable, ConnectRecord, EventView, HostTable_Ref, Instance, InterestRecord,
    OutcomeCompleter, PluginInfo, PluginRoot, PluginRoot_Ref, SessionRecord, Status, StatusCode, VerdictCompleter,
    VerdictRecord,
};
use crate::sdk::{
    Action, AuthExchange, AuthProvider, Event, EventCollector, Host, OwnedAction, Plugin, ReconfigureError, Running,
    Session, contained,
};
use gatemq_types::{AuthOutcome, Secret};

/// Name, version and panic strategy of the crate that a plugin is built from.
#[derive(Clone, Copy)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub panic_aborts: bool,
}

/// Makes the root module of `P`.
pub fn root<P: Plugin>(
    info: extern "C" fn() -> PluginInfo,
    auth: Option<AuthTable>,
    events: Option<CollectorTable>,
) -> PluginRoot_Ref {
    PluginRoot {
        info,
        start: Entry::<P>::start,
        check: Entry::<P>::check,
        keys: Entry::<P>::keys,
        reconfigure: Entry::<P>::reconfigure,
        health: Entry::<P>::health,
        stop: Entry::<P>::stop,
        destroy: Entry::<P>::destroy,
        auth: auth.into(),
        events: events.into(),
        interceptor: ROption::RNone,
    }
    .leak_into_prefix()
}

/// What a library says of itself.
pub fn info(package: Package) -> PluginInfo {
    PluginInfo {
        name: package.name.into(),
        version: package.version.into(),
        api_version: env!("CARGO_PKG_VERSION").into(),
        panic_aborts: package.panic_aborts,
    }
}

/// Table of an auth provider.
pub fn auth_table<P: AuthProvider>() -> AuthTable {
    AuthTable {
        authenticate: Entry::<P>::authenticate,
        exchange: Entry::<P>::exchange,
        refresh: Entry::<P>::refresh,
        authorize: Entry::<P>::authorize,
        authorize_slow: Entry::<P>::authorize_slow,
    }
}

/// Table of an event collector.
pub fn collector_table<P: EventCollector>() -> CollectorTable {
    CollectorTable { interest: Entry::<P>::interest, collect: Entry::<P>::collect }
}

struct Entry<P>(PhantomData<P>);

impl<P: Plugin> Entry<P> {
    /// The instance, counted once more: it outlives the call even when the host destroys it meanwhile.
    fn running(instance: Instance) -> Arc<Running<P>> {
        let pointer = instance.pointer.cast::<Running<P>>();
        // SAFETY: the pointer came from `Arc::into_raw` in `start`, and the host uses it only until `destroy`.
        unsafe {
            Arc::increment_strong_count(pointer);
            Arc::from_raw(pointer)
        }
    }

    /// The instance, borrowed for a call during which the host does not destroy it.
    fn borrow<'a>(instance: Instance) -> &'a Running<P> {
        // SAFETY: as in `running`; the loader does not destroy an instance while a synchronous call is in it.
        unsafe { &*instance.pointer.cast::<Running<P>>() }
    }

    extern "C" fn start(config: RStr<'_>, host: HostTable_Ref) -> RResult<Instance, Status> {
        match contained(|| Running::<P>::start(config.as_str(), Host::new(host))) {
            Ok(Ok(running)) => RResult::ROk(Instance { pointer: Arc::into_raw(running).cast() }),
            Ok(Err(message)) => RResult::RErr(Status::failed(message)),
            Err(panic) => RResult::RErr(Status::panicked(panic)),
        }
    }

    extern "C" fn check(config: RStr<'_>) -> Status {
        status(contained(|| crate::sdk::config::parse::<P::Config>(config.as_str()).map(drop)))
    }

    extern "C" fn keys(keys: &mut RString) -> Status {
        match contained(crate::sdk::schema::json::<P::Config>) {
            Ok(json) => {
                *keys = json.into();
                Status::ok()
            }
            Err(panic) => Status::panicked(panic),
        }
    }

    extern "C" fn reconfigure(instance: Instance, config: RStr<'_>) -> Status {
        match contained(|| Self::borrow(instance).reconfigure(config.as_str())) {
            Ok(Ok(())) => Status::ok(),
            Ok(Err(ReconfigureError::Refused(why))) => Status::failed(why),
            Ok(Err(ReconfigureError::LoadAgain(why))) => Status { code: StatusCode::LOAD_AGAIN, message: why.into() },
            Err(panic) => Status::panicked(panic),
        }
    }

    extern "C" fn health(instance: Instance, state: &mut u32) -> Status {
        match contained(|| Self::borrow(instance).health()) {
            Ok((number, why)) => {
                *state = number;
                Status { message: why.into(), ..Status::ok() }
            }
            Err(panic) => Status::panicked(panic),
        }
    }

    extern "C" fn stop(instance: Instance, deadline_ms: u64) -> Status {
        status(contained(|| {
            Self::borrow(instance).stop(std::time::Duration::from_millis(deadline_ms));
            Ok(())
        }))
    }

    extern "C" fn destroy(instance: Instance) -> Status {
        // SAFETY: the pointer came from `Arc::into_raw`, and the host gives it up with this call.
        let running = unsafe { Arc::from_raw(instance.pointer.cast::<Running<P>>()) };
        status(contained(|| {
            running.end();
            Ok(())
        }))
    }
}

impl<P: AuthProvider> Entry<P> {
    extern "C" fn authenticate(instance: Instance, connect: &ConnectRecord, completer: OutcomeCompleter) {
        let started = contained(|| {
            let (running, connect) = (Self::running(instance), convert::connect_from(connect));
            running.clone().answer(completer, async move {
                match &connect.auth_method {
                    Some(method) if !running.plugin().offers_method(method) => AuthOutcome::Next,
                    _ => running.plugin().authenticate(&connect).await,
                }
            });
        });
        if let Err(panic) = started {
            completer.abandon(Status::panicked(panic));
        }
    }

    extern "C" fn exchange(
        instance: Instance,
        connect: &ConnectRecord,
        data: RSlice<'_, u8>,
        state: u64,
        reauthentication: bool,
        completer: OutcomeCompleter,
    ) {
        let started = contained(|| {
            let running = Self::running(instance);
            let step = AuthExchange {
                connect: convert::connect_from(connect),
                data: Secret::new(data.to_vec()),
                state,
                reauthentication,
            };
            running.clone().answer(completer, async move { running.plugin().exchange(&step).await });
        });
        if let Err(panic) = started {
            completer.abandon(Status::panicked(panic));
        }
    }

    extern "C" fn refresh(instance: Instance, session: &SessionRecord, completer: OutcomeCompleter) {
        let started = contained(|| {
            let (running, session) = (Self::running(instance), Session::owned(session));
            running.clone().answer(completer, async move { running.plugin().refresh(&session).await });
        });
        if let Err(panic) = started {
            completer.abandon(Status::panicked(panic));
        }
    }

    extern "C" fn authorize(
        instance: Instance,
        session: &SessionRecord,
        action: &ActionView<'_>,
        verdict: &mut VerdictRecord,
    ) -> Status {
        let (session, action) = (session_ref(session), Action::new(*action));
        // The answer is put where it belongs inside: out of there it would be copied once more.
        let answered = contained(|| {
            let answer = Self::borrow(instance).plugin().authorize(session, &action);
            convert::replace_bare(verdict, convert::verdict_to(answer));
        });
        match answered {
            Ok(()) => Status::ok(),
            Err(panic) => Status::panicked(panic),
        }
    }

    extern "C" fn authorize_slow(
        instance: Instance,
        session: &SessionRecord,
        action: &ActionView<'_>,
        completer: VerdictCompleter,
    ) {
        let started = contained(|| {
            let (running, session) = (Self::running(instance), Session::owned(session));
            let action = OwnedAction::new(action);
            running
                .clone()
                .answer(completer, async move { running.plugin().authorize_slow(&session, &action.action()).await });
        });
        if let Err(panic) = started {
            completer.abandon(Status::panicked(panic));
        }
    }
}

impl<P: EventCollector> Entry<P> {
    extern "C" fn interest(instance: Instance, interest: &mut InterestRecord) -> Status {
        match contained(|| Self::borrow(instance).plugin().interest()) {
            Ok(answer) => {
                *interest = answer.into_record();
                Status::ok()
            }
            Err(panic) => Status::panicked(panic),
        }
    }

    extern "C" fn collect(instance: Instance, events: RSlice<'_, EventView<'_>>) -> Status {
        status(contained(|| {
            Self::borrow(instance).plugin().collect(events_ref(events.as_slice()));
            Ok(())
        }))
    }
}

fn status(result: Result<Result<(), String>, String>) -> Status {
    match result {
        Ok(Ok(())) => Status::ok(),
        Ok(Err(message)) => Status::failed(message),
        Err(panic) => Status::panicked(panic),
    }
}

/// A session as authors see it.
pub fn session_ref(record: &SessionRecord) -> &Session {
    // SAFETY: `Session` is a transparent wrapper of `SessionRecord`.
    unsafe { &*std::ptr::from_ref(record).cast::<Session>() }
}

/// Events as authors see them.
pub fn events_ref<'a, 'b>(views: &'b [EventView<'a>]) -> &'b [Event<'a>] {
    // SAFETY: `Event` is a transparent wrapper of `EventView`.
    unsafe { std::slice::from_raw_parts(views.as_ptr().cast::<Event<'a>>(), views.len()) }
}

/// A completer whose functions need no context.
pub fn service_completer(
    token: u64,
    complete: extern "C" fn(*const (), u64, super::v1_0::ReplyRecord),
    abandon: extern "C" fn(*const (), u64, Status),
    cancelled: extern "C" fn(*const (), u64) -> bool,
) -> super::v1_0::ServiceCompleter {
    // SAFETY: the functions ignore the context and accept any token.
    unsafe { super::v1_0::ServiceCompleter::new(std::ptr::null(), token, complete, abandon, cancelled) }
}
