//! Drivers that are there and cannot serve, in whole or in part: what `norm` does with each. The driver is a stand-in
//! (`norm-testing/libcuda`), whose settings say for which CUDA it is, with which devices, and what fails.

use std::fs;
use std::path::Path;
use std::process::Command;

use safetensors::Dtype;

use crate::file;
use crate::run::{Run, command, run};
use norm_testing::mock;

/// The binary, ready to run with such a driver.
fn with_driver(folder: &Path, settings: &str) -> Command {
    let mut command = command(folder);
    command.env("NORM_LIBCUDA", mock::library()).env("NORM_MOCK", settings);
    command
}

fn norm(settings: &str, args: &[&str]) -> Run {
    run(with_driver(Path::new("."), settings).args(args))
}

/// What a run that went well wrote to stdout, and the one line that it wrote to stderr.
fn with_note(run: Run) -> (String, String) {
    assert_eq!((run.status, run.stderr.lines().count()), (Some(0), 1), "{}{}", run.stdout, run.stderr);
    let note = run.stderr.strip_prefix("norm: ").and_then(|line| line.strip_suffix('\n'));
    (run.stdout, note.expect(&run.stderr).to_owned())
}

const TOO_OLD: &str =
    "the CUDA driver is too old: expected one for CUDA 12.0 or newer, given one for CUDA 11.4";
const CAPABILITY: &str = "device: expected compute capability 8.0 or newer, given 7.5";

/// Drivers and devices of which none can be used, and what is said of them.
const UNUSABLE: [(&str, &str); 10] = [
    ("cuda=11.4 devices=8.7", "cuda:0 cannot be used: the CUDA driver is too old"),
    (
        "cuda=12.0 devices=9.0",
        "cuda:0 cannot be used: the CUDA driver is too old: expected one for CUDA 12.1",
    ),
    ("devices=7.5", "cuda:0 cannot be used: device: expected compute capability 8.0 or newer, given 7.5"),
    ("devices=7.5,7.5", "cuda:0, cuda:1 cannot be used: device: expected compute capability 8.0"),
    ("cuInit=803", "the CUDA driver cannot be used: cuInit failed: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"),
    (
        "cuInit=804",
        "the CUDA driver cannot be used: cuInit failed: CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE (804)",
    ),
    ("cuInit=999", "the CUDA driver cannot be used: cuInit failed: CUDA_ERROR_UNKNOWN (999)"),
    (
        "cuDeviceGetCount=3",
        "the CUDA driver cannot be used: cuDeviceGetCount failed: CUDA_ERROR_NOT_INITIALIZED (3)",
    ),
    (
        "cuDevicePrimaryCtxRetain=2 devices=8.0",
        "cuda:0 cannot be used: cuDevicePrimaryCtxRetain failed: the device is",
    ),
    // Without libnvidia-ptxjitcompiler.so.1, which the driver opens when it first compiles.
    ("cuModuleLoadDataEx=221 devices=8.0", "cuda:0 cannot be used: kernel rms_f32_f32_f32_"),
];

#[test]
fn auto_goes_on_on_the_cpu_and_says_why_in_one_line() {
    for (settings, why) in UNUSABLE {
        let (stdout, note) = with_note(norm(settings, &["check", "--cases", "3", "--json"]));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["device"],
            "cpu",
            "{settings}"
        );
        assert!(note.starts_with(&format!("running on the CPU: {why}")), "{settings}: {note}");
        assert!(note.ends_with(" (`norm doctor` says what to do)"), "{settings}: {note}");
    }
}

#[test]
fn the_tour_goes_on_on_the_cpu_and_says_why() {
    for (settings, why) in [UNUSABLE[0], UNUSABLE[4]] {
        let (stdout, note) = with_note(norm(settings, &[]));
        assert!(stdout.contains(&format!("Why not on a GPU: {why}")), "{settings}: {stdout}");
        assert!(stdout.contains("6 ok, 1 skipped"), "{stdout}");
        assert!(note.starts_with(&format!("running on the CPU: {why}")), "{settings}: {note}");
    }
}

/// As on any machine without a GPU, or where `CUDA_VISIBLE_DEVICES` is empty: nothing is wrong there.
#[test]
fn without_devices_nothing_is_said() {
    for settings in ["devices=", "cuInit=100"] {
        let report = norm(settings, &["check", "--cases", "3", "--json"]).json();
        assert_eq!(report["device"], "cpu", "{settings}");
        let text = norm(settings, &["doctor"]).good();
        assert!(text.starts_with("found    CUDA driver: for CUDA 13.0, 0 devices\n"), "{text}");
        assert!(text.contains("\nReady: the operations run on the CPU"), "{text}");
    }
}

