//! A stop while calls run.

use gatemq_plugin_loader::{CallFailure, Instance};
use tokio::task::JoinSet;

use super::judge::Problems;
use super::{Subject, Under, odd};
use crate::events::every_kind;

/// Calls that are under way.
const CALLS: usize = 200;

pub(super) async fn run(subject: &Subject<'_>, problems: &mut Problems) -> Result<String, String> {
    let (stops, mut cut_off) = (subject.suite.counts.stops, 0);
    for n in 0..stops {
        let under = subject.start().await?;
        // From the very beginning of the calls to when most have ended.
        cut_off += stop(subject, under, n * CALLS / stops, problems).await;
    }
    let after = subject.start().await?;
    after.end(subject, problems).await;
    Ok(format!("{stops} stops, {cut_off} calls were cut off"))
}

/// Stops it when so many calls have ended; how many got no answer for it.
async fn stop(subject: &Subject<'_>, under: Under, ended: usize, problems: &mut Problems) -> usize {
    let Under { instance, recorder } = under;
    let mut calls = JoinSet::new();
    for n in (0..CALLS).filter(|_| subject.is_auth) {
        let ((at, connect), instance) = (subject.client(n), instance.clone());
        calls.spawn(async move { (at, instance.authenticate(&connect).await) });
    }
    let collecting = subject.is_collector.then(|| {
        let (instance, client) = (instance.clone(), crate::connect("sensor-1"));
        tokio::task::spawn_blocking(move || {
            let some = every_kind(1, &client, "some reason", 3, &odd::certificates());
            // Until it is stopped.
            while instance.collect(&some.iter().collect::<Vec<_>>()).is_ok() {}
        })
    });
    let mut answers = Vec::new();
    while answers.len() < ended
        && let Some(answer) = calls.join_next().await
    {
        answers.push(answer);
    }
    let stop_wait = subject.suite.stop_wait();
    match tokio::time::timeout(stop_wait * 2, instance.stop(stop_wait)).await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => problems.add(format!("stop: {failure}")),
        Err(_) => problems.add(format!("stop has not ended within {:?}", stop_wait * 2)),
    }
    let mut cut_off = 0;
    while let Some(answer) = calls.join_next().await {
        answers.push(answer);
    }
    for answer in answers {
        let (at, answer) = answer.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        match answer {
            // It ended, and so did the call.
            Err(CallFailure::NotThere(_) | CallFailure::Failed(_)) => cut_off += 1,
            answer => subject.judge.outcome(at, &answer, problems),
        }
    }
    if let Some(collecting) = collecting
        && tokio::time::timeout(stop_wait, collecting).await.is_err()
    {
        problems.add("collect has not ended");
    }
    is_stopped(subject, &instance, problems).await;
    recorder.panics().into_iter().for_each(|panic| problems.add(panic));
    cut_off
}

/// Nothing is answered any more.
async fn is_stopped(subject: &Subject<'_>, instance: &Instance, problems: &mut Problems) {
    if subject.is_auth && !matches!(instance.authenticate(&subject.client(0).1).await, Err(CallFailure::NotThere(_))) {
        problems.add("a client is answered after the stop");
    }
}
