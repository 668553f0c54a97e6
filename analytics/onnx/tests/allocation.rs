//! What an inference takes of memory: a few pieces each time, the same number every time, and all of
//! them are given back.
#![cfg(feature = "runtime")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use onnx_model::{Model, Wanted};

#[path = "../../../tests/support/onnx.rs"]
mod onnx;

struct Counting;

thread_local! {
    /// Of this thread only: the test runner's own threads may do what they like.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it, and
// its cells need neither construction nor destruction.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        GIVEN.set(GIVEN.get() + 1);
        // SAFETY: `ptr` came from `alloc` above, that is from `System`, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_inference_gives_back_what_it_takes_and_takes_the_same_each_time() {
    let first: [&[f32]; 3] = [&[0.5, -0.25], &[1.0, 0.1], &[-0.75, 0.3]];
    let layers = onnx::layers(&first, &[0.1, 0.0], &[1.5, -0.6]);
    for (name, bytes, output) in [
        ("logistic", onnx::logistic(&[0.5, 1.0, -2.0], 0.1), "score"),
        ("two layers", layers, "y"),
    ] {
        let wanted = Wanted {
            inputs: 3,
            output: Some(output),
            index: None,
        };
        let mut runner = Model::load(&bytes, wanted).unwrap().runner(Some(1_000_000));
        let mut round = |x: f32| {
            let before = (TAKEN.get(), GIVEN.get());
            assert!(runner.run(&[x, 1.0 - x, x * x]).is_finite());
            (TAKEN.get() - before.0, GIVEN.get() - before.1)
        };
        for warm in 0..20 {
            round(warm as f32);
        }
        let (taken, given) = round(0.25);
        println!("{name}: {taken} pieces of memory for an inference");
        assert!(taken <= 64, "{name}: {taken}");
        assert_eq!(taken, given, "{name}");
        for x in 0..1_000 {
            assert_eq!(round(x as f32 / 500.0), (taken, given), "{name}");
        }
    }
}