/// What doctor says: settings, the mark and the beginning of a finding, and a part of what helps.
const DOCTOR: [(&str, &str, &str); 13] = [
    (
        "cuda=11.4 devices=8.7",
        "BROKEN   cuda:0: the CUDA driver is too old: expected one for CUDA 12.0",
        "update NVIDIA's",
    ),
    (
        "cuda=12.0 devices=9.0",
        "BROKEN   cuda:0: the CUDA driver is too old: expected one for CUDA 12.1",
        "update NVIDIA's",
    ),
    (
        "devices=7.5",
        "BROKEN   cuda:0: device: expected compute capability 8.0",
        "use a GPU of compute capability 8.0",
    ),
    (
        "devices=7.5,6.1",
        "BROKEN   cuda:1: device: expected compute capability 8.0",
        "use a GPU of compute capability 8.0",
    ),
    ("cuInit=34", "BROKEN   CUDA driver: cuInit failed: CUDA_ERROR_STUB_LIBRARY (34)", "toolkit's stub"),
    ("cuInit=46", "BROKEN   CUDA driver: cuInit failed: ", "another process has the GPU"),
    (
        "cuInit=802",
        "BROKEN   CUDA driver: cuInit failed: CUDA_ERROR_SYSTEM_NOT_READY (802)",
        "fabric manager",
    ),
    (
        "cuInit=803",
        "BROKEN   CUDA driver: cuInit failed: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)",
        "restart the machine",
    ),
    (
        "cuInit=804",
        "BROKEN   CUDA driver: cuInit failed: CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE (804)",
        "cuda-compat",
    ),
    ("cuInit=999", "BROKEN   CUDA driver: cuInit failed: CUDA_ERROR_UNKNOWN (999)", "modprobe"),
    ("cuDeviceGetCount=3", "BROKEN   CUDA driver: cuDeviceGetCount failed", "nvidia-smi"),
    (
        "cuDevicePrimaryCtxRetain=2",
        "BROKEN   cuda:3: cuDevicePrimaryCtxRetain failed: the device is out of memory",
        "free",
    ),
    ("cuModuleLoadDataEx=221", "BROKEN   cuda:3: kernel rms_f32_f32_f32_", "libnvidia-ptxjitcompiler.so.1"),
];

#[test]
fn doctor_says_what_cannot_be_used_and_what_helps() {
    for (settings, finding, helps) in DOCTOR {
        let Run { status, stdout, stderr } = norm(settings, &["doctor"]);
        assert_eq!((status, stderr.as_str()), (Some(1), ""), "{settings}: {stdout}");
        let mut lines = stdout.lines().skip_while(|line| !line.starts_with(finding));
        assert!(lines.next().is_some(), "{settings}: {stdout}");
        let how = lines.find_map(|line| line.strip_prefix("           to mend it: ")).expect(&stdout);
        assert!(how.contains(helps), "{settings}: {how}");
        let end = "\nNot ready: see what is BROKEN above. Until then the operations run on the CPU, with ";
        assert!(stdout.contains(end), "{settings}: {stdout}");
        assert!(!stdout.contains("\nReady"), "{settings}: {stdout}");
    }
}

#[test]
fn doctor_is_content_with_a_driver_and_a_device_that_are_new_enough() {
    for (settings, target) in [("cuda=12.0 devices=8.7", "sm_80"), ("cuda=12.1 devices=9.0", "sm_90")] {
        let text = norm(settings, &["doctor"]).good();
        assert!(text.contains(&format!("8 GiB; uses the PTX for {target}\n")), "{settings}: {text}");
        assert!(
            text.contains("\nReady: the operations run on cuda:0 (Mock device 0, "),
            "{settings}: {text}"
        );
    }
}

/// A device that cannot be used is no reason not to use the next one.
#[test]
fn auto_takes_the_first_device_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let values = file::bytes(&[1.0, 2.0, 3.0, 4.0]);
    file::write(&folder.path().join("in"), &[("x", Dtype::F32, &[1, 4], &values)]);
    for (settings, chosen, why) in [
        ("devices=7.5,9.0", "cuda:1", CAPABILITY),
        ("cuda=12.0 devices=9.0,9.0,8.0", "cuda:2", "the CUDA driver is too old"),
        (
            "cuDevicePrimaryCtxRetain@0=2",
            "cuda:1",
            "cuDevicePrimaryCtxRetain failed: the device is out of memory",
        ),
    ] {
        let _ = fs::remove_file(folder.path().join("out"));
        let apply = ["rms", "--input", "in:x", "--out", "out"];
        let (stdout, note) = with_note(run(with_driver(folder.path(), settings).args(apply)));
        assert!(stdout.contains(&format!(" on {chosen} in ")), "{settings}: {stdout}");
        assert!(note.starts_with(&format!("running on {chosen}: cuda:0")), "{settings}: {note}");
        assert!(note.contains(&format!("cannot be used: {why}")), "{settings}: {note}");

        // That is no fault, and not passed over in silence.
        let text = norm(settings, &["doctor"]).good();
        assert!(text.contains(&format!("skipped  cuda:0: {why}")), "{settings}: {text}");
        assert!(text.contains(&format!("\nReady: the operations run on {chosen} (")), "{settings}: {text}");
        let json = norm(settings, &["doctor", "--json"]).json();
        let device =
            json["findings"].as_array().unwrap().iter().find(|found| found["name"] == "cuda:0").unwrap();
        assert_eq!(
            (&device["state"], device["how_to_get_it"].is_string()),
            (&"skipped".into(), true),
            "{device}"
        );
    }
}

