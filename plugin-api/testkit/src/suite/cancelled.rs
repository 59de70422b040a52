//! Clients that leave while the plugin is asked about them.

use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinSet;

use super::Subject;
use super::judge::Problems;

/// The longest that a client stays, in turns of others: from none at all to longer than a quick answer takes.
const STAYS_MAX: usize = 32;

/// The answer, if it comes within so many turns of others; then the call is dropped.
async fn leaving<A>(call: impl Future<Output = A>, stays: usize) -> Option<A> {
    let mut call = pin!(call);
    for _ in 0..=stays {
        if let Poll::Ready(answer) = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

pub(super) async fn run(subject: &Subject<'_>, problems: &mut Problems) -> Result<String, String> {
    if !subject.is_auth {
        return Ok("it is no auth provider".into());
    }
    let under = subject.start().await?;
    let (mut asking, mut deciding) = (JoinSet::new(), JoinSet::new());
    for n in 0..subject.suite.counts.cancelled {
        let stays = n * 7 % STAYS_MAX;
        let ((at, connect), instance) = (subject.client(n), under.instance.clone());
        asking.spawn(async move { (at, leaving(instance.authenticate(&connect), stays).await) });
        if let Some(at) = n.checked_rem(subject.judge.questions()) {
            let ((session, action), instance) = (subject.judge.question(at), under.instance.clone());
            deciding.spawn(async move { (at, leaving(instance.authorize(&session, action), stays).await) });
        }
        // Not all at once: some are to be under way when others leave.
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (mut cancelled, mut answered) = (0, 0);
    for (at, answer) in asking.join_all().await {
        match answer {
            Some(answer) => subject.judge.outcome(at, &answer, problems),
            None => cancelled += 1,
        }
        answered += 1;
    }
    for (at, answer) in deciding.join_all().await {
        match answer {
            Some(answer) => subject.judge.verdict(at, &answer, problems),
            None => cancelled += 1,
        }
        answered += 1;
    }
    under.end(subject, problems).await;
    Ok(format!("{answered} calls, of which {cancelled} were cancelled"))
}
