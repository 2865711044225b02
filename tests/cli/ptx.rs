//! `norm ptx`.

use std::path::Path;

use crate::run::{here, norm};

const KERNEL: &str = "rms_f16_f16_f16_block2";

#[test]
fn the_list_names_the_kernels_of_every_target() {
    let targets = norm(Path::new("."), &["ptx", "list", "--json"]).json();
    let targets = targets.as_array().unwrap();
    assert!(!targets.is_empty());
    let text = norm(Path::new("."), &["ptx"]).good();
    for target in targets {
        let kernels = target["kernels"].as_array().unwrap();
        assert!(kernels.iter().any(|kernel| kernel == KERNEL), "{}", target["target"]);
        let head = format!("{}: {} kernels", target["target"].as_str().unwrap(), kernels.len());
        assert!(text.contains(&head), "{head}");
    }
}

#[test]
fn a_kernel_is_shown_as_a_module() {
    let text = norm(Path::new("."), &["ptx", "show", KERNEL]).good();
    assert!(text.contains(".version") && text.contains(".target"), "the header is there");
    let entries: Vec<&str> = text.lines().filter(|line| line.contains(".entry")).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].contains(KERNEL), "{entries:?}");
}

#[test]
fn a_kernel_or_target_there_is_not_is_bad_input() {
    let message = norm(Path::new("."), &["ptx", "show", "rms_f16_f16_f16_blok2"]).bad_input();
    assert!(
        message.ends_with("given 'rms_f16_f16_f16_blok2'; near it is 'rms_f16_f16_f16_block2'\n"),
        "{message}"
    );
    let message = norm(Path::new("."), &["ptx", "show", "nosuch"]).bad_input();
    assert!(message.ends_with("given 'nosuch'\n"), "nothing is near: {message}");
    for (args, expected) in [
        (&["show", KERNEL, "--target", "sm_10"][..], "--target: expected sm_80 or sm_90, given 'sm_10'"),
        (&["show", KERNEL, "--target", "-1"], "--target: expected sm_80 or sm_90, given '-1'"),
        (&["stats", "--target", "-1"], "--target: expected sm_80 or sm_90, given '-1'"),
        (&["show", "-1"], "KERNEL: expected a name that `norm ptx list` prints, given '-1'"),
        (&["stats", "-1"], "FILTER: expected a part of a kernel's name, given '-1'"),
        (&["report", "-1"], "FILTER: expected a part of a kernel's name, given '-1'"),
        (&["list", "--ptx", "-1"], "--ptx: expected stock, rust-cuda or a file of PTX, given '-1'"),
    ] {
        let message = norm(Path::new("."), &[&["ptx"], args].concat()).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn counts_of_a_kernel_parse() {
    let counts = norm(Path::new("."), &["ptx", "stats", KERNEL, "--json"]).json();
    assert!(counts.to_string().contains(KERNEL));
}

/// A text without kernels is reported as one, whatever the command; a filter is blamed only where one was given.
#[test]
fn a_text_without_kernels_is_said_to_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let header = ".version 8.0\n.target sm_80\n.address_size 64\n";
    std::fs::write(folder.path().join("empty.ptx"), header).unwrap();
    std::fs::write(folder.path().join("other.ptx"), format!("{header}.entry k() {{ ret; }}\n")).unwrap();
    for args in [
        &["ptx", "list"][..],
        &["ptx", "stats"],
        &["ptx", "stats", "rms"],
        &["ptx", "show", "k"],
        &["ptx", "report"],
        &["ptx", "report", "rms"],
        &["check", "--device", "sim"],
        &["--device", "sim"],
    ] {
        let message = norm(folder.path(), &[args, &["--ptx", "empty.ptx"]].concat()).bad_input();
        let expected = "norm: --ptx: expected PTX with kernels, given 'empty.ptx', which has none\n";
        assert_eq!(message, expected, "{args:?}");
    }
    let message = norm(folder.path(), &["ptx", "--ptx", "other.ptx", "stats", "rms"]).bad_input();
    assert!(message.contains("FILTER: ") && message.contains("given 'rms'"), "{message}");
    let message = norm(folder.path(), &["ptx", "--ptx", "other.ptx", "report"]).bad_input();
    assert!(message.contains("kernels of this library, given 'other.ptx', which has none"), "{message}");
    assert!(norm(folder.path(), &["ptx", "--ptx", "other.ptx", "stats"]).good().contains("\nk "));
}

/// However a kernel's first line is spelled, what `list` has is what `show` prints and `check` runs.
#[test]
fn what_is_listed_is_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(here().join("norm-host/ptx/sm_80.ptx")).unwrap();
    let case = "op=rms over=rows shape=2x96 x=f32 w=f32 y=f32 eps=1e-6 data=normal seed=7";
    for (first, is_there) in [
        (".visible .entry ", true),
        ("   .visible .entry ", true),
        ("\t.visible\t.entry\n", true),
        (".entry ", true),
        ("/* . */ .visible .entry ", true),
        ("// .visible .entry ", false),
        (".visible .func ", false),
    ] {
        std::fs::write(
            folder.path().join("k.ptx"),
            shipped.replace("\n.visible .entry ", &format!("\n{first}")),
        )
        .unwrap();
        let [list, check, show] = [
            &["ptx", "list"][..],
            &["check", "--device", "sim", "--case", case],
            &["ptx", "show", "rms_f32_f32_f32_warp2"],
        ]
        .map(|command| norm(folder.path(), &[command, &["--ptx", "k.ptx"]].concat()));
        if is_there {
            assert!(list.good().starts_with("sm_80: 546 kernels, "), "{first}");
            assert!(check.good().starts_with("ok: 1 case "), "{first}");
            assert_eq!(show.good().matches(".entry").count(), 1, "{first}");
        } else {
            for run in [list, check, show] {
                assert!(run.bad_input().contains("given 'k.ptx', which has none"), "{first}");
            }
        }
    }
}

