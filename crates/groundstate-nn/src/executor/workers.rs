//! Fixed tasks shared out among threads.
//!
//! A network takes many short steps, and to wake a thread takes as long as some of them. So the pool's threads
//! are called together once for all steps of an operation, and wait for each of them without going to sleep.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::buffer::Buffer;

/// Looks for work of a waiting thread before it offers its processor to others.
const LOOKS: usize = 1 << 12;

/// As many scratch buffers as threads may work at once, and the step that they share.
///
/// What a task computes depends on its number alone, so results do not depend on who runs it, on how many
/// threads there are, or on the order.
pub(super) struct Workers {
    scratch: Vec<Buffer>,
    /// Tasks that nobody has taken yet, of those meant for each thread. They come one after another, so that a
    /// thread meets in one step what it wrote in the last; whoever is done with its own takes those of others.
    left: Vec<Left>,
    step: AtomicPtr<Step<'static>>,
    /// Tasks of the step that are done.
    done: AtomicUsize,
    /// Whether the operation has ended that the threads were called together for.
    over: AtomicBool,
}

/// A count in cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Left(AtomicUsize);

/// Some images on their way through the layers, and who works on them: all threads, or one with its scratch.
pub(super) struct Crew<'a> {
    workers: &'a Workers,
    pub(super) images: Range<usize>,
    alone: Option<*mut f32>,
}

impl Crew<'_> {
    /// As [`Workers::run`].
    pub(super) fn run(&self, tasks: usize, task: impl Fn(usize, *mut f32) + Sync) {
        match self.alone {
            Some(scratch) => (0..tasks).for_each(|number| task(number, scratch)),
            None => self.workers.run(tasks, task),
        }
    }

    /// Most threads that work at once.
    pub(super) fn count(&self) -> usize {
        if self.alone.is_some() { 1 } else { self.workers.count() }
    }
}

/// What all threads work on.
struct Step<'a> {
    tasks: usize,
    run: &'a (dyn Fn(usize, *mut f32) + Sync),
}

