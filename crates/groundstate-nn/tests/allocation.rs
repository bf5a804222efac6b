//! After construction, an executor allocates nothing.

mod networks;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use groundstate_nn::Executor;
use networks::{everything, numbers_f32, parameters};

/// Counts what it hands out.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn running_allocates_nothing() {
    let network = everything(16);
    let parameters = parameters(&network, 1);
    let (x, levels) = (numbers_f32(2 * 16 * 16 * 3, 2), [0.1, 0.2]);
    let run = |threads: usize, rounds: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut executor = Executor::new(&network, 2, 16, 16).unwrap();
            executor.load(&parameters);
            let de = vec![1.0; executor.forward(&x, &levels).len()];
            let mut gradient = parameters.zeros_like();
            let before = BYTES.load(Ordering::Relaxed);
            for _ in 0..rounds {
                executor.forward(&x, &levels);
                executor.parameter_gradient(&de, &mut gradient);
                executor.input_gradient(&de);
                executor.second_order(&x, &de, &mut gradient);
            }
            BYTES.load(Ordering::Relaxed) - before
        })
    };
    assert_eq!(run(1, 3), 0);
    // With several threads, the queues of the thread pool grow now and then, by far less than any buffer.
    let bytes = run(2, 50);
    assert!(bytes < 64 * 1024, "{bytes} bytes in 50 rounds");
}
