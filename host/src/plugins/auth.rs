//! The chain of auth providers: asked in order; the first that does not say Next decides; a failure is a denial.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Instance};
use gatemq_types::{Actions, AuthOutcome, Connect, Grant, Identity, ReasonCode};

/// Who is asked, in order.
#[derive(Default)]
pub(crate) struct AuthChain {
    /// Without any, and without `dev`, nobody is admitted.
    providers: Vec<Arc<Instance>>,
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
        provider: Option<Arc<Instance>>,
    },
    /// Another round of enhanced authentication.
    Continue {
        /// Authentication Data for the client.
        data: Vec<u8>,
        /// For the provider, with the client's answer.
        state: u64,
        /// Who wants it.
        provider: Arc<Instance>,
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
    /// Every order that is written down, under its key.
    fn written(&self) -> Vec<(String, &[String])> {
        let own = self.own.iter().filter_map(|(name, order)| Some((format!("listeners.{name}.auth.chain"), (*order)?)));
        self.common.map(|order| ("auth.chain".to_owned(), order)).into_iter().chain(own).collect()
    }
}

/// The chain of each listener.
pub(crate) type AuthChains = BTreeMap<String, Arc<AuthChain>>;

/// What is wrong with the orders, for these names of loaded providers. `dev`: nobody need be asked.
fn problems(names: &[&str], orders: &Orders, dev: bool) -> Vec<String> {
    let (all, written) = (names.join(", "), orders.written());
    let mut problems = Vec::new();
    for (key, order) in &written {
        if order.is_empty() {
            problems.push(format!("{key}: it is empty, so nobody could be admitted"));
        }
        for missing in order.iter().filter(|name| !names.contains(&name.as_str())) {
            let loaded = if names.is_empty() { "there is none" } else { &all };
            problems.push(format!("{key}: {missing:?} is not an auth provider that is loaded (those are: {loaded})"));
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    let unordered: Vec<_> =
        orders.own.iter().filter(|(_, own)| own.or(orders.common).is_none()).map(|o| *o.0).collect();
    if names.is_empty() {
        let message = "auth: no auth provider is loaded, so nobody could be admitted; configure one in [plugins.NAME], or \
                       start with --dev to try things out on loopback";
        return if dev { problems } else { vec![message.into()] };
    }
    if names.len() > 1 && !unordered.is_empty() {
        let (of, first) = (unordered.join(", "), unordered[0]);
        problems.push(format!(
            "auth.chain: give the order in which the auth providers are asked ({all}), here or in such as \
             [listeners.{first}.auth]; listeners without an order: {of}"
        ));
        return problems;
    }
    // A listener without an order asks the only provider.
    let is_asked =
        |name: &&str| !unordered.is_empty() || written.iter().any(|(_, order)| order.iter().any(|n| n == name));
    for left_out in names.iter().filter(|name| !is_asked(name)) {
        let keys: Vec<_> = written.iter().map(|(key, _)| key.as_str()).collect();
        let keys = keys.join(", ");
        problems.push(format!("auth: {left_out:?} is loaded but in no chain ({keys}); add it to one, or remove it"));
    }
    problems
}

/// The chain of each listener of `orders`.
///
/// # Errors
/// All that is wrong: no provider; several, and a listener without an order; an order that names something else; a provider
/// that no order names.
pub(crate) fn chains(providers: &[Arc<Instance>], orders: &Orders, dev: bool) -> Result<AuthChains, Vec<String>> {
    let names: Vec<&str> = providers.iter().map(|p| p.name()).collect();
    let problems = problems(&names, orders, dev);
    if !problems.is_empty() {
        return Err(problems);
    }
    let by_name = |name: &String| providers.iter().find(|p| p.name() == name).cloned();
    let chain = |own: &Option<&[String]>| AuthChain {
        providers: match own.or(orders.common) {
            Some(order) => order.iter().filter_map(by_name).collect(),
            None => providers.to_vec(),
        },
        dev: providers.is_empty() && dev,
    };
    Ok(orders.own.iter().map(|(name, own)| ((*name).to_owned(), Arc::new(chain(own)))).collect())
}

impl AuthChain {
    /// Walks the chain.
    pub(crate) async fn authenticate(&self, connect: &Connect) -> Admission {
        if self.dev && connect.auth_method.is_none() {
            return Admission::Accepted { identity: Box::new(dev_identity(connect)), provider: None };
        }
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
}

/// What the answer of a provider to a CONNECT or AUTH is; `None`: it has no opinion.
pub(crate) fn judge(
    provider: &Arc<Instance>,
    connect: &Connect,
    answer: Result<AuthOutcome, CallFailure>,
) -> Option<Admission> {
    let plugin = provider.name().to_owned();
    let failed = |why: &str| Admission::Failed { plugin: plugin.clone(), failure: CallFailure::Failed(why.into()) };
    Some(match answer {
        Ok(AuthOutcome::Next) => return None,
        Ok(AuthOutcome::Accept(identity)) => Admission::Accepted { identity, provider: Some(provider.clone()) },
        Ok(AuthOutcome::Reject { code, reason, reason_string, delay }) => {
            Admission::Refused { code, reason, reason_string, plugin, delay }
        }
        Ok(AuthOutcome::Redirect { server, moved }) => Admission::Redirected { server, moved, plugin },
        Ok(AuthOutcome::Unavailable { .. }) => failed("it is not available"),
        Ok(AuthOutcome::Continue { data, state }) => match connect.auth_method {
            Some(_) => Admission::Continue { data, state, provider: provider.clone() },
            None => failed("it wants another round, which this client did not offer"),
        },
        Err(failure) => Admission::Failed { plugin, failure },
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

    /// What is wrong with the common order and those of listeners `a` and `b`, for these providers.
    fn wrong(names: &[&str], common: &str, a: &str, b: &str, dev: bool) -> Vec<String> {
        let list = |text: &str| -> Option<Vec<String>> {
            (text != "-").then(|| text.split_whitespace().map(str::to_owned).collect())
        };
        let (common, a, b) = (list(common), list(a), list(b));
        let own = BTreeMap::from([("a", a.as_deref()), ("b", b.as_deref())]);
        problems(names, &Orders { common: common.as_deref(), own }, dev)
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
        ] {
            assert_eq!(wrong(names, common, a, b, dev), [""; 0], "{names:?} {common} {a} {b}");
        }
    }
}
