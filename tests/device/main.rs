//! What holds on a CUDA device. Without one, every test is counted as ignored, and the reason said.
//!
//! The tests that `small_everything` selects run every kernel once, small enough for compute-sanitizer;
//! `tests/torture.sh` does that, and the rest that takes long. `two_devices` selects what takes two, and
//! `timed_` what is measured. A line that begins with `report: ` is copied into the script's report.

mod accuracy;
mod bits;
mod communicators;
mod endurance;
mod files;
mod guards;
mod kernels;
mod large;
mod misuse;
mod processes;
mod programs;
mod rejected;
mod sums;
mod vectors;

use libtest_mimic::{Failed, Trial};
use norm_host::{
    Device, NcclId, NormKind, PeerOptions,
    ptx::{EMBEDDED, RUST_CUDA},
};
use norm_kernels::abi::Variant;
use norm_testing::{
    device::{all_reduce, captured, functions, gated, graphs, sandwich, sharded, streams, tensor_parallel},
    recorded, trials,
};
use std::{
    process::ExitCode,
    sync::{PoisonError, RwLock},
};

type Test = fn(Device) -> Result<(), Failed>;
type GroupTest = fn(&[Device]) -> Result<(), Failed>;

/// Tests named after what holds if they pass.
const TESTS: [(&str, Test); 51] = [
    ("small_everything_between_two_norms_keeps_the_promise", sandwich::each_kernel_once),
    ("small_everything_gated_keeps_the_promise", gated::each_kernel_once),
    ("small_everything_over_shards_keeps_the_promise", sharded::each_kernel_once),
    ("rms_norm_sharded_over_streams_keeps_the_promise", sharded::over_streams),
    ("rms_norm_sharded_over_streams_can_be_captured", captured::over_streams),
    ("ptx_that_is_none_is_refused_with_the_compilers_log", rejected::garbage),
    ("ptx_of_a_newer_cuda_says_that_the_driver_is_too_old", rejected::of_the_future),
    ("a_trap_loses_the_context_and_a_new_process_works", processes::a_trap_loses_the_context),
    ("a_device_that_is_not_visible_is_none", processes::no_visible_device),
    ("rms_norm_keeps_the_promise", functions::rms),
    ("rms_norm_in_place_keeps_the_promise", functions::rms_in_place),
    ("rms_norm_tp_keeps_the_promise", functions::rms_tp),
    ("layer_norm_keeps_the_promise", functions::layer),
    ("layer_norm_in_place_keeps_the_promise", functions::layer_in_place),
    ("head_norm_keeps_the_promise", functions::head),
    ("head_norm_in_place_keeps_the_promise", functions::head_in_place),
    ("add_rms_norm_keeps_the_promise", functions::add_rms),
    ("add_rms_norm_in_place_keeps_the_promise", functions::add_rms_in_place),
    ("rms_norm_add_keeps_the_promise", functions::rms_add),
    ("add_layer_norm_keeps_the_promise", functions::add_layer),
    ("add_layer_norm_in_place_keeps_the_promise", functions::add_layer_in_place),
    ("layer_norm_add_keeps_the_promise", functions::layer_add),
    ("cust_buffers_are_normalized_where_they_lie", functions::cust_buffers),
    ("hard_values_keep_the_promise", accuracy::hard_values),
    ("hard_values_keep_the_promise_without_f64", accuracy::hard_values_without_f64),
    ("head_rms_norm_of_70000_rows_keeps_the_promise", |device| accuracy::many_rows(device, NormKind::Rms)),
    ("head_layer_norm_of_70000_rows_keeps_the_promise", |device| {
        accuracy::many_rows(device, NormKind::Layer)
    }),
    ("cpu_and_device_keep_the_promise_alike", accuracy::same_promise_on_both_backends),
    ("vectors_and_scalars_give_the_same_bits", bits::vectors_and_scalars),
    ("in_place_gives_the_bits_of_out_of_place", bits::in_place),
    ("a_row_has_the_same_bits_in_any_batch", bits::batches),
    ("a_lesser_profile_keeps_the_promise_and_shared_memory_changes_no_bit", bits::lesser_profile),
    ("strided_rows_have_the_bits_of_dense_ones", bits::strides),
    ("a_graph_gives_the_bits_of_direct_launches", graphs::same_bits),
    ("a_graph_outlives_its_stream", graphs::other_streams),
    ("a_failed_capture_leaves_the_stream_usable", graphs::failed_capture),
    ("a_borrowed_stream_outlives_its_handle", streams::borrowed),
    ("the_default_stream_gives_the_same_bits", streams::default_stream),
    ("two_streams_at_once_give_the_bits_of_each_alone", streams::two_at_once),
    ("threads_may_share_a_stream", streams::threads),
    ("streams_wait_for_each_other", streams::waiting),
    ("bytes_around_and_between_rows_are_untouched", guards::untouched),
    ("tensors_elsewhere_are_refused", misuse::wrong_places),
    ("null_and_misaligned_addresses_are_refused", misuse::bad_addresses),
    ("overlapping_tensors_are_refused", misuse::overlaps),
    ("residuals_that_do_not_fit_are_refused", misuse::residuals),
    ("wrong_shapes_and_numbers_are_refused", misuse::shapes_and_numbers),
    ("no_rows_are_nothing_to_do", misuse::no_rows),
    ("files_of_more_than_a_chunk_are_normalized", files::chunks),
    ("each_instruction_gives_the_bits_of_the_simulator", programs::each_agrees),
    ("random_programs_give_the_bits_of_the_simulator", programs::agree),
];

