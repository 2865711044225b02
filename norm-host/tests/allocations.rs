//! A launch allocates nothing once its kernel is loaded.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cust::memory::DeviceBuffer;
use norm_host::{
    DType, Device, Norm, Place, RowSums, Shard, Stream, TpContext, View, ViewMut, rms_norm_sharded,
    rms_norm_tp,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

// SAFETY: both functions call the system's allocator with their own arguments, and return what it returns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller guarantees what `GlobalAlloc::alloc` requires of `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that `alloc` returned `pointer` for `layout`; it comes from `System.alloc`.
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

/// A view of memory of the first device, which stays allocated.
fn memory(dtype: DType, shape: &[usize]) -> ViewMut<'static> {
    let _current = Device::new(0).unwrap().enter().unwrap();
    let buffer = DeviceBuffer::from_slice(&[0_f32; 4 * 256]).unwrap();
    let address = buffer.as_device_ptr().as_raw();
    std::mem::forget(buffer);
    // SAFETY: the buffer is large enough for every shape below, is never freed, and has no other view.
    unsafe { ViewMut::from_raw_parts(Place::Cuda(0), address, dtype, shape) }.unwrap()
}

/// The same, to be read.
fn read(dtype: DType, shape: &[usize]) -> View<'static> {
    let address = memory(dtype, shape).address();
    // SAFETY: `memory` allocates a buffer that is large enough and is never freed, and its view of it has been dropped.
    unsafe { View::from_raw_parts(Place::Cuda(0), address, dtype, shape) }.unwrap()
}

const ROWS: [usize; 2] = [4, 256];

#[test]
fn launches_allocate_nothing_after_the_first() {
    norm_testing::mock::mock();
    let device = Device::new(0).unwrap();
    let stream = Stream::new(&device).unwrap();
    let (x, w) = (read(DType::F16, &ROWS), read(DType::F32, &[256]));
    let mut y = memory(DType::BF16, &ROWS);
    let mut one = || Norm::layer(1e-6).weight(w).rows(x, &mut y, &stream).unwrap();
    assert_ne!(allocations(&mut one), 0, "the first call loads the kernel, which allocates");
    assert_eq!(allocations(one), 0);

    let streams = vec![Stream::new(&device).unwrap(), Stream::new(&device).unwrap()];
    let tp = TpContext::sharing_devices(streams).unwrap();
    let (xs, ws) = ([x; 2], [w; 2]);
    let mut ys = [memory(DType::BF16, &ROWS), memory(DType::BF16, &ROWS)];
    let mut several = || rms_norm_tp(&xs, &ws, &mut ys, 1e-6, &tp).unwrap();
    several();
    assert_eq!(allocations(several), 0);

    let shard = || Shard { x, w: Some(w), y: memory(DType::BF16, &ROWS), sums: memory(DType::F32, &[4]) };
    let mut shards = [shard(), shard()];
    let none = |_: &RowSums<'_>| Ok(());
    let mut sharded = || rms_norm_sharded(&mut shards, 1e-6, 512, &tp, &none).unwrap();
    sharded();
    assert_eq!(allocations(sharded), 0);
}
