//! New configurations while calls run, good ones and wrong ones. Where the plugin wants another instance for one, it gets it, as
//! from the broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{CallFailure, Instance};
use gatemq_types::{AuthOutcome, Identity};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::judge::Problems;
use super::{Subject, Under, odd};

/// Clients that ask all the time.
const CLIENTS: usize = 16;
/// Different answers that one of them gets at most.
const ANSWERS_MAX: usize = 64;
/// How long the last call of an instance that was replaced may take besides its deadline.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// The instance that calls go to.
struct Current(Mutex<Arc<Instance>>);

impl Current {
    fn get(&self) -> Arc<Instance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, instance: Arc<Instance>) -> Arc<Instance> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), instance)
    }
}

pub(super) async fn run(subject: &Subject<'_>, problems: &mut Problems) -> Result<String, String> {
    let Under { instance, recorder } = subject.start().await?;
    let current = Arc::new(Current(Mutex::new(instance)));
    let (ending, asked) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(0));
    let mut asked_by_all = asked.subscribe();
    let mut load = JoinSet::new();
    for n in (0..CLIENTS).filter(|_| subject.is_auth) {
        let ((at, connect), current) = (subject.client(n), current.clone());
        let (ending, asked) = (ending.clone(), asked.clone());
        load.spawn(async move {
            let mut answers = Vec::new();
            while !ending.load(Ordering::Relaxed) {
                let answer = (at, current.get().authenticate(&connect).await.map(as_whom));
                asked.send_modify(|asked| *asked += 1);
                // Equal ones are judged once.
                if !answers.contains(&answer) && answers.len() < ANSWERS_MAX {
                    answers.push(answer);
                }
            }
            answers
        });
    }
    let (mut taken, mut replaced, mut refused) = (0, 0, 0);
    // As many new instances as may be mapped at a time.
    let replaced_max = subject.suite.counts.stops;
    for n in 0..subject.suite.counts.reconfigurations {
        let config = &subject.suite.configs[(n + 1) % subject.suite.configs.len()];
        // Not held while it is replaced: it is stopped when nobody has it any more.
        let answer = current.get().reconfigure(config.to_string()).await;
        match answer {
            Ok(()) => taken += 1,
            Err(CallFailure::LoadAgain(_)) if replaced < replaced_max => {
                match subject.suite.host.start_instance(config, recorder.clone()).await {
                    Ok(new) => stop_drained(subject, current.replace(new), problems).await,
                    Err(why) => problems.add(format!("another instance with {config}: {why}")),
                }
                replaced += 1;
            }
            Err(CallFailure::LoadAgain(_)) => {}
            Err(failure) => problems.add(format!("a configuration that is good at the start is refused: {failure}")),
        }
        refused += refuse(config, n, &current.get(), problems).await;
        // Some calls between two of them.
        if subject.is_auth {
            let before = *asked.borrow();
            // At most as long as one of them may take.
            let more = asked_by_all.wait_for(|asked| *asked >= before + CLIENTS);
            let _ = tokio::time::timeout(subject.timeout(), more).await;
        }
    }
    ending.store(true, Ordering::Relaxed);
    for answers in load.join_all().await {
        answers.iter().for_each(|(at, answer)| subject.judge.outcome(*at, answer, problems));
    }
    Under { instance: current.get(), recorder }.end(subject, problems).await;
    let asked = *asked.borrow();
    Ok(format!("{taken} taken, {replaced} by another instance, {refused} refused, {asked} clients meanwhile"))
}

/// Of an admission what is judged: its other parts may differ each time.
fn as_whom(outcome: AuthOutcome) -> AuthOutcome {
    match outcome {
        AuthOutcome::Accept(identity) => AuthOutcome::accept(Identity::new(identity.tenant, identity.user)),
        other => other,
    }
}

/// Gives it a wrong one, which must be refused.
async fn refuse(good: &Value, n: usize, instance: &Instance, problems: &mut Problems) -> usize {
    let wrong = odd::wrong_configs(good);
    let (what, wrong) = &wrong[n % wrong.len()];
    match instance.reconfigure(wrong.clone()).await {
        Ok(()) => problems.add(format!("a configuration is taken that is wrong: {what}")),
        // Parsed before the author's code sees it: nothing is loaded again for it.
        Err(CallFailure::Failed(_)) => return 1,
        Err(failure) => problems.add(format!("a wrong configuration, {what}: {failure}")),
    }
    0
}

/// Stops one that was replaced, after its last call.
async fn stop_drained(subject: &Subject<'_>, old: Arc<Instance>, problems: &mut Problems) {
    let deadline = Instant::now() + subject.timeout() + DRAIN_WAIT;
    while Arc::strong_count(&old) > 1 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    if Arc::strong_count(&old) > 1 {
        problems.add("calls of an instance that was replaced do not end");
    }
    if let Err(failure) = old.stop(subject.suite.stop_wait()).await {
        problems.add(format!("stop of an instance that was replaced: {failure}"));
    }
}
