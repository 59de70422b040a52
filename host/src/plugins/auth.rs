//! The chain of auth providers: asked in order; the first that does not say Next decides; a failure is a denial.

use std::sync::Arc;
use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Instance};
use gatemq_types::{Actions, AuthOutcome, Connect, Grant, Identity, ReasonCode};

/// Who is asked, in order.
pub(crate) struct AuthChain {
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
    /// Refused.
    Refused {
        /// Code for the client.
        code: ReasonCode,
        /// Why.
        reason: String,
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

impl AuthChain {
    /// `order` is `[auth] chain`.
    ///
    /// # Errors
    /// No provider; several without an order; an order that names something else, or leaves one out.
    pub(crate) fn new(providers: Vec<Arc<Instance>>, order: Option<&[String]>, dev: bool) -> Result<Self, String> {
        let names = || providers.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
        let Some(order) = order else {
            return match providers.len() {
                0 if dev => Ok(AuthChain { providers, dev }),
                0 => Err(
                    "auth: no auth provider is loaded, so nobody could be admitted; configure one in [plugins.NAME], \
                          or start with --dev to try things out on loopback"
                        .into(),
                ),
                1 => Ok(AuthChain { providers, dev: false }),
                _ => Err(format!("auth.chain: give the order in which the auth providers are asked: {}", names())),
            };
        };
        if let Some(missing) = order.iter().find(|name| !providers.iter().any(|p| p.name() == *name)) {
            return Err(format!(
                "auth.chain: {missing:?} is not an auth provider that is loaded (those are: {})",
                names()
            ));
        }
        if let Some(left_out) = providers.iter().find(|p| !order.iter().any(|name| name == p.name())) {
            return Err(format!(
                "auth.chain: {:?} is loaded but not in the chain; add it, or remove it",
                left_out.name()
            ));
        }
        if order.is_empty() {
            return Err("auth.chain: it is empty, so nobody could be admitted".into());
        }
        let by_name = |name: &String| providers.iter().find(|p| p.name() == name).cloned();
        Ok(AuthChain { providers: order.iter().filter_map(by_name).collect(), dev: false })
    }

    /// Walks the chain.
    pub(crate) async fn authenticate(&self, connect: &Connect) -> Admission {
        if self.dev {
            return Admission::Accepted { identity: Box::new(dev_identity(connect)), provider: None };
        }
        for provider in &self.providers {
            let plugin = provider.name().to_owned();
            return match provider.authenticate(connect).await {
                Ok(AuthOutcome::Next) => continue,
                Ok(AuthOutcome::Accept(identity)) => Admission::Accepted { identity, provider: Some(provider.clone()) },
                Ok(AuthOutcome::Reject { code, reason, delay }) => Admission::Refused { code, reason, plugin, delay },
                Ok(AuthOutcome::Unavailable { .. }) => {
                    Admission::Failed { plugin, failure: CallFailure::Failed("it is not available".into()) }
                }
                Ok(AuthOutcome::Continue { .. }) => Admission::Failed {
                    plugin,
                    failure: CallFailure::Failed("it wants another round, which this client did not offer".into()),
                },
                Err(failure) => Admission::Failed { plugin, failure },
            };
        }
        Admission::Refused {
            code: ReasonCode::NOT_AUTHORIZED,
            reason: "no auth provider knows this kind of client".into(),
            plugin: String::new(),
            delay: Duration::ZERO,
        }
    }
}

fn dev_identity(connect: &Connect) -> Identity {
    let user = connect.user_name.as_deref().filter(|u| !u.is_empty()).unwrap_or("dev");
    Identity::new("dev", user).with_grants([Grant::allow(Actions::ALL, "#")])
}