/// What is allocated there has room for the rows of a chunk, their codes and scales: the stand-in refuses a copy that has not.
#[test]
fn a_device_has_room_for_rows_codes_and_scales() {
    let folder = tempfile::tempdir().unwrap();
    let values = [0; 2 * 3 * 256];
    file::write(&folder.path().join("in"), &[("x", Dtype::F16, &[3, 256], &values)]);
    for (out, options) in [("y", &[][..]), ("codes", &["--quantize", "int8-block128"])] {
        let apply = ["rms", "--input", "in:x", "--device", "cuda:0", "--out", out];
        run(with_driver(folder.path(), "devices=9.0").args(apply).args(options)).good();
    }
}

/// What was asked for by name is not replaced by something else: settings, arguments, and the line on stderr.
const ASKED_FOR: [(&str, &[&str], &str); 8] = [
    ("cuda=11.4 devices=8.7", &["--device", "cuda:0"], TOO_OLD),
    ("devices=7.5", &["--device", "cuda:0"], CAPABILITY),
    ("devices=7.5,9.0", &["check", "--device", "cuda:0"], CAPABILITY),
    (
        "devices=",
        &["check", "--device", "cuda:0"],
        "device: expected a CUDA device, given ordinal 0 on a machine where the driver finds none",
    ),
    (
        "devices=9.0",
        &["--device", "cuda:1"],
        "device: expected ordinal 0, that of the only CUDA device, given 1",
    ),
    (
        "devices=9.0,9.0",
        &["--device", "cuda:2"],
        "device: expected an ordinal from 0 to 1, those of the CUDA devices, given 2",
    ),
    ("cuInit=803", &["--device", "cuda:0"], "cuInit failed: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"),
    (
        "cuda=11.4 devices=8.7",
        &["bench"],
        "norm bench needs a CUDA device (cuda:0 cannot be used: the CUDA driver is too old: expected one for CUDA 12.0 \
         or newer, given one for CUDA 11.4); with --device cpu it measures the CPU",
    ),
];

#[test]
fn what_is_asked_for_by_name_and_cannot_be_used_is_an_error() {
    for (settings, args, expected) in ASKED_FOR {
        assert_eq!(norm(settings, args).bad_input(), format!("norm: {expected}\n"), "{settings} {args:?}");
    }
}

/// PTX of one's own is held against driver and device as the embedded one is.
#[test]
fn a_file_of_ptx_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = |version, target| format!(".version {version}\n.target {target}\n.entry k() {{ ret; }}\n");
    for (version, target, expected) in [
        (
            "9.9",
            "sm_80",
            "the CUDA driver is too old: expected one for CUDA 13.9 or newer, given one for CUDA 13.0",
        ),
        ("8.0", "sm_90", "device: expected compute capability 9.0 or newer, given 8.9"),
        (
            "8.0",
            "sm_80a",
            "ptx: expected kernels that a device of compute capability 8.9 runs, given those for sm_80a",
        ),
    ] {
        fs::write(folder.path().join("k.ptx"), text(version, target)).unwrap();
        let check = ["check", "--ptx", "k.ptx", "--device", "cuda:0"];
        let run = run(with_driver(folder.path(), "devices=8.9").args(check));
        assert_eq!(run.bad_input(), format!("norm: {expected}\n"), "{version} {target}");
    }
    // Beside kernels that the driver reads, and where no device was asked for.
    fs::write(folder.path().join("k.ptx"), text("9.0", "sm_80")).unwrap();
    let too_old =
        "the CUDA driver is too old: expected one for CUDA 13.0 or newer, given one for CUDA 12.4".to_owned();
    let nothing_runs = format!(
        "--ptx: expected a GPU or the simulator to run them, given 'k.ptx' and the CPU (cuda:0 cannot be used: {too_old})"
    );
    for (args, expected) in
        [(["check", "--ptx", "k.ptx"], nothing_runs), (["bench", "--ptx", "stock,k.ptx"], too_old)]
    {
        let run = run(with_driver(folder.path(), "cuda=12.4 devices=9.0").args(args));
        assert_eq!(run.bad_input(), format!("norm: {expected}\n"), "{args:?}");
    }
}

/// A library that is there and cannot be opened is something to be mended, other than one that is not there.
#[test]
fn a_library_that_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libcuda.so.1");
    fs::write(&library, "This is no library.\n").unwrap();
    let norm = |args: &[&str]| run(command(folder.path()).env("NORM_LIBCUDA", &library).args(args));
    let (_, note) = with_note(norm(&["check", "--cases", "3"]));
    assert!(note.starts_with("running on the CPU: no CUDA driver: "), "{note}");
    let Run { status, stdout, .. } = norm(&["doctor"]);
    assert_eq!(status, Some(1), "{stdout}");
    assert!(stdout.starts_with("BROKEN   CUDA driver: no CUDA driver: "), "{stdout}");
    assert!(stdout.contains("install NVIDIA's driver anew"), "{stdout}");
}
