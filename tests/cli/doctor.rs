//! `norm doctor`.

use std::path::Path;

use crate::run::{command, norm};

#[test]
fn without_a_driver_all_is_ready_on_the_cpu() {
    let text = norm(Path::new("."), &["doctor"]).good();
    assert!(text.starts_with("missing  CUDA driver: "), "{text}");
    assert!(text.contains("to get it: install NVIDIA's driver"), "{text}");
    assert!(text.contains("Ready: the operations run on the CPU"), "{text}");
}

#[test]
fn json_holds_every_finding() {
    let diagnosis = norm(Path::new("."), &["doctor", "--json"]).json();
    assert_eq!(diagnosis["ready"], true);
    let findings = diagnosis["findings"].as_array().unwrap();
    let names: Vec<&str> = findings.iter().map(|finding| finding["name"].as_str().unwrap()).collect();
    let tools = ["CUDA driver", "CUDA toolkit", "pinned nightly", "rust-src", "rust-cuda"];
    assert_eq!(names, [&tools[..], &["rust-cuda's kernels", "ptxas"]].concat());
    for finding in findings {
        let missing = finding["state"] == "missing";
        assert_eq!(finding["how_to_get_it"].is_string(), missing, "{finding}");
    }
}

#[test]
fn what_cannot_be_found_is_missing_with_a_way_to_get_it() {
    // No rustup, no nvcc, no ptxas.
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path())
        .args(["doctor", "--json"])
        .env("PATH", folder.path())
        .env("CUDA_HOME", folder.path())
        .env_remove("CUDA_PATH")
        .env_remove("PTXAS")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let diagnosis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for finding in diagnosis["findings"].as_array().unwrap() {
        let of_toolkit = ["CUDA toolkit", "ptxas"].contains(&finding["name"].as_str().unwrap());
        // Part of the program.
        if finding["name"] == "rust-cuda's kernels" {
            continue;
        }
        // A toolkit in its usual place is found wherever PATH leads.
        if of_toolkit && Path::new("/usr/local/cuda").exists() {
            continue;
        }
        assert_eq!(finding["state"], "missing", "{finding}");
        assert!(!finding["how_to_get_it"].as_str().unwrap().is_empty());
    }
}

/// A library that is no driver is a driver that cannot be used: something to be mended.
#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_no_driver_is_told() {
    let output = command(Path::new(".")).arg("doctor").env("NORM_LIBCUDA", "libc.so.6").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("BROKEN   CUDA driver: "), "{text}");
    assert!(text.contains("Not ready"), "{text}");
}
