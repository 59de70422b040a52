//! What a plugin says when it is asked in peace, and whether an answer fits that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{CallFailure, Instance, Session};
use gatemq_types::{Action, AuthOutcome, Connect, Identity, ReasonCode, Verdict};

/// Different problems of a step that are told.
const PROBLEMS_MAX: usize = 20;

/// What did not hold, and how often.
#[derive(Default)]
pub(super) struct Problems(BTreeMap<String, usize>);

impl Problems {
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if self.0.len() < PROBLEMS_MAX || self.0.contains_key(&problem) {
            *self.0.entry(problem).or_default() += 1;
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        let times = |n: usize| if n == 1 { String::new() } else { format!(" ({n} times)") };
        self.0.into_iter().map(|(problem, n)| format!("{problem}{}", times(n))).collect()
    }
}

/// As whom a client is admitted: tenant and user.
type Admitted = (String, String);

struct Known {
    connect: Connect,
    /// As whom it may be admitted, by any of the configurations. Empty: it is refused by all of them.
    admitted: Vec<Admitted>,
    /// Whether each configuration admits it.
    always: bool,
}

/// An admitted client and an action, and whether it may.
struct Asked {
    session: Arc<Session>,
    action: Action,
    allowed: bool,
}

/// See the module.
pub(super) struct Judge {
    clients: Vec<Known>,
    actions: Vec<Action>,
    asked: Vec<Asked>,
}

fn admitted(outcome: &AuthOutcome) -> Option<&Identity> {
    match outcome {
        AuthOutcome::Accept(identity) => Some(identity),
        _ => None,
    }
}

/// It has too much to do.
fn is_busy(outcome: &AuthOutcome) -> bool {
    match outcome {
        AuthOutcome::Unavailable { .. } => true,
        AuthOutcome::Reject { code, .. } => matches!(*code, ReasonCode::SERVER_BUSY | ReasonCode::SERVER_UNAVAILABLE),
        _ => false,
    }
}

fn is_allowed(verdict: &Result<Verdict, CallFailure>) -> bool {
    matches!(verdict, Ok(Verdict::Allow { .. }))
}

impl Judge {
    pub(super) fn new(clients: &[Connect], actions: &[Action]) -> Self {
        let known = |connect: &Connect| Known { connect: connect.clone(), admitted: Vec::new(), always: true };
        Judge { clients: clients.iter().map(known).collect(), actions: actions.to_vec(), asked: Vec::new() }
    }

    /// Asks in peace, one client after the other.
    pub(super) async fn learn(&mut self, instance: &Instance) -> Result<(), String> {
        let is_first = self.asked.is_empty();
        for known in &mut self.clients {
            let of = |failure: CallFailure| format!("asked about {} in peace: {failure}", name(&known.connect));
            let outcome = instance.authenticate(&known.connect).await.map_err(of)?;
            let Some(identity) = admitted(&outcome) else {
                known.always = false;
                continue;
            };
            let of = |problem: String| format!("{}: {problem}", name(&known.connect));
            unusable(identity).map_or(Ok(()), |problem| Err(of(problem)))?;
            known.admitted.push((identity.tenant.clone(), identity.user.clone()));
            let session = Session::new(&known.connect, identity);
            for action in self.actions.iter().filter(|_| is_first) {
                let verdict = instance.authorize(&session, action.clone()).await;
                let allowed = is_allowed(&verdict);
                verdict.map_err(|failure| of(format!("{} {}: {failure}", action.kind.name(), action.topic)))?;
                self.asked.push(Asked { session: session.clone(), action: action.clone(), allowed });
            }
        }
        // Other configurations may allow what the first one denies.
        for asked in self.asked.iter_mut().filter(|_| !is_first) {
            asked.allowed |= is_allowed(&instance.authorize(&asked.session, asked.action.clone()).await);
        }
        Ok(())
    }

