//! The chain of auth providers: asked in order; the first that does not say Next decides; a failure is a denial.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use gatemq_plugin_loader::{CallFailure, Pinned, Plugin};
use gatemq_types::{Actions, AuthOutcome, Connect, Grant, Identity, ReasonCode};

use super::failures::Failures;

/// A plugin that may be in a chain.
pub(crate) struct Provider {
    /// The plugin.
    pub(crate) plugin: Arc<Plugin>,
    /// While it does not work, a listener that has it in its chain admits nobody.
    pub(crate) required: bool,
    /// It may only deny.
    pub(crate) veto: bool,
}

impl Provider {
    fn has_started(&self) -> bool {
        self.plugin.current().is_some()
    }
}

/// Who is asked, in order.
#[derive(Default)]
pub(crate) struct AuthChain {
    /// Without any, and without `dev`, nobody is admitted.
    providers: Vec<Arc<Plugin>>,
    /// Those of them that are required.
    required: Vec<Arc<Plugin>>,
    /// Refused clients of each address, on all listeners.
    failures: Arc<Failures>,
    /// Without providers everybody is admitted: only with `--dev`, on loopback.
    dev: bool,
}

/// What the chain says of a client.
pub(crate) enum Admission {
    /// Admitted, by this provider (`None`: by `--dev`).
    Accepted {
        /// Who it is.
        identity: Box<Identity>,
        /// Who said so; answers the identity's questions as well.
        provider: Option<Arc<Plugin>>,
    },
    /// Another round of enhanced authentication.
    Continue {
        /// Authentication Data for the client.
        data: Vec<u8>,
        /// For the provider, with the client's answer.
        state: u64,
        /// Who wants it: the instance that began goes on.
        provider: Pinned,
    },
    /// Sent to another server.
    Redirected {
        /// Which; may be empty.
        server: String,
        /// For good.
        moved: bool,
        /// Who said so.
        plugin: String,
    },
    /// Refused.
    Refused {
        /// Code for the client.
        code: ReasonCode,
        /// Why.
        reason: String,
        /// What the client is told of it besides.
        reason_string: Option<String>,
        /// Who refused; empty: everybody said Next.
        plugin: String,
        /// Wait before telling.
        delay: Duration,
    },
    /// A provider did not answer: nobody is admitted, and the walk ends.
    Failed {
        /// Which.
        plugin: String,
        /// How.
        failure: CallFailure,
    },
}

/// Orders of auth providers, by the names that the configuration gives them.
pub(crate) struct Orders<'a> {
    /// `[auth] chain`: of every listener that has none of its own.
    pub(crate) common: Option<&'a [String]>,
    /// Every listener, and `[listeners.NAME.auth] chain`.
    pub(crate) own: BTreeMap<&'a str, Option<&'a [String]>>,
}

impl Orders<'_> {
    /// Whether an order names it.
    pub(super) fn is_naming(&self, plugin: &str) -> bool {
        self.written().iter().any(|(_, order)| order.iter().any(|name| name == plugin))
    }

    /// Every order that is written down, under its key.
    fn written(&self) -> Vec<(String, &[String])> {
        let own = self.own.iter().filter_map(|(name, order)| Some((format!("listeners.{name}.auth.chain"), (*order)?)));
        self.common.map(|order| ("auth.chain".to_owned(), order)).into_iter().chain(own).collect()
    }
}

/// The chain of each listener.
pub(crate) type AuthChains = BTreeMap<String, Arc<AuthChain>>;

/// The chain of a listener that is in force: whoever comes takes it along until it is decided about him.
pub(crate) type Guard = Arc<ArcSwap<AuthChain>>;

/// Those of all listeners.
pub(crate) type Guards = BTreeMap<String, Guard>;

/// Names of plugins, for what the orders may name.
pub(super) struct Names<'a> {
    /// Auth providers that have started.
    pub(super) started: Vec<&'a str>,
    /// Those of them that may only deny.
    pub(super) vetoes: Vec<&'a str>,
    /// Plugins that are not required and have not started.
    pub(super) left_out: Vec<&'a str>,
}

