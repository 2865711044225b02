//! What holds on a CUDA device, held where there is none: the whole way of a call, from its views to the shipped
//! PTX, with a stand-in for the driver whose launches `ptx-sim` runs (`norm-testing/libcuda`, `executor.rs`).
//! So modules, functions' attributes, parameters, grids, clusters, shared memory, streams, events, graphs and NCCL's
//! calls are those of a device; how long anything takes and what overlaps is not.

mod calls;
#[allow(dead_code, unused_imports, reason = "its `main` is run as an example")]
#[path = "../../examples/08-cust-module.rs"]
mod cust_module;
mod executor;
mod groups;
mod names;
mod order;
mod ranks;
mod reductions;

use std::{
    cell::Cell,
    sync::{Mutex, MutexGuard, PoisonError},
};

use libtest_mimic::Failed;
use norm_host::{Cpu, Device, View, ViewMut, ptx::EMBEDDED};
use norm_testing::{
    device::{captured, functions, gated, graphs, sandwich, sharded, shards, streams, tensor_parallel},
    mock,
    recorded::{hold, load},
};

thread_local! {
    /// Whether this thread's test is alone.
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Held by each test while it runs. All share one stand-in, where a test that frees memory finishes all streams of a
/// device, and what one test left for later is done in the middle of another: no order that a test is about would hold.
/// [`device`] gives nothing to a test that does not hold it.
struct Alone {
    _guard: MutexGuard<'static, ()>,
}

fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed says nothing about the next.
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    IS_ALONE.set(true);
    Alone { _guard: guard }
}

impl Drop for Alone {
    fn drop(&mut self) {
        IS_ALONE.set(false);
    }
}

/// A device of the stand-in, which runs kernels.
fn device(ordinal: u32) -> Device {
    assert!(IS_ALONE.get(), "a test begins with `let _alone = alone();`, or others disturb its order");
    mock::mock().execute(executor::execute);
    Device::new(ordinal).expect("the stand-in has it")
}

#[test]
#[should_panic(expected = "a test begins with")]
fn a_test_that_is_not_alone_has_no_device() {
    device(0);
}

/// Tests that a GPU runs too (`tests/device`), by the names that they have there.
macro_rules! as_on_a_device {
    ($($name:ident: $test:expr;)*) => {
        $(#[test]
        fn $name() -> Result<(), Failed> {
            let _alone = alone();
            $test
        })*
    };
}

as_on_a_device! {
    rms_norm_keeps_the_promise: functions::rms(device(0));
    rms_norm_in_place_keeps_the_promise: functions::rms_in_place(device(0));
    rms_norm_tp_keeps_the_promise: functions::rms_tp(device(0));
    layer_norm_keeps_the_promise: functions::layer(device(0));
    layer_norm_in_place_keeps_the_promise: functions::layer_in_place(device(0));
    head_norm_keeps_the_promise: functions::head(device(0));
    head_norm_in_place_keeps_the_promise: functions::head_in_place(device(0));
    add_rms_norm_keeps_the_promise: functions::add_rms(device(0));
    add_rms_norm_in_place_keeps_the_promise: functions::add_rms_in_place(device(0));
    rms_norm_add_keeps_the_promise: functions::rms_add(device(0));
    add_layer_norm_keeps_the_promise: functions::add_layer(device(0));
    add_layer_norm_in_place_keeps_the_promise: functions::add_layer_in_place(device(0));
    layer_norm_add_keeps_the_promise: functions::layer_add(device(0));
    cust_buffers_are_normalized_where_they_lie: functions::cust_buffers(device(0));
    small_everything_over_shards_keeps_the_promise: sharded::each_kernel_once(device(0));
    small_everything_between_two_norms_keeps_the_promise: sandwich::each_kernel_once(device(0));
    small_everything_gated_keeps_the_promise: gated::each_kernel_once(device(0));
    rms_norm_sharded_over_streams_can_be_captured: captured::over_streams(device(0));
    a_graph_outlives_its_stream: graphs::other_streams(device(0));
    a_failed_capture_leaves_the_stream_usable: graphs::failed_capture(device(0));
    a_borrowed_stream_outlives_its_handle: streams::borrowed(device(0));
    the_default_stream_gives_the_same_bits: streams::default_stream(device(0));
    rms_norm_tp_on_two_devices_restores_the_current_context:
        tensor_parallel::restores_the_context(&[device(0), device(1)]);
    rms_norm_tp_on_two_devices_checks_everything_before_launching:
        tensor_parallel::checks_before_launching(&[device(0), device(1)]);
}

/// What `cargo run --example 08-cust-module` does on a GPU.
#[test]
fn a_module_of_custs_launches_a_shipped_kernel() -> Result<(), Failed> {
    let _alone = alone();
    let device = device(0);
    let w: Vec<f32> = (0..768).map(|i| 0.5 + i as f32 / 512.0).collect();
    // Values without a fraction, whose squares add up exactly in any order.
    let x: Vec<f32> = (0..5 * 768).map(|i| (i * 37 % 23 - 11) as f32).collect();
    let mut expected = vec![0.0; x.len()];
    norm_host::rms_norm(
        View::from_slice(&x, &[5, 768])?,
        View::from_slice(&w, &[768])?,
        &mut ViewMut::from_slice(&mut expected, &[5, 768])?,
        1e-6,
        &Cpu,
    )?;
    let given = cust_module::rms_norm(&EMBEDDED, &device, &x, &w).map_err(|error| error.to_string())?;
    for (given, expected) in given.iter().zip(&expected) {
        // A GPU's reciprocal of a root is an approximation.
        assert!((given - expected).abs() <= 4.0 * f32::EPSILON * expected.abs(), "{given} for {expected}");
    }
    for (x, w) in [(&x[..5], &w[..]), (&x[..], &[][..]), (&[][..], &w[..])] {
        let error = cust_module::rms_norm(&EMBEDDED, &device, x, w).expect_err("these are no rows");
        assert!(error.to_string().starts_with("x: expected rows of "), "{error}");
    }
    let long = vec![1.0; 1 << 16];
    let error = cust_module::rms_norm(&EMBEDDED, &device, &long, &long).expect_err("they take a cluster");
    assert!(error.to_string().starts_with("w: expected rows that need no cluster"), "{error}");
    Ok(())
}

#[test]
fn shards_give_the_recorded_bits_but_for_rsqrt() -> Result<(), Failed> {
    let _alone = alone();
    let recorded = load()?.shards;
    let simulated = shards::outputs(device(0))?;
    assert_eq!(simulated.len(), recorded.len());
    simulated
        .iter()
        .zip(&recorded)
        .try_for_each(|((case, given), recorded)| hold(case, None, given, recorded))
}
