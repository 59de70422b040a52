//! A started plugin.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gatemq_types::{AuthOutcome, Verdict};

use super::contain::{Contained, discard, install_hook};
use super::runtime::Runtime;
use super::{Health, Host, Plugin, ReconfigureError, config, log};
use crate::abi::convert;
use crate::abi::v1_0::{OutcomeCompleter, Status, VerdictCompleter};

/// How often it is looked whether anybody still waits for a future that is not woken.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A plugin with its runtime.
pub(crate) struct Running<P> {
    /// Only `None` while being dropped: the author's destructor may panic.
    plugin: Option<P>,
    runtime: Arc<Runtime>,
}

impl<P: Plugin> Running<P> {
    pub(crate) fn start(config: &str, host: Host) -> Result<Arc<Self>, String> {
        log::install(&host);
        install_hook();
        let config = config::parse::<P::Config>(config)?;
        let runtime = Runtime::new();
        host.set_runtime(&runtime);
        match P::start(config, host) {
            Ok(plugin) => Ok(Arc::new(Running { plugin: Some(plugin), runtime })),
            Err(e) => Err(e.0),
        }
    }

    pub(crate) fn plugin(&self) -> &P {
        match &self.plugin {
            Some(plugin) => plugin,
            None => unreachable!("a plugin is taken out only in Drop"),
        }
    }

    pub(crate) fn reconfigure(&self, config: &str) -> Result<(), ReconfigureError> {
        self.plugin().reconfigure(config::parse::<P::Config>(config)?)
    }

    /// Number and reason, as the interface has it.
    pub(crate) fn health(&self) -> (u32, String) {
        if let Some(why) = self.runtime.fenced() {
            return (3, why);
        }
        match self.plugin().health() {
            Health::Ready => (1, String::new()),
            Health::Degraded(why) => (2, why),
            Health::NotReady(why) => (3, why),
        }
    }

    pub(crate) fn stop(&self, deadline: Duration) {
        self.plugin().stop(deadline);
    }

    /// No new work from now on. The plugin is dropped here, where a panic of its destructor can be told, unless a call is
    /// still in it: then that call drops it.
    pub(crate) fn end(self: Arc<Self>) {
        self.runtime.end();
        if let Some(mut running) = Arc::into_inner(self) {
            drop(running.plugin.take());
        }
    }

    /// Runs `future` on the plugin's runtime and answers with what it returns. A panic, and dropping it, abandon.
    pub(crate) fn answer<C: Answer>(
        self: &Arc<Self>,
        completer: C,
        future: impl Future<Output = C::Output> + Send + 'static,
    ) {
        let refused = self.runtime.call(|| {
            let pending = Pending(Some(completer));
            let mut future = Contained::new(future);
            Box::new(move || {
                Box::pin(async move {
                    // All of it moves in here: its field alone would be copied, and the rest dropped.
                    let mut pending = pending;
                    let answer = driven(&mut future, completer).await;
                    // Before it is answered: the next call of this client finds what the future held released.
                    drop(future);
                    if let Some(completer) = pending.0.take() {
                        match answer {
                            Ok(answer) => completer.finish(answer),
                            Err(why) => completer.give_up(why),
                        }
                    }
                })
            })
        });
        if let Err(why) = refused {
            completer.give_up(Status::failed(why));
        }
    }
}

/// Polls an author's future until it is done, has panicked, or nobody waits for it any more. The last is also looked for
/// now and then, since a future that hangs is never woken.
async fn driven<C: Answer, F: Future<Output = C::Output>>(
    future: &mut Contained<F>,
    completer: C,
) -> Result<C::Output, Status> {
    let gone = || Err(Status::failed("nobody waits any more"));
    let mut look: Option<Pin<Box<tokio::time::Sleep>>> = None;
    std::future::poll_fn(|cx| {
        if completer.is_cancelled() {
            return Poll::Ready(gone());
        }
        if let Poll::Ready(done) = future.poll(cx) {
            return Poll::Ready(done.map_err(Status::panicked));
        }
        let sleep = look.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK_EVERY)));
        while sleep.as_mut().poll(cx).is_ready() {
            if completer.is_cancelled() {
                return Poll::Ready(gone());
            }
            sleep.set(tokio::time::sleep(LOOK_EVERY));
        }
        Poll::Pending
    })
    .await
}

impl<P> Drop for Running<P> {
    fn drop(&mut self) {
        self.runtime.end();
        discard(self.plugin.take());
    }
}

/// What a completer is to the SDK.
pub(crate) trait Answer: Copy + Send + Sync + 'static {
    type Output: Send;
    fn finish(&self, answer: Self::Output);
    fn give_up(&self, why: Status);
    fn is_cancelled(&self) -> bool;
}

impl Answer for OutcomeCompleter {
    type Output = AuthOutcome;
    fn finish(&self, answer: AuthOutcome) {
        self.complete(convert::outcome_to(answer));
    }
    fn give_up(&self, why: Status) {
        self.abandon(why);
    }
    fn is_cancelled(&self) -> bool {
        OutcomeCompleter::is_cancelled(self)
    }
}

impl Answer for VerdictCompleter {
    type Output = Verdict;
    fn finish(&self, answer: Verdict) {
        self.complete(convert::verdict_to(answer));
    }
    fn give_up(&self, why: Status) {
        self.abandon(why);
    }
    fn is_cancelled(&self) -> bool {
        VerdictCompleter::is_cancelled(self)
    }
}

/// Gives up when it is dropped without an answer: the runtime ended.
struct Pending<C: Answer>(Option<C>);

impl<C: Answer> Drop for Pending<C> {
    fn drop(&mut self) {
        if let Some(completer) = self.0.take() {
            completer.give_up(Status::failed("the call was dropped without an answer"));
        }
    }
}
