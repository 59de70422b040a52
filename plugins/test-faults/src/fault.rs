//! What can go wrong in any method.

use std::time::Duration;

use serde::Deserialize;

const HANG: Duration = Duration::from_secs(3600);

/// A fault of a method, by its name in the configuration.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    #[default]
    Ok,
    Error,
    Panic,
    PanicPayload,
    Hang,
    Loop,
    Slow,
}

impl Fault {
    /// Does it.
    ///
    /// # Errors
    /// `Error`, for the caller to say in the words of its method.
    pub(crate) fn commit(self) -> Result<(), String> {
        match self {
            Fault::Ok => Ok(()),
            Fault::Error => Err("an error on demand".into()),
            Fault::Panic => panic!("a panic on demand"),
            Fault::PanicPayload => std::panic::panic_any(Payload { again: true }),
            Fault::Hang => {
                std::thread::sleep(HANG);
                Ok(())
            }
            Fault::Loop => spin(),
            Fault::Slow => {
                std::thread::sleep(Duration::from_millis(100));
                Ok(())
            }
        }
    }
}

/// Holds a core for ever.
fn spin() -> ! {
    loop {
        // Neither the compiler nor the processor may leave it out.
        std::hint::black_box(());
        std::hint::spin_loop();
    }
}

/// A panic's payload whose destructor panics, with a payload whose destructor panics.
struct Payload {
    again: bool,
}

impl Drop for Payload {
    fn drop(&mut self) {
        if self.again {
            std::panic::panic_any(Payload { again: false });
        }
        panic!("a payload's panic on demand");
    }
}

/// Panics when it is dropped.
pub(crate) struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a destructor's panic on demand");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    /// Guards that these faults are faults: a payload that panicked once only would test less than it says.
    #[test]
    fn payloads_panic_twice() {
        let first = catch_unwind(|| Fault::PanicPayload.commit()).unwrap_err();
        let second = catch_unwind(std::panic::AssertUnwindSafe(|| drop(first))).unwrap_err();
        let third = catch_unwind(std::panic::AssertUnwindSafe(|| drop(second))).unwrap_err();
        assert!(third.is::<&str>());
        assert!(catch_unwind(|| drop(PanicsWhenDropped)).is_err());
    }
}
