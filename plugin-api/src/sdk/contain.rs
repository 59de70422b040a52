//! Panics of the author's code end here.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

thread_local! {
    /// Message and place of the last panic of this thread, put down by the hook.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Every library has a panic hook of its own: this one keeps the message for the host and logs it.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let message = match info.location() {
                Some(at) => format!("{} at {}:{}", text(info.payload()), at.file(), at.line()),
                None => text(info.payload()).to_owned(),
            };
            tracing::error!("panicked: {message}");
            // While thread-locals are being destroyed there is nobody left to tell.
            let _ = LAST.try_with(|last| last.replace(Some(message)));
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let of_string = payload.downcast_ref::<String>().map(String::as_str);
    of_string.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Runs `f`; a panic becomes its message. The payload is dropped in here too, since its destructor may panic as well.
pub(crate) fn contained<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let message = LAST.try_with(|last| last.take()).ok().flatten().unwrap_or_else(|| text(&*payload).to_owned());
        discard(payload);
        message
    })
}

/// Drops something of the author's whose destructor may panic, with a payload that may panic again.
pub(crate) fn discard<T>(value: T) {
    let mut dropped = catch_unwind(AssertUnwindSafe(|| drop(value)));
    for _ in 0..3 {
        match dropped {
            Ok(()) => return,
            Err(payload) => dropped = catch_unwind(AssertUnwindSafe(|| drop(payload))),
        }
    }
    // Each payload's destructor made another one: leak the last.
    if let Err(payload) = dropped {
        std::mem::forget(payload);
    }
}

/// A future of the author's: its panics, and those of its destructors, end in here.
pub(crate) struct Contained<F>(Option<Pin<Box<F>>>);

impl<F: Future> Contained<F> {
    pub(crate) fn new(future: F) -> Self {
        Contained(Some(Box::pin(future)))
    }

    /// Polls it; a panic becomes its message.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<F::Output, String>> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        match contained(|| future.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb(u32);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Bomb(self.0 - 1));
            }
        }
    }

    /// Promise 3: a panic whose payload panics when it is dropped is contained, however deep.
    #[test]
    fn promise_3_a_panicking_payload_is_contained() {
        for depth in [0, 1, 3, 50] {
            assert!(contained(|| std::panic::panic_any(Bomb(depth))).is_err());
        }
        assert_eq!(contained(|| 7), Ok(7));
    }
}
