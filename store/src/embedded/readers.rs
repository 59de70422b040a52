//! Two threads that read, so that nobody else waits for the disk.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

const THREADS: usize = 2;
/// What may wait to be read. What comes then is refused at once.
const WAITING_MAX: usize = 16_384;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    wake: Condvar,
}

/// See the module.
pub(super) struct Readers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start() -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let threads = (0..THREADS).map(|n| {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("store-read-{n}")).spawn(move || run(&queue))
        });
        let threads = threads.collect::<Result<_, _>>()?;
        Ok(Readers { queue, threads: Mutex::new(threads) })
    }

    /// Gives the job back if too many wait, or they have stopped.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        let mut jobs = self.queue.jobs.lock();
        if jobs.1 || jobs.0.len() >= WAITING_MAX {
            return Err(job);
        }
        jobs.0.push_back(job);
        drop(jobs);
        self.queue.wake.notify_one();
        Ok(())
    }

    /// Does what waits, and ends the threads.
    pub(super) fn stop(&self) {
        self.queue.jobs.lock().1 = true;
        self.queue.wake.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // It catches what jobs throw.
            let _ = thread.join();
        }
    }
}

fn run(queue: &Queue) {
    loop {
        let mut jobs = queue.jobs.lock();
        let job = loop {
            match jobs.0.pop_front() {
                Some(job) => break job,
                None if jobs.1 => return,
                None => queue.wake.wait(&mut jobs),
            }
        };
        drop(jobs);
        // The next job is somebody else's.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
