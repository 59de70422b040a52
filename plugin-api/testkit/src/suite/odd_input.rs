//! Odd clients, exchanges, actions, events and configurations, one after the other.

use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Instance};
use gatemq_types::{AuthOutcome, Connect, Identity, Verdict};

use super::judge::{Problems, unusable};
use super::{Subject, odd};
use crate::events::every_kind;
use crate::session;

/// Most different texts of which events are made: each makes one of every kind.
const EVENT_TEXT_MAX: usize = 4_096;

pub(super) async fn run(subject: &Subject<'_>, problems: &mut Problems) -> Result<String, String> {
    let configs = configs(subject, problems).await?;
    let under = subject.start().await?;
    let (mut clients, mut exchanges, mut actions, mut events) = (0, 0, 0, 0);
    if subject.is_auth {
        let of = subject.suite.clients.first().cloned().unwrap_or_else(|| crate::connect("sensor-1"));
        for odd in odd::clients(&of) {
            clients += 1;
            outcome("a client", under.instance.authenticate(&odd).await, problems);
        }
        exchanges = exchange(&under.instance, &of, problems).await;
        actions = authorize(subject, &under.instance, &of, problems).await;
    }
    if subject.is_collector {
        events = collect(subject, &under.instance, problems).await;
    }
    under.end(subject, problems).await;
    Ok(format!(
        "{configs} configurations, {clients} clients, {exchanges} exchanges, {actions} actions, {events} events"
    ))
}

/// Whatever the answer is, it must be one.
fn outcome(what: &str, answer: Result<AuthOutcome, CallFailure>, problems: &mut Problems) {
    match answer {
        Ok(AuthOutcome::Accept(identity)) => {
            unusable(&identity).into_iter().for_each(|problem| problems.add(format!("{what}: {problem}")));
        }
        Ok(_) => {}
        Err(failure) => problems.add(format!("{what}: {failure}")),
    }
}

/// Wrong configurations are refused, by the check and at the start.
async fn configs(subject: &Subject<'_>, problems: &mut Problems) -> Result<usize, String> {
    let library = subject.suite.host.load()?;
    let wrong = odd::wrong_configs(&subject.suite.configs[0]);
    for (what, config) in &wrong {
        match library.check_config(config.clone(), subject.timeout()).await {
            Ok(()) => problems.add(format!("a configuration is good that is wrong: {what}")),
            Err(CallFailure::Failed(_)) => {}
            Err(failure) => problems.add(format!("a wrong configuration, {what}: {failure}")),
        }
    }
    Ok(wrong.len())
}

async fn exchange(instance: &Instance, of: &Connect, problems: &mut Problems) -> usize {
    let mut count = 0;
    for text in odd::texts() {
        for (state, reauthentication) in [(0, false), (1, false), (u64::MAX, false), (0, true), (u64::MAX, true)] {
            let connect = Connect { auth_method: Some(text.clone()), ..of.clone() };
            let answer = instance.exchange(&connect, text.as_bytes(), state, reauthentication).await;
            outcome("an exchange", answer, problems);
            count += 1;
        }
    }
    count
}

async fn authorize(subject: &Subject<'_>, instance: &Instance, of: &Connect, problems: &mut Problems) -> usize {
    let mut sessions: Vec<_> = subject.judge.sessions().take(1).cloned().collect();
    for text in odd::texts() {
        // Nobody whom it has admitted.
        let identity = Identity { client_id: Some(text.clone()), ..Identity::new(text.clone(), text) };
        sessions.push(session(of, &identity));
    }
    let (mut count, actions) = (0, odd::actions());
    for (n, session) in sessions.iter().enumerate() {
        outcome("a refresh", instance.refresh(session).await, problems);
        // Every action with the first session, a few with each of the others.
        for action in actions.iter().skip(if n == 0 { 0 } else { n % 7 }).step_by(if n == 0 { 1 } else { 23 }) {
            match instance.authorize(session, action.clone()).await {
                Ok(Verdict::Pending) => problems.add("an action: it answers Pending in the end"),
                Ok(_) => {}
                Err(failure) => problems.add(format!("an action: {failure}")),
            }
            count += 1;
        }
    }
    count
}

async fn collect(subject: &Subject<'_>, instance: &std::sync::Arc<Instance>, problems: &mut Problems) -> usize {
    if let Err(failure) = instance.interest().await {
        problems.add(format!("interest: {failure}"));
    }
    let (instance, timeout) = (instance.clone(), subject.timeout().max(Duration::from_secs(20)));
    let client = crate::connect("sensor-1");
    let collecting = tokio::task::spawn_blocking(move || {
        let mut count = 0;
        instance.collect(&[])?;
        for (n, text) in odd::texts().into_iter().filter(|text| text.len() <= EVENT_TEXT_MAX).enumerate() {
            let number = [0, 1, u64::MAX][n % 3];
            let mut events = every_kind(count as u64, &client, &text, number, &odd::certificates());
            // Some about nobody, and some whose numbers and time make no sense.
            for event in events.iter_mut().skip(n % 3).step_by(3) {
                (event.peer, event.sequence, event.time_ms) = (None, number, number);
            }
            instance.collect(&events.iter().collect::<Vec<_>>())?;
            count += events.len();
        }
        Ok::<_, CallFailure>(count)
    });
    match tokio::time::timeout(timeout, collecting).await {
        Ok(Ok(Ok(count))) => return count,
        Ok(Ok(Err(failure))) => problems.add(format!("collect: {failure}")),
        Ok(Err(e)) => problems.add(format!("collect: {e}")),
        Err(_) => problems.add(format!("collect: odd events are not taken within {timeout:?}")),
    }
    0
}