/// What is wrong with the orders. `dev`: nobody need be asked.
pub(super) fn problems(names: &Names, orders: &Orders, dev: bool) -> Vec<String> {
    let Names { started, vetoes, left_out } = names;
    let (all, written) = (started.join(", "), orders.written());
    let mut problems = Vec::new();
    for (key, order) in &written {
        if order.is_empty() {
            problems.push(format!("{key}: it is empty, so nobody could be admitted"));
        }
        let is_known = |name: &str| started.contains(&name) || left_out.contains(&name);
        for missing in order.iter().filter(|name| !is_known(name.as_str())) {
            let loaded = if started.is_empty() { "there is none" } else { &all };
            problems.push(format!("{key}: {missing:?} is not an auth provider that is loaded (those are: {loaded})"));
        }
        if !order.is_empty() && order.iter().all(|name| vetoes.contains(&name.as_str())) {
            problems.push(format!("{key}: all in it have a veto and only deny, so nobody could be admitted"));
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    let unordered: Vec<_> =
        orders.own.iter().filter(|(_, own)| own.or(orders.common).is_none()).map(|o| *o.0).collect();
    match &started[..] {
        [] if dev => return problems,
        [] => problems.push(
            "auth: no auth provider is loaded, so nobody could be admitted; configure one in [plugins.NAME], or start with \
             --dev to try things out on loopback"
                .into(),
        ),
        [only] if !unordered.is_empty() && vetoes.contains(only) => {
            problems.push(format!("auth: {only:?} has a veto and only denies, so nobody could be admitted"));
        }
        [_] => {}
        [..] if !unordered.is_empty() => {
            let (of, first) = (unordered.join(", "), unordered[0]);
            problems.push(format!(
                "auth.chain: give the order in which the auth providers are asked ({all}), here or in such as \
                 [listeners.{first}.auth]; listeners without an order: {of}"
            ));
        }
        [..] => {}
    }
    if !problems.is_empty() {
        return problems;
    }
    // A listener without an order asks the only provider.
    let is_asked =
        |name: &&str| !unordered.is_empty() || written.iter().any(|(_, order)| order.iter().any(|n| n == name));
    for left_out in started.iter().filter(|name| !is_asked(name)) {
        let keys: Vec<_> = written.iter().map(|(key, _)| key.as_str()).collect();
        let keys = keys.join(", ");
        problems.push(format!("auth: {left_out:?} is loaded but in no chain ({keys}); add it to one, or remove it"));
    }
    problems
}

/// The chain of each listener of `orders`, from the auth providers, and the plugins that have not started: those deny where
/// an order names them, and are left out of the others.
///
/// # Errors
/// All that is wrong: no provider; several, and a listener without an order; an order that names something else, or only those
/// that have a veto; a provider that no order names.
pub(crate) fn chains(
    providers: &[Provider],
    orders: &Orders,
    failures: &Arc<Failures>,
    dev: bool,
) -> Result<AuthChains, Vec<String>> {
    let names_of = |is: &dyn Fn(&&Provider) -> bool| providers.iter().filter(is).map(|p| p.plugin.name()).collect();
    let names = Names {
        started: names_of(&|p| p.has_started()),
        vetoes: names_of(&|p| p.veto),
        left_out: names_of(&|p| !p.has_started()),
    };
    let problems = problems(&names, orders, dev);
    if !problems.is_empty() {
        return Err(problems);
    }
    let chain = |own: &Option<&[String]>| {
        let by_name = |name: &String| providers.iter().find(|p| p.plugin.name() == name);
        let asked: Vec<&Provider> = match own.or(orders.common) {
            Some(order) => order.iter().filter_map(by_name).collect(),
            None => providers.iter().filter(|p| p.has_started()).collect(),
        };
        AuthChain {
            required: asked.iter().filter(|p| p.required).map(|p| p.plugin.clone()).collect(),
            providers: asked.iter().map(|p| p.plugin.clone()).collect(),
            failures: failures.clone(),
            dev: providers.is_empty() && dev,
        }
    };
    Ok(orders.own.iter().map(|(name, own)| ((*name).to_owned(), Arc::new(chain(own)))).collect())
}

impl AuthChain {
    /// Walks the chain. The providers are told how often clients of that address were refused lately.
    pub(crate) async fn authenticate(&self, connect: &mut Connect) -> Admission {
        if self.dev && connect.auth_method.is_none() {
            return Admission::Accepted { identity: Box::new(dev_identity(connect)), provider: None };
        }
        // Before anybody is asked: as if the listener were not open yet.
        for plugin in &self.required {
            if let Some(failure) = plugin.not_ready() {
                return Admission::Failed { plugin: plugin.name().to_owned(), failure };
            }
        }
        connect.failures = self.failures.of(connect.remote.ip());
        for provider in &self.providers {
            match judge(provider, connect, provider.authenticate(connect).await) {
                Some(admission) => return admission,
                None => continue,
            }
        }
        match &connect.auth_method {
            Some(_) => {
                refused(ReasonCode::BAD_AUTHENTICATION_METHOD, "no auth provider offers its Authentication Method")
            }
            None => refused(ReasonCode::NOT_AUTHORIZED, "no auth provider knows this kind of client"),
        }
    }

    /// A client from this address was refused.
    pub(crate) fn note_refused(&self, ip: IpAddr) {
        self.failures.note(ip);
    }
}

/// What the answer of a provider to a CONNECT or AUTH is; `None`: it has no opinion.
pub(crate) fn judge(
    provider: &Arc<Plugin>,
    connect: &Connect,
    answer: Result<(AuthOutcome, Pinned), CallFailure>,
) -> Option<Admission> {
    let plugin = provider.name().to_owned();
    let failed = |why: &str| Admission::Failed { plugin: plugin.clone(), failure: CallFailure::Failed(why.into()) };
    let (outcome, pinned) = match answer {
        Ok(answer) => answer,
        Err(failure) => return Some(Admission::Failed { plugin, failure }),
    };
    Some(match outcome {
        AuthOutcome::Next => return None,
        AuthOutcome::Accept(identity) => Admission::Accepted { identity, provider: Some(provider.clone()) },
        AuthOutcome::Reject { code, reason, reason_string, delay } => {
            Admission::Refused { code, reason, reason_string, plugin, delay }
        }
        AuthOutcome::Redirect { server, moved } => Admission::Redirected { server, moved, plugin },
        AuthOutcome::Unavailable { .. } => failed("it is not available"),
        AuthOutcome::Continue { data, state } => match connect.auth_method {
            Some(_) => Admission::Continue { data, state, provider: pinned },
            None => failed("it wants another round, which this client did not offer"),
        },
    })
}

/// Refused by nobody in particular.
fn refused(code: ReasonCode, reason: &str) -> Admission {
    let (reason, plugin) = (reason.to_owned(), String::new());
    Admission::Refused { code, reason, reason_string: None, plugin, delay: Duration::ZERO }
}

fn dev_identity(connect: &Connect) -> Identity {
    let user = connect.user_name.as_deref().filter(|u| !u.is_empty()).unwrap_or("dev");
    Identity::new("dev", user).with_grants([Grant::allow(Actions::ALL, "#")])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the common order and those of listeners `a` and `b`, for these providers: `v…` have a veto, `-…` have
    /// not started.
    fn wrong(names: &[&str], common: &str, a: &str, b: &str, dev: bool) -> Vec<String> {
        let list = |text: &str| -> Option<Vec<String>> {
            (text != "-").then(|| text.split_whitespace().map(str::to_owned).collect())
        };
        let (common, a, b) = (list(common), list(a), list(b));
        let own = BTreeMap::from([("a", a.as_deref()), ("b", b.as_deref())]);
        let begin = |with: char| names.iter().copied().filter(move |name| name.starts_with(with));
        let started = names.iter().copied().filter(|name| !name.starts_with('-')).collect();
        let names = Names { started, vetoes: begin('v').collect(), left_out: begin('-').collect() };
        problems(&names, &Orders { common: common.as_deref(), own }, dev)
    }

    /// Promise 1: whatever leaves it open who guards a listener is an error that names the key, or the listener; `-` is an
    /// order that is not written.
    #[test]
    fn promise_1_every_listener_has_its_guards() {
        for (names, common, a, b, parts) in [
            (&[][..], "-", "-", "-", &["no auth provider is loaded"][..]),
            (&[], "x", "-", "-", &["auth.chain: \"x\" is not", "there is none"]),
            (&["x"], "y", "-", "-", &["auth.chain: \"y\" is not an auth provider that is loaded (those are: x)"]),
            (&["x"], "-", "y", "-", &["listeners.a.auth.chain: \"y\" is not"]),
            (&["x"], "x", "", "-", &["listeners.a.auth.chain: it is empty"]),
            (&["x", "y"], "-", "-", "-", &["auth.chain: give the order", "(x, y)", "without an order: a, b"]),
            (&["x", "y"], "-", "x y", "-", &["[listeners.b.auth]", "without an order: b"]),
            (&["x", "y"], "x", "-", "-", &["\"y\" is loaded but in no chain (auth.chain)"]),
            (&["x", "y"], "-", "x", "x", &["\"y\" is loaded but in no chain (listeners.a.auth.chain, listeners.b"]),
            (&["v"], "-", "-", "-", &["\"v\" has a veto and only denies"]),
            (&["v", "x"], "x v", "v", "-", &["listeners.a.auth.chain: all in it have a veto"]),
            (&["-x"], "-x", "-", "-", &["no auth provider is loaded"]),
        ] {
            let found = wrong(names, common, a, b, false);
            let [problem] = &found[..] else { panic!("{names:?} {common} {a} {b}: {found:?}") };
            assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
        }
        let both = wrong(&["x"], "y", "z", "x", false);
        assert_eq!(both.len(), 2, "all at once: {both:?}");
        assert_eq!(wrong(&[], "x", "-", "-", true).len(), 1, "--dev is no reason to leave out who is named");
    }

    /// The twins: a single provider needs no order; a provider of one listener's chain need not be in the others'.
    #[test]
    fn orders_that_leave_nothing_open() {
        for (names, common, a, b, dev) in [
            (&[][..], "-", "-", "-", true),
            (&["x"], "-", "-", "-", false),
            (&["x"], "-", "x", "-", false),
            (&["x", "y"], "y x", "-", "-", false),
            (&["x", "y"], "x", "y", "-", false),
            (&["x", "y"], "-", "x", "y x", false),
            (&["v", "x"], "v x", "-", "-", false),
            (&["x", "-y"], "x", "-y", "x -y", false),
            (&["x", "-y"], "-", "-", "-", false),
        ] {
            assert_eq!(wrong(names, common, a, b, dev), [""; 0], "{names:?} {common} {a} {b}");
        }
    }
}