/// What `--ptx` cannot read, in whatever command: it is said at once.
#[test]
fn what_is_no_file_of_ptx_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
    std::fs::File::create(path("sparse")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(path("binary"), b".target sm_80\n\xff").unwrap();
    std::fs::write(path("zero"), ".version 8.0\n.target sm_80\n\0.visible .entry k() { ret; }\n").unwrap();
    std::fs::write(path("padded"), ".version 8.0\n.target sm_80\n.visible .entry k() { ret; }\n\0\0")
        .unwrap();
    for (given, expected) in [
        ("/dev/zero", "expected a regular file of PTX, given '/dev/zero', which is a device"),
        ("link", "expected a regular file of PTX, given 'link', which is a device"),
        ("fifo", "expected a regular file of PTX, given 'fifo', which is a FIFO"),
        ("folder", "expected a regular file of PTX, given 'folder', which is a folder"),
        ("sparse", "expected a file of at most 256 MiB of PTX, given 'sparse' with more"),
        ("binary", "expected a file of PTX, which is text, given 'binary', which is none from byte 14 on"),
        ("zero", "expected a file of PTX, which is text, given 'zero', which is none from byte 27 on"),
        (
            "none",
            "expected stock, rust-cuda or a file of PTX, given 'none': No such file or directory (os error 2)",
        ),
    ] {
        for command in [&["ptx", "list"][..], &["check", "--device", "sim"], &["--device", "cuda:0"]] {
            let message = norm(folder.path(), &[command, &["--ptx", given]].concat()).bad_input();
            assert_eq!(message, format!("norm: --ptx: {expected}\n"), "{command:?}");
        }
    }
    // As extracted from a binary, which pads it.
    assert!(norm(folder.path(), &["ptx", "list", "--ptx", "padded"]).good().starts_with("sm_80: 1 kernels"));
}

/// What repeats a failure can be pasted into a shell as it stands.
#[test]
fn the_command_that_repeats_a_failure_quotes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = ".version 8.0\n.target sm_80\n.visible .entry k() { ret; }\n";
    std::fs::write(folder.path().join("my kernels.ptx"), text).unwrap();
    let args = ["check", "--device", "sim", "--ptx", "my kernels.ptx", "--cases", "1"];
    let run = norm(folder.path(), &args);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(
        run.stdout.contains("\n  norm check --device sim --ptx 'my kernels.ptx' --case 'op="),
        "{}",
        run.stdout
    );
}
