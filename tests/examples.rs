//! The numbered examples do what they show. Those for a GPU say so where there is none.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use norm_host::Device;
use norm_testing::mock;

/// The example's binary, which `cargo test` builds with the tests; `cargo test --test examples` alone
/// does not, and needs `cargo build --examples` in front of it.
fn example(name: &str) -> PathBuf {
    let binaries = Path::new(env!("CARGO_BIN_EXE_norm")).parent().expect("it is in a folder");
    binaries.join("examples").join(name)
}

fn run(name: &str) -> Output {
    Command::new(example(name)).output().expect("the example runs")
}

/// What an example printed that went well.
fn printed(name: &str) -> String {
    let Output { status, stdout, stderr } = run(name);
    assert!(status.success(), "{name}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("stdout is UTF-8")
}

/// What an example for a GPU printed; or nothing, where it could but say that there is none.
fn printed_with_a_gpu(name: &str) -> Option<String> {
    if Device::new(0).is_ok() {
        return Some(printed(name));
    }
    says_that_it_needs_a_gpu(name, &mut Command::new(example(name)));
    None
}

/// Runs an example where no GPU can be used; gives the reason that it names.
fn says_that_it_needs_a_gpu(name: &str, command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the example runs");
    let text = String::from_utf8(stderr).expect("stderr is UTF-8");
    assert_eq!((status.code(), stdout.as_slice()), (Some(2), &[][..]), "{name}: {text}");
    let lines: Vec<&str> = text.lines().collect();
    let [reason, instead, doctor] = lines[..] else { panic!("{name}: {text}") };
    assert!(instead.contains("`cargo run --example 01-normalize`") && doctor.contains("doctor"), "{text}");
    let reason =
        reason.strip_prefix("This example runs on an NVIDIA GPU, and there is none that it can use: ");
    reason.expect(&text).to_owned()
}

/// Whatever this machine has: no driver, one without devices, one that fails, one that is too old.
#[test]
fn examples_for_a_gpu_say_so_where_there_is_none() {
    let mock = mock::library().to_str().expect("its path is UTF-8");
    let machines = [
        ("no-such-libcuda.so", "", "no CUDA driver: "),
        (
            mock,
            "devices=",
            "device: expected a CUDA device, given ordinal 0 on a machine where the driver finds none.",
        ),
        (mock, "cuInit=999", "cuInit failed: CUDA_ERROR_UNKNOWN (999)."),
        (mock, "cuda=11.4 devices=8.7", "the CUDA driver is too old: expected one for CUDA 12.0 or newer, "),
        (mock, "devices=7.5", "device: expected compute capability 8.0 or newer, given 7.5."),
    ];
    for name in ["04-borrowed-stream", "05-graph", "06-tensor-parallel", "08-cust-module"] {
        for (library, settings, expected) in machines {
            let mut command = Command::new(example(name));
            command.env("NORM_LIBCUDA", library).env("NORM_MOCK", settings);
            let reason = says_that_it_needs_a_gpu(name, &mut command);
            assert!(reason.starts_with(expected), "{name} with '{settings}': {reason}");
        }
    }
}

#[test]
fn normalize() {
    assert_eq!(
        printed("01-normalize"),
        "rms_norm    [0.3651, 0.7303, 1.0954, 2.9212, 0.3651, 0.7303, 1.0954, 2.9212]\n\
         layer_norm_ [-0.9285, -0.5571, -0.1857, 1.6712, -0.9285, -0.5571, -0.1857, 1.6712]\n"
    );
}

#[test]
fn strides() {
    let text = printed("02-strides");
    // The queries are normalized, and nothing beside them has changed.
    assert!(text.contains("key   [8.000, 9.000, 10.000, 11.000]\n"));
    assert!(text.contains("value [28.000, 29.000, 30.000, 31.000]\n"));
    assert!(text.contains("query [0.000, 0.267, 0.535, 0.802]\n"));
    assert_eq!(text.matches("query").count(), 4);
}

#[test]
fn residual() {
    assert_eq!(
        printed("03-residual"),
        "the stream       [1.0000, 2.0000, 1.0000, 1.0000, 0.0000, 3.0000]\n\
         the next input   [0.7071, 1.4142, 1.0607, 0.5477, 0.0000, 2.4648]\n"
    );
}

#[test]
fn borrowed_stream() {
    if let Some(text) = printed_with_a_gpu("04-borrowed-stream") {
        let row = "0.3651, 0.7303, 1.0954, 2.9212";
        assert!(text.starts_with(&format!("[{row}, {row}] by ")), "{text}");
    }
}

#[test]
fn graph() {
    if let Some(text) = printed_with_a_gpu("05-graph") {
        for (step, sum) in [(1, "1.0"), (2, "3.0"), (3, "6.0")] {
            let line = format!("step {step}: the residual is [{sum}, {sum}, {sum}, {sum}]\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}

#[test]
fn tensor_parallel() {
    if let Some(text) = printed_with_a_gpu("06-tensor-parallel") {
        let row = "0.3651, 0.7303, 1.0954, 2.9212";
        assert!(text.lines().count() >= 2, "{text}");
        assert!(text.lines().all(|line| line.ends_with(&format!(": [{row}, {row}]"))), "{text}");
    }
}

#[test]
fn errors() {
    assert_eq!(
        printed("07-errors"),
        "weights of another length:\n  w: expected shape (4,), given (3,)\n\
         a shape that the slice does not hold, of a view that is to be the weights:\n  \
         w: expected memory for 12 elements, given 8\n\
         rows whose elements lie apart:\n  x: expected a dense last axis (stride 1), given stride 4\n\
         memory of a GPU given to the CPU:\n  x: expected on the host, given on cuda:0\n\
         an eps that is none:\n  eps: expected 0 or a positive finite number in the range of f32, given NaN\n\
         1 elements are missing; y is still [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]\n"
    );
}

#[test]
fn cust_module() {
    if let Some(text) = printed_with_a_gpu("08-cust-module") {
        assert!(
            text.starts_with("[0.3651, 0.7303, 1.0954, 2.9212, 0.3651, 0.7303, 1.0954, 2.9212] by "),
            "{text}"
        );
    }
}