/// Tests that take or count the memory of a whole device.
const ALONE: [(&str, Test); 2] = [
    ("many_threads_for_a_while_give_the_same_bits_and_keep_no_memory", endurance::many_threads),
    ("little_memory_is_said_to_be", processes::little_memory),
];

/// Held by every test, and for writing by one that is alone: it measures, or takes much memory.
static DEVICE: RwLock<()> = RwLock::new(());

/// A test that runs beside others.
fn trial<T: Clone + Send + 'static>(
    name: &str,
    name_of_needed: &str,
    needed: &Result<T, String>,
    run: impl FnOnce(T) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    trials::trial(name, name_of_needed, needed, |needed| {
        let _others = DEVICE.read().unwrap_or_else(PoisonError::into_inner);
        run(needed)
    })
}

/// A test beside which no other runs.
fn alone<T: Clone + Send + 'static>(
    name: &str,
    name_of_needed: &str,
    needed: &Result<T, String>,
    run: impl FnOnce(T) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    trials::trial(name, name_of_needed, needed, |needed| {
        let _alone = DEVICE.write().unwrap_or_else(PoisonError::into_inner);
        run(needed)
    })
}

fn main() -> ExitCode {
    if let Some(done) = processes::child() {
        return done;
    }
    let device = device();
    let mut trials: Vec<Trial> = TESTS.map(|(name, test)| trial(name, "cuda", &device, test)).into();
    for kind in NormKind::ALL {
        // Those of two norms are run above.
        let of_one_norm = |access: &Variant| access.serves(kind) && !access.is_sandwich();
        for access in Variant::ALL.into_iter().filter(of_one_norm) {
            let name = format!("small_everything_{}_{}_keeps_the_promise", kind.name(), access.name());
            trials
                .push(trial(&name, "cuda", &device, move |device| kernels::each_once(device, kind, access)));
        }
    }
    for (name, test) in ALONE {
        trials.push(alone(name, "cuda", &device, test));
    }
    for dim in accuracy::DIMS {
        let name = format!("every_dtype_and_option_keeps_the_promise_at_dim_{dim}");
        trials
            .push(trial(&name, "cuda", &device, move |device| accuracy::every_dtype_and_option(device, dim)));
    }
    let rust_cuda = device.clone().and_then(with_rust_cuda);
    trials.push(trial("both_compilers_kernels_give_the_same_bits", "rust-cuda", &rust_cuda, bits::compilers));
    let recorded = device.clone().and_then(|device| Ok((device, recorded::load()?)));
    trials.push(trial(
        "recorded_vectors_are_what_this_device_gives",
        "vectors",
        &recorded,
        |(device, recorded)| vectors::agree(device, &recorded),
    ));
    if let Ok(file) = std::env::var("NORM_RECORD") {
        trials.push(trial("vectors_are_recorded", "cuda", &device, move |device| {
            vectors::record(device, &file)
        }));
    }
    let two = two_devices(&device);
    let connected = two.clone().and_then(|two| NcclId::new().map(|_| two).map_err(|error| error.to_string()));
    let over_nccl: [(&str, GroupTest); 4] = [
        ("rms_norm_sharded_over_two_devices_keeps_the_promise", sharded::over_devices),
        ("rms_norm_sharded_over_two_devices_takes_an_engines_communicators", communicators::of_an_engine),
        ("rms_norm_sharded_over_two_devices_can_be_captured", processes::captured_over_two_devices),
        ("rms_norm_sharded_over_two_devices_of_two_processes_keeps_the_promise", processes::two_processes),
    ];
    for (name, test) in over_nccl {
        trials.push(trial(name, "nccl", &connected, move |devices| test(&devices)));
    }
    trials.push(alone(
        "timed_rms_norm_sharded_over_two_devices_beside_nccl_alone",
        "nccl",
        &connected,
        |devices| sharded::overhead(&devices),
    ));
    trials.push(alone("timed_rms_norm_tp_keeps_two_devices_busy_at_once", "two_devices", &two, |two| {
        sharded::at_the_same_time(&two)
    }));
    let streams = device.clone().map(|device| [device; 4]);
    let sums: [(&str, GroupTest); 4] = [
        ("rows_added_up_over_two_processes_of_one_device_until_one_ends", |devices| {
            processes::two_processes_add_up(&devices[..2])
        }),
        ("small_everything_added_up_over_streams_has_the_bits_of_the_cpu", |devices| {
            all_reduce::each_kernel_once(&devices[..2])
        }),
        ("random_rows_added_up_over_streams_have_the_bits_of_the_cpu", all_reduce::random),
        ("rows_added_up_over_streams_can_be_captured", |devices| {
            all_reduce::replays(devices, PeerOptions { blocks: Some(24), ..PeerOptions::default() })
        }),
    ];
    for (name, test) in sums {
        trials.push(alone(name, "cuda", &streams, move |devices| test(&devices)));
    }
    trials.push(alone("timed_rows_added_up_over_two_streams", "cuda", &streams, |devices| {
        all_reduce::timed(&devices[..2])
    }));
    let sums: [(&str, GroupTest); 4] = [
        ("rows_added_up_over_two_devices_of_two_processes_until_one_ends", processes::two_processes_add_up),
        ("small_everything_added_up_over_two_devices_has_the_bits_of_the_cpu", all_reduce::each_kernel_once),
        ("random_rows_added_up_over_two_devices_have_the_bits_of_the_cpu", all_reduce::random),
        ("rows_added_up_over_two_devices_can_be_captured", |devices| {
            all_reduce::replays(devices, PeerOptions::default())
        }),
    ];
    for (name, test) in sums {
        trials.push(alone(name, "two_devices", &two, move |devices| test(&devices)));
    }
    trials.push(alone("timed_rows_added_up_over_two_devices_beside_nccl", "nccl", &connected, |devices| {
        all_reduce::timed(&devices)
    }));
    let same_device_twice = device.clone().map(|device| [device; 2]);
    for (group, needed, devices) in
        [("two_streams", "cuda", same_device_twice), ("two_devices", "two_devices", two)]
    {
        let tests: [(&str, GroupTest); 5] = [
            ("equals_rms_norm", tensor_parallel::equals_rms_norm),
            ("and_its_likes_equal_layer_and_head_norm", tensor_parallel::others_equal),
            ("waits_and_is_waited_for", tensor_parallel::waits),
            ("restores_the_current_context", tensor_parallel::restores_the_context),
            ("checks_everything_before_launching", tensor_parallel::checks_before_launching),
        ];
        for (name, test) in tests {
            let name = format!("rms_norm_tp_on_{group}_{name}");
            trials.push(trial(&name, needed, &devices, move |devices| test(&devices)));
        }
    }
    let room = device.and_then(|device| large::room(&device));
    trials.push(alone("rows_past_31_bits_keep_the_promise", "device_memory", &room, large::past_31_bits));
    trials.push(alone(
        "heads_past_31_bits_keep_the_promise_or_are_refused",
        "device_memory",
        &room,
        large::heads_past_31_bits,
    ));
    trials::run(trials)
}

/// The first device with the kernels that `NORM_KERNELS` names, those of stock rustc if it names none; or why there is none.
fn device() -> Result<Device, String> {
    let stock = Device::new(0).map_err(|error| format!("no CUDA device ({error})"));
    match std::env::var("NORM_KERNELS").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("stock") => stock,
        Ok("rust-cuda") => stock.and_then(with_rust_cuda).map(|(_, rust_cuda)| rust_cuda),
        other => panic!("NORM_KERNELS: expected stock or rust-cuda, given {other:?}"),
    }
}

/// The device with stock rustc's kernels, and with rust-cuda's: its driver may be too old for them, or they may be of others.
fn with_rust_cuda(device: Device) -> Result<(Device, Device), String> {
    let [stock, rust_cuda] = [&EMBEDDED, &RUST_CUDA].map(|set| Device::with_ptx(device.ordinal(), set));
    let text = |error: norm_host::Error| error.to_string();
    Ok((stock.map_err(text)?, rust_cuda.map_err(text)?))
}

/// The first two.
fn two_devices(first: &Result<Device, String>) -> Result<[Device; 2], String> {
    let first = first.clone()?;
    let second = Device::new(1).map_err(|error| format!("no second CUDA device ({error})"))?;
    Ok([first, second])
}
