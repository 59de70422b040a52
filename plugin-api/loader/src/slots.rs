//! Calls under way that are answered by a completer, by slot and generation.
//!
//! A token is a slot's index and generation. An answer whose generation is not the slot's is late, or a second one, or made
//! up: it changes nothing. The table of slots lives as long as the process, since a plugin may keep a completer for ever.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::CallFailure;

type Waiting<A> = oneshot::Sender<Result<A, CallFailure>>;
/// Where the answer arrives.
pub(crate) type Answered<A> = oneshot::Receiver<Result<A, CallFailure>>;

struct Slot<A> {
    generation: u32,
    waiting: Option<Waiting<A>>,
}

struct Table<A> {
    slots: Vec<Slot<A>>,
    free: Vec<u32>,
}

/// Calls under way, at most `calls_max`.
pub(crate) struct Slots<A> {
    table: Mutex<Table<A>>,
    calls_max: usize,
}

/// A reserved slot: released when dropped, which makes the call cancelled.
pub(crate) struct Reserved<A: 'static> {
    slots: &'static Slots<A>,
    token: u64,
}

impl<A: Send + 'static> Slots<A> {
    /// A table that lives as long as the process.
    pub(crate) fn leaked(calls_max: usize) -> &'static Self {
        let table = Table { slots: Vec::new(), free: Vec::new() };
        Box::leak(Box::new(Slots { table: Mutex::new(table), calls_max }))
    }

    fn lock(&self) -> MutexGuard<'_, Table<A>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more call.
    pub(crate) fn reserve(&'static self) -> Result<(Reserved<A>, Answered<A>), CallFailure> {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.lock();
        let index = match table.free.pop() {
            Some(index) => index,
            None if table.slots.len() >= self.calls_max => return Err(CallFailure::Busy { calls_max: self.calls_max }),
            None => {
                table.slots.push(Slot { generation: 0, waiting: None });
                table.slots.len() as u32 - 1
            }
        };
        let slot = &mut table.slots[index as usize];
        slot.waiting = Some(sender);
        let token = u64::from(slot.generation) << 32 | u64::from(index);
        Ok((Reserved { slots: self, token }, receiver))
    }

    /// Answers the call of `token`, if it still waits.
    pub(crate) fn answer(&self, token: u64, answer: Result<A, CallFailure>) {
        let waiting = {
            let mut table = self.lock();
            let (index, generation) = (token as u32, (token >> 32) as u32);
            match table.slots.get_mut(index as usize) {
                Some(slot) if slot.generation == generation => slot.waiting.take(),
                _ => None,
            }
        };
        // Not under the lock: the receiver is woken.
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// Whether nobody waits for the answer to `token` any more.
    pub(crate) fn is_cancelled(&self, token: u64) -> bool {
        let table = self.lock();
        match table.slots.get(token as u32 as usize) {
            Some(slot) if slot.generation == (token >> 32) as u32 => {
                slot.waiting.as_ref().is_none_or(Waiting::is_closed)
            }
            _ => true,
        }
    }
}

impl<A> Reserved<A> {
    pub(crate) fn token(&self) -> u64 {
        self.token
    }
}

impl<A> Drop for Reserved<A> {
    fn drop(&mut self) {
        let index = self.token as u32;
        let mut table = self.slots.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = table.slots.get_mut(index as usize) {
            slot.waiting = None;
            // After 2^32 calls through one slot an answer kept since the first would be taken for the new one's: such a
            // slot retires.
            if let Some(next) = slot.generation.checked_add(1) {
                slot.generation = next;
                table.free.push(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1: a second answer, a late one and a made-up one reach nobody; the bound holds.
    #[test]
    fn promise_1_only_the_first_answer_in_time_counts() {
        let slots = Slots::<u32>::leaked(2);
        let (first, mut answer) = slots.reserve().unwrap();
        let (_second, mut other) = slots.reserve().unwrap();
        assert_eq!(slots.reserve().err(), Some(CallFailure::Busy { calls_max: 2 }));
        let token = first.token();
        slots.answer(token, Ok(1));
        slots.answer(token, Ok(2));
        assert_eq!(answer.try_recv().unwrap(), Ok(1));
        drop(first);
        assert!(slots.is_cancelled(token));
        let (again, mut fresh) = slots.reserve().unwrap();
        assert_eq!(again.token() as u32, token as u32, "the same slot");
        for made_up in [token, u64::MAX, 99] {
            slots.answer(made_up, Ok(3));
        }
        assert!(fresh.try_recv().is_err() && other.try_recv().is_err());
    }
}
