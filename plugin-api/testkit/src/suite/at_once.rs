//! More calls at once than the host lets through, and batches of events meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{CallFailure, Instance};
use tokio::task::JoinSet;

use super::judge::Problems;
use super::{Subject, odd};
use crate::events::every_kind;

/// How long the last of them may wait for its turn.
const TURN_WAIT: Duration = Duration::from_secs(60);
/// Events of a batch, at most: as the broker has it.
const BATCH_MAX: usize = 256;

/// Asks again for as long as the host says that it is busy.
async fn patiently<A, F: Future<Output = Result<A, CallFailure>>>(
    mut ask: impl FnMut() -> F,
) -> Result<A, CallFailure> {
    let deadline = Instant::now() + TURN_WAIT;
    loop {
        match ask().await {
            Err(failure) if failure.is_busy() && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            answer => return answer,
        }
    }
}

pub(super) async fn run(subject: &Subject<'_>, problems: &mut Problems) -> Result<String, String> {
    let under = subject.start().await?;
    let calls = subject.suite.counts.calls;
    let collecting = subject.is_collector.then(|| collecting(subject, under.instance.clone()));
    let (mut asking, mut deciding) = (JoinSet::new(), JoinSet::new());
    for n in (0..calls).filter(|_| subject.is_auth) {
        let ((at, connect), instance) = (subject.client(n), under.instance.clone());
        asking.spawn(async move { (at, patiently(|| instance.authenticate(&connect)).await) });
        if let Some(at) = n.checked_rem(subject.judge.questions()) {
            let ((session, action), instance) = (subject.judge.question(at), under.instance.clone());
            deciding.spawn(async move { (at, patiently(|| instance.authorize(&session, action.clone())).await) });
        }
    }
    let (asked, decided) = (asking.len(), deciding.len());
    for (at, answer) in asking.join_all().await {
        match answer {
            Err(failure) if failure.is_busy() => problems.add(format!("no turn within {TURN_WAIT:?}: {failure}")),
            answer => subject.judge.outcome(at, &answer, problems),
        }
    }
    for (at, answer) in deciding.join_all().await {
        match answer {
            Err(failure) if failure.is_busy() => problems.add(format!("no turn within {TURN_WAIT:?}: {failure}")),
            answer => subject.judge.verdict(at, &answer, problems),
        }
    }
    let mut events = 0;
    if let Some(collecting) = collecting {
        match tokio::time::timeout(TURN_WAIT, collecting).await {
            Ok(Ok(Ok(taken))) => events = taken,
            Ok(Ok(Err(failure))) => problems.add(format!("collect: {failure}")),
            Ok(Err(e)) => problems.add(format!("collect: {e}")),
            Err(_) => problems.add(format!("collect: {calls} events are not taken within {TURN_WAIT:?}")),
        }
    }
    under.end(subject, problems).await;
    Ok(format!("{asked} clients, {decided} actions, {events} events"))
}

/// Hands over events in batches, on a thread of its own as the broker does it.
fn collecting(subject: &Subject<'_>, instance: Arc<Instance>) -> tokio::task::JoinHandle<Result<usize, CallFailure>> {
    let wanted = subject.suite.counts.calls;
    let client = subject.suite.clients.first().cloned().unwrap_or_else(|| crate::connect("sensor-1"));
    tokio::task::spawn_blocking(move || {
        let mut taken = 0;
        while taken < wanted {
            let some = every_kind(taken as u64 + 1, &client, "some reason", 3, &odd::certificates());
            for batch in some.chunks(BATCH_MAX) {
                instance.collect(&batch.iter().collect::<Vec<_>>())?;
                taken += batch.len();
            }
        }
        Ok(taken)
    })
}