impl Workers {
    /// Scratch of `len` values for each thread of the current pool.
    pub(super) fn new(len: usize) -> Workers {
        let threads = rayon::current_num_threads().max(1);
        Workers {
            scratch: (0..threads).map(|_| Buffer::zeros(len.max(1))).collect(),
            left: (0..threads).map(|_| Left::default()).collect(),
            step: AtomicPtr::default(),
            done: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Most threads that can work at once.
    pub(super) fn count(&self) -> usize {
        self.scratch.len()
    }

    /// Values allocated.
    pub(super) fn len(&self) -> usize {
        self.scratch.iter().map(Buffer::len).sum()
    }

    /// Runs an operation on a thread of the pool. The others stand by for its steps; those that have something
    /// else to do are not waited for.
    pub(super) fn together(&self, operation: &mut (dyn FnMut() + Send)) {
        self.over.store(false, Ordering::Relaxed);
        self.call(self.count() - 1, operation);
    }

    fn call(&self, helpers: usize, operation: &mut (dyn FnMut() + Send)) {
        if helpers == 0 {
            let _over = Over(&self.over);
            return operation();
        }
        rayon::join(|| self.call(helpers - 1, operation), || self.help(helpers));
    }

    fn help(&self, worker: usize) {
        let mut looks = 0;
        while !self.over.load(Ordering::Acquire) {
            looks = if self.work(worker) { 0 } else { wait(looks) };
        }
    }

    /// Runs tasks `0 .. tasks`, each with a scratch buffer that no other task uses meanwhile.
    pub(super) fn run(&self, tasks: usize, task: impl Fn(usize, *mut f32) + Sync) {
        if tasks <= 1 || self.count() == 1 {
            (0..tasks).for_each(|t| task(t, self.scratch[0].ptr()));
            return;
        }
        let step = Step { tasks, run: &task };
        self.done.store(0, Ordering::Relaxed);
        self.step.store((&raw const step).cast_mut().cast(), Ordering::Relaxed);
        for (worker, left) in self.left.iter().enumerate() {
            left.0
                .store(self.end(worker, tasks) - self.end(worker.wrapping_sub(1), tasks), Ordering::Release);
        }
        let _end = End { workers: self, tasks };
        self.work(0);
    }

    /// All threads, for these images.
    pub(super) fn all(&self, images: Range<usize>) -> Crew<'_> {
        Crew { workers: self, images, alone: None }
    }

    /// Takes images through the layers in groups of at most `group`: a thread a group while there is one for each
    /// thread, which saves them from waiting for each other after every layer, then all threads together.
    pub(super) fn in_groups(&self, images: usize, group: usize, work: impl Fn(&Crew) + Sync) {
        let groups = images.div_ceil(group);
        let of = |number: usize| number * group..((number + 1) * group).min(images);
        let alone = if self.count() > 1 { groups / self.count() * self.count() } else { 0 };
        self.run(alone, |number, scratch| {
            work(&Crew { workers: self, images: of(number), alone: Some(scratch) });
        });
        (alone..groups).for_each(|number| work(&self.all(of(number))));
    }

    /// One behind the last task that is meant for a thread; 0 for thread −1.
    fn end(&self, worker: usize, tasks: usize) -> usize {
        worker.wrapping_add(1) * tasks / self.count()
    }

    /// Runs tasks until all are taken; returns whether there were any.
    fn work(&self, worker: usize) -> bool {
        let mut taken = Taken { count: 0, done: &self.done };
        for owner in (worker..self.count()).chain(0..worker) {
            while let Some(left) = self.take(owner) {
                taken.count += 1;
                // SAFETY: the step stays until all its tasks are done, which this one is not.
                let step = unsafe { &*self.step.load(Ordering::Relaxed) };
                (step.run)(self.end(owner, step.tasks) - left, self.scratch[worker].ptr());
            }
        }
        taken.count > 0
    }

    /// Takes one of the tasks meant for `owner`; returns how many were left before.
    fn take(&self, owner: usize) -> Option<usize> {
        let count = &self.left[owner].0;
        let mut left = count.load(Ordering::Relaxed);
        while left > 0 {
            match count.compare_exchange_weak(left, left - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(left),
                Err(now) => left = now,
            }
        }
        None
    }
}

/// Waits a moment; returns how often that was so.
fn wait(looks: usize) -> usize {
    if looks < LOOKS {
        std::hint::spin_loop()
    } else {
        std::thread::yield_now()
    }
    looks + 1
}

/// Ends an operation, also one that panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Tasks that a thread has taken; they count as done when it takes no more, or panics.
struct Taken<'a> {
    count: usize,
    done: &'a AtomicUsize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.done.fetch_add(self.count, Ordering::Release);
        }
    }
}

/// Keeps a step in place until all of its tasks are done, or given up after a panic.
struct End<'a> {
    workers: &'a Workers,
    tasks: usize,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let Workers { left, done, .. } = self.workers;
        if std::thread::panicking() {
            for left in left {
                done.fetch_add(left.0.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let mut looks = 0;
        while done.load(Ordering::Acquire) < self.tasks {
            looks = wait(looks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_run_once_by_any_number_of_threads() {
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let workers = Workers::new(1);
                let runs: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
                workers.together(&mut || {
                    for tasks in [0, 1, 2, 7, 1000] {
                        workers.run(tasks, |task, _| {
                            runs[task].fetch_add(1, Ordering::Relaxed);
                        });
                        let counts = runs.iter().map(|r| r.swap(0, Ordering::Relaxed));
                        assert!(counts.enumerate().all(|(task, n)| n == usize::from(task < tasks)));
                    }
                });
            });
        }
    }

    #[test]
    fn a_panic_of_a_task_reaches_the_caller() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
        pool.install(|| {
            let workers = Workers::new(1);
            for bad in [0, 50, 99] {
                let mut operation = || workers.run(100, |task, _| assert!(task != bad, "the bad task"));
                let caught = std::panic::AssertUnwindSafe(|| workers.together(&mut operation));
                assert!(std::panic::catch_unwind(caught).is_err());
            }
        });
    }
}
