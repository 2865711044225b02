//! A launch allocates nothing once its kernel is loaded.

#[path = "../../cuda-driver/tests/mock/mod.rs"]
mod mock;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use norm_host::{DType, Device, Norm, Place, Stream, TpContext, View, ViewMut, rms_norm_tp};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often this thread allocates in `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn x() -> View<'static> {
    // SAFETY: the mock driver never follows the address.
    unsafe { View::from_raw_parts(Place::Cuda(0), 1 << 20, DType::F16, &[4, 256]) }.unwrap()
}

fn w() -> View<'static> {
    // SAFETY: as above.
    unsafe { View::from_raw_parts(Place::Cuda(0), 1 << 21, DType::F32, &[256]) }.unwrap()
}

fn y() -> ViewMut<'static> {
    // SAFETY: as above.
    unsafe { ViewMut::from_raw_parts(Place::Cuda(0), 1 << 22, DType::BF16, &[4, 256]) }.unwrap()
}

#[test]
fn launches_allocate_nothing_after_the_first() {
    mock::mock();
    let device = Device::new(0).unwrap();
    let stream = Stream::new(&device).unwrap();
    let one = || Norm::layer(1e-6).weight(w()).rows(x(), &mut y(), &stream).unwrap();
    assert_ne!(allocations(one), 0, "the first call loads the kernel, which allocates");
    assert_eq!(allocations(one), 0);

    let tp = TpContext::new(vec![Stream::new(&device).unwrap(), Stream::new(&device).unwrap()]);
    let (xs, ws, mut ys) = ([x(), x()], [w(), w()], [y(), y()]);
    let mut several = || rms_norm_tp(&xs, &ws, &mut ys, 1e-6, &tp).unwrap();
    several();
    assert_eq!(allocations(several), 0);
}