    /// Whether an answer about the client at this place is one that may be. `Busy` is.
    pub(super) fn outcome(&self, at: usize, answer: &Result<AuthOutcome, CallFailure>, problems: &mut Problems) {
        let known = &self.clients[at];
        let who = name(&known.connect);
        match answer {
            Ok(AuthOutcome::Accept(identity)) => {
                let as_whom = (identity.tenant.clone(), identity.user.clone());
                match known.admitted.contains(&as_whom) {
                    _ if known.admitted.is_empty() => {
                        problems.add(format!("{who} is admitted, and is refused in peace"))
                    }
                    true => {}
                    false => problems.add(format!("{who} is admitted as {} of {}", as_whom.1, as_whom.0)),
                }
            }
            Ok(outcome) if is_busy(outcome) => {}
            Ok(other) if known.always => problems.add(format!("{who} is admitted in peace, and gets {}", word(other))),
            Ok(_) => {}
            Err(failure) if failure.is_busy() => {}
            Err(failure) => problems.add(format!("{who}: {failure}")),
        }
    }

    /// How many different questions about actions there are.
    pub(super) fn questions(&self) -> usize {
        self.asked.len()
    }

    /// The question at this place.
    pub(super) fn question(&self, at: usize) -> (Arc<Session>, Action) {
        (self.asked[at].session.clone(), self.asked[at].action.clone())
    }

    /// Sessions of clients that are admitted and have actions to ask for.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.asked.iter().map(|asked| &asked.session)
    }

    /// Whether the answer to it is one that may be. `Busy` is.
    pub(super) fn verdict(&self, at: usize, answer: &Result<Verdict, CallFailure>, problems: &mut Problems) {
        let asked = &self.asked[at];
        let what = format!("{} {}", asked.action.kind.name(), asked.action.topic);
        match answer {
            Ok(Verdict::Allow { .. }) if !asked.allowed => {
                problems.add(format!("{what} is allowed, and denied in peace"))
            }
            Ok(_) => {}
            Err(failure) if failure.is_busy() => {}
            Err(failure) => problems.add(format!("{what}: {failure}")),
        }
    }

    /// Who is admitted in peace is admitted again, within `patience`.
    pub(super) async fn settles(&self, instance: &Instance, patience: Duration, problems: &mut Problems) {
        for (at, known) in self.clients.iter().enumerate() {
            let deadline = Instant::now() + patience;
            loop {
                let answer = instance.authenticate(&known.connect).await;
                let waits = match &answer {
                    Ok(outcome) => known.always && is_busy(outcome),
                    Err(failure) => failure.is_busy(),
                };
                if !waits {
                    self.outcome(at, &answer, problems);
                    break;
                }
                if Instant::now() >= deadline {
                    let who = name(&known.connect);
                    problems.add(format!("{who} is admitted in peace, and not within {patience:?} afterwards"));
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn name(connect: &Connect) -> String {
    match &connect.user_name {
        Some(user) => format!("client {:?} of user {user:?}", connect.client_id),
        None => format!("client {:?}", connect.client_id),
    }
}

fn word(outcome: &AuthOutcome) -> String {
    match outcome {
        AuthOutcome::Accept(_) => "Accept".into(),
        AuthOutcome::Continue { .. } => "Continue".into(),
        AuthOutcome::Reject { reason, .. } => format!("Reject ({reason:?})"),
        AuthOutcome::Redirect { .. } => "Redirect".into(),
        AuthOutcome::Next => "Next".into(),
        AuthOutcome::Unavailable { .. } => "Unavailable".into(),
    }
}

/// Why no broker could take an identity.
pub(super) fn unusable(identity: &Identity) -> Option<String> {
    match () {
        () if identity.tenant.is_empty() => Some("it is admitted with an empty tenant".into()),
        () if identity.user.is_empty() => Some("it is admitted with an empty user".into()),
        () if identity.client_id.as_deref() == Some("") => Some("it is given an empty client identifier".into()),
        () => None,
    }
}
