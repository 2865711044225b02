//! The shipped PTX on the simulator: what CI holds it to where there is no GPU.

use std::collections::HashSet;
use std::path::Path;

use crate::run::norm;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Both compilers' kernels.
const SETS: [&str; 2] = ["stock", "rust-cuda"];

#[test]
fn random_cases_keep_every_promise_on_the_shipped_ptx() {
    // Either norm over rows and heads, every type, odd lengths, strides, unaligned starts, in
    // place, hard values, one row alone: each run checks every access too.
    for set in SETS {
        let check = ["check", "--device", "sim", "--ptx", set, "--cases", "1500", "--seed", "3", "--json"];
        let report = norm(here(), &check).json();
        assert_eq!((&report["device"], &report["cases"]), (&"sim".into(), &1500.into()));
        assert!(report["failure"].is_null(), "{set}: {report}");
    }
}

#[test]
fn kernels_run_from_a_file() {
    // Those for an older device, which plans no clusters.
    let older = here().join("norm-host/ptx/sm_80.ptx");
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
    std::fs::write(folder.path().join("empty.ptx"), ".version 8.0\n.target sm_90\n").unwrap();
    let message = |args: &[&str]| norm(folder.path(), args).bad_input();
    assert!(
        message(&["check", "--ptx", "none.ptx", "--device", "sim"])
            .contains("expected stock, rust-cuda or a file")
    );
    assert!(message(&["check", "--ptx", "no.ptx", "--device", "sim"]).contains("`.target sm_90`"));
    // The CPU would give results that are nobody's kernels'.
    for device in ["cpu", "auto"] {
        let message = message(&["check", "--ptx", "empty.ptx", "--device", device]);
        assert!(message.contains("expected a GPU or the simulator"), "{message}");
    }
    let message = message(&["bench", "--ptx", "stock,empty.ptx", "--host"]);
    assert!(message.contains("--host: takes kernels of one set, given 2"), "{message}");
}

#[test]
fn the_tour_runs_on_the_simulator() {
    let text = norm(here(), &["--device", "sim"]).good();
    assert!(text.contains("6 ok, 1 skipped"), "{text}");
    assert!(text.contains("not timed") && !text.contains("GB/s"), "{text}");
}

#[test]
fn every_kernel_moves_what_it_must_and_no_more() {
    for set in SETS {
        moves_what_it_must_and_no_more(set);
    }
}

fn moves_what_it_must_and_no_more(set: &str) {
    let report = norm(here(), &["ptx", "report", "--ptx", set, "--json"]).json();
    let lines = report.as_array().unwrap();
    let list = norm(here(), &["ptx", "list", "--ptx", set, "--json"]).json();
    let shipped = list.as_array().unwrap().last().unwrap()["kernels"].as_array().unwrap();
    let counted: HashSet<&str> = lines.iter().map(|line| line["kernel"].as_str().unwrap()).collect();
    assert!(shipped.iter().all(|kernel| counted.contains(kernel.as_str().unwrap())));

    for line in lines {
        let kernel = line["kernel"].as_str().unwrap();
        let number = |path: &str| line.pointer(path).and_then(serde_json::Value::as_f64).unwrap();
        let (divergent, barriers) = (number("/divergent_branches"), number("/barriers"));
        assert_eq!(number("/bank_conflicts"), 0.0, "{set}: {kernel}");
        if kernel.ends_with("_scalar") {
            // Rows that no vector divides: where a row ends, lanes part.
            continue;
        }
        if kernel.starts_with("rms_partial_") {
            assert_eq!((number("/x/factor"), number("/x/bytes_an_access")), (1.0, 16.0), "{set}: {kernel}");
            continue;
        }
        // A kernel that streams reads a row once a pass; all others hold it.
        let passes = match kernel {
            _ if !kernel.ends_with("_stream") => 1.0,
            _ if kernel.starts_with("rms") => 2.0,
            _ => 3.0,
        };
        assert_eq!(number("/x/factor"), passes, "{set}: {kernel}");
        assert_eq!(number("/y/factor"), 1.0, "{set}: {kernel}");
        // What adds a residual reads and writes it once; those that hold the row do nothing else.
        let adds = kernel.ends_with("_add2") || kernel.ends_with("_add4");
        assert_eq!(line["r"].is_null(), !adds, "{set}: {kernel}");
        if adds {
            assert_eq!((number("/r/0/factor"), number("/r/1/factor")), (1.0, 1.0), "{set}: {kernel}");
        }
        let widest = number("/x/bytes_an_access").max(number("/y/bytes_an_access"));
        assert_eq!(widest, 16.0, "{set}: {kernel}");
        // The branches that part lanes: a warp's first lane stores its sum before a barrier, and a
        // row's first thread asks the L2 cache for it.
        let rows = number("/rows");
        assert!(
            divergent <= barriers + rows,
            "{set}: {kernel}: {divergent} divergent branches, {barriers} barriers"
        );
    }
}
