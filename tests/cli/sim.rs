//! The shipped PTX on the simulator: what CI holds it to where there is no GPU.

use crate::run::{here, norm, shipped};

#[test]
fn random_cases_keep_every_promise_on_the_shipped_ptx() {
    // Either norm over rows and heads, every type, odd lengths, strides, unaligned starts, in
    // place, hard values, one row alone: each run checks every access too.
    let check = ["check", "--device", "sim", "--cases", "1500", "--seed", "3", "--json"];
    let report = norm(here(), &check).json();
    assert_eq!((&report["device"], &report["cases"]), (&"sim".into(), &1500.into()));
    assert!(report["failure"].is_null(), "{report}");
}

#[test]
fn kernels_run_from_a_file() {
    // Those for an older device, which plans no clusters.
    let folder = tempfile::tempdir().unwrap();
    let older = folder.path().join("sm_80.ptx");
    std::fs::write(&older, shipped()).unwrap();
    let older = older.to_str().unwrap();
    let check = ["check", "--device", "sim", "--ptx", older, "--cases", "100", "--json"];
    let report = norm(here(), &check).json();
    assert_eq!((&report["cases"], report["failure"].is_null()), (&100.into(), true), "{report}");
    norm(here(), &["ptx", "report", "rms_f16_f16_f16", "--ptx", older]).good();
}

#[test]
fn kernels_that_nothing_can_run_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("no.ptx"), ".version 8.0\n").unwrap();
    let one = ".version 8.0\n.target sm_90\n.entry k() { ret; }\n";
    std::fs::write(folder.path().join("one.ptx"), one).unwrap();
    let message = |args: &[&str]| norm(folder.path(), args).bad_input();
    assert!(
        message(&["check", "--ptx", "none.ptx", "--device", "sim"])
            .contains("expected stock, rust-cuda or a file")
    );
    assert!(message(&["check", "--ptx", "no.ptx", "--device", "sim"]).contains("`.target sm_90`"));
    // The CPU would give results that are nobody's kernels'.
    for device in ["cpu", "auto"] {
        let message = message(&["check", "--ptx", "one.ptx", "--device", device]);
        assert!(message.contains("expected a GPU or the simulator"), "{message}");
    }
    let message = message(&["bench", "--ptx", "stock,one.ptx", "--host"]);
    assert!(message.contains("--host: takes kernels of one set, given 2"), "{message}");
}

#[test]
fn the_tour_runs_on_the_simulator() {
    let text = norm(here(), &["--device", "sim"]).good();
    assert!(text.contains("6 ok, 1 skipped"), "{text}");
    assert!(text.contains("not timed") && !text.contains("GB/s"), "{text}");
}
