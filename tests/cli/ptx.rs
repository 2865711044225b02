//! `norm ptx`.

use std::collections::BTreeSet;
use std::path::Path;

use norm_host::ptx::EMBEDDED;

use crate::run::norm;

const KERNEL: &str = "rms_f16_f16_f16_block2";

/// One that the kernel `rms_f32_f32_f32_warp2` does.
const CASE: &str = "op=rms over=rows shape=2x96 x=f32 w=f32 y=f16 eps=1e-6 data=normal seed=7";

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
        let bytes = format!(", {} bytes, compressed\n", target["bytes"]);
        assert!(text.contains(&bytes) && target["compressed"] == true, "{text}");
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
        (&["stats", "-1"], "FILTER: expected a part of a kernel's name, or a template's name, given '-1'"),
        (&["report", "-1"], "FILTER: expected a part of a kernel's name, or a template's name, given '-1'"),
        (&["list", "--ptx", "-1"], "--ptx: expected stock, rust-cuda or a file of PTX, given '-1'"),
    ] {
        let message = norm(Path::new("."), &[&["ptx"], args].concat()).bad_input();
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn a_template_stands_for_the_kernels_that_are_made_of_it() {
    for command in ["stats", "report"] {
        let text = norm(Path::new("."), &["ptx", command, "rms_b32_b32_b16_warp2"]).good();
        let kernels: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        let kernels: Vec<_> = kernels.into_iter().filter(|name| name.starts_with("rms_")).collect();
        assert_eq!(kernels, ["bf16", "f16"].map(|y| format!("rms_f32_f32_{y}_warp2")), "{text}");
        let message = norm(Path::new("."), &["ptx", command, "rms_b32_b32_b16"]).bad_input();
        assert!(message.contains("FILTER: ") && message.contains("given 'rms_b32_b32_b16'"), "{message}");
    }
}

/// What the model says where it is sure: RMSNorm of 2048 columns waits for memory on whatever GPU, and has no f64.
#[test]
fn what_bounds_a_kernel_on_another_gpu_is_told() {
    for gpu in ["rtx-3090", "rtx-4090", "rtx-5090", "l4", "a100", "h100", "h200", "b200", "b300"] {
        let args = ["ptx", "report", "rms_f16_f16_f16_block2", "--for", gpu, "--json"];
        let bounds = norm(Path::new("."), &args).json();
        assert!(!bounds.as_array().unwrap().is_empty(), "{gpu}");
        for bound in bounds.as_array().unwrap() {
            assert_eq!(bound["bound_by"], "memory", "{gpu}: {bound}");
            assert!((bound["of_memory"].as_f64().unwrap() - 0.89).abs() < 1e-9, "{gpu}: {bound}");
            let busy = bound["busy"].as_array().unwrap();
            let f64_is_busy = busy.iter().find(|unit| unit[0] == "f64").unwrap()[1].as_f64().unwrap();
            assert!(f64_is_busy < 0.2, "{gpu}: {bound}");
        }
    }
    let table = norm(Path::new("."), &["ptx", "report", KERNEL, "--for", "l4"]).good();
    assert!(
        table.starts_with("What bounds each kernel on an NVIDIA L4 (compute capability 8.9): "),
        "{table}"
    );
    let message = norm(Path::new("."), &["ptx", "report", "--for", "rtx-1080"]).bad_input();
    assert!(message.contains("'rtx-1080'") && message.contains("rtx-3090"), "{message}");
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
    let sm_80 = &EMBEDDED[0];
    let templates = sm_80.templates().unwrap().map(|template| format!("\n{}\n", template.text().unwrap()));
    let shipped = format!("{}{}", sm_80.header().unwrap(), templates.collect::<String>());
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
            &["check", "--device", "sim", "--case", CASE],
            &["ptx", "show", "rms_f32_f32_f16_warp2"],
        ]
        .map(|command| norm(folder.path(), &[command, &["--ptx", "k.ptx"]].concat()));
        if is_there {
            assert!(list.good().starts_with("sm_80: 892 kernels from 256 templates, "), "{first}");
            assert!(check.good().starts_with("ok: 1 case "), "{first}");
            assert_eq!(show.good().matches(".entry").count(), 1, "{first}");
        } else {
            for run in [list, check, show] {
                // Without entries there is no place for what their bodies hold.
                assert!(
                    run.bad_input().contains("expected pseudo-instructions in templates alone"),
                    "{first}"
                );
            }
        }
    }
}

/// A text of one template.
fn template_text() -> String {
    norm(Path::new("."), &["ptx", "show", "rms_b32_b32_b16_warp2", "--target", "sm_80"]).good()
}

#[test]
fn kernels_of_a_template_are_listed_shown_counted_and_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.ptx"), template_text()).unwrap();
    let run = |args: &[&str]| norm(folder.path(), &[args, &["--ptx", "t.ptx"]].concat());

    let list = run(&["ptx", "list"]).good();
    assert!(list.starts_with("sm_80: 2 kernels from 1 template, "), "{list}");
    for y in ["f16", "bf16"] {
        let line = format!("\n{:<28} rms_b32_b32_b16_warp2\n", format!("rms_f32_f32_{y}_warp2"));
        assert!(list.contains(&line), "{list}");
    }
    let targets = run(&["ptx", "list", "--json"]).json();
    assert_eq!(targets[0]["templates"], serde_json::json!(["rms_b32_b32_b16_warp2"]));
    assert!(list.contains(" bytes of PTX\n") && targets[0]["compressed"] == false, "{list}");

    let template = run(&["ptx", "show", "rms_b32_b32_b16_warp2"]).good();
    assert_eq!(template, template_text());
    assert!(template.contains(".entry rms_b32_b32_b16_warp2(") && template.contains("norm.pack.y "));
    for (name, instruction) in [
        ("rms_f32_f32_f16_warp2", "cvt.rn.f16x2.f32 "),
        ("rms_f32_f32_bf16_warp2", "cvt.rn.bf16x2.f32 "),
        // Listed it is not: there are seven for each that is.
        ("rms_f32_f32_f16_warp2_before_weight", "cvt.rn.f16x2.f32 "),
    ] {
        let shown = run(&["ptx", "show", name]).good();
        assert!(shown.contains(&format!(".entry {name}(")) && shown.contains(instruction), "{shown}");
        assert_eq!(shown, norm(Path::new("."), &["ptx", "show", name, "--target", "sm_80"]).good());
    }
    let stats = run(&["ptx", "stats"]).good();
    assert!(stats.contains("\nrms_f32_f32_bf16_warp2 ") && !stats.contains("_round_offset "), "{stats}");
    let one = run(&["ptx", "stats", "rms_f32_f32_bf16_warp2_before_weight_round_offset"]).good();
    assert!(one.contains("\nrms_f32_f32_bf16_warp2_before_weight_round_offset "), "{one}");
    // Without its whole name it is not meant, and one whose template is not there is none.
    for unknown in ["warp2_before_weight", "rms_f16_f32_bf16_warp2_before_weight"] {
        assert!(run(&["ptx", "stats", unknown]).bad_input().contains("FILTER: "), "{unknown}");
    }

    assert!(run(&["check", "--device", "sim", "--case", CASE]).good().starts_with("ok: 1 case "));
}

#[test]
fn a_malformed_template_is_told_with_the_line_in_which_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = template_text().replacen("norm.pack.y", "norm.pac.y", 1);
    std::fs::write(folder.path().join("t.ptx"), text).unwrap();
    let run = |args: &[&str]| norm(folder.path(), &[args, &["--ptx", "t.ptx"]].concat());
    let template = run(&["ptx", "show", "rms_b32_b32_b16_warp2"]).good();
    let line = 1 + template.lines().position(|line| line.contains("norm.pac.")).unwrap();
    for command in [&["ptx", "show", "rms_f32_f32_f16_warp2"][..], &["ptx", "stats", "_f16_warp2"]] {
        let message = run(command).bad_input();
        let place = format!("kernel rms_f32_f32_f16_warp2, line {line} of template rms_b32_b32_b16_warp2");
        assert!(message.starts_with(&format!("norm: ptx: {place}: expected an operation (")), "{message}");
        assert!(message.ends_with("), given 'pac'\n"), "{message}");
    }
    let near = run(&["ptx", "show", "rms_b32_b32_b16_warp4"]).bad_input();
    assert!(near.ends_with("near it is 'rms_b32_b32_b16_warp2'\n"), "{near}");
}

/// What is wrong with kernels is no fault of a case that would run them.
#[test]
fn a_check_of_kernels_that_cannot_be_loaded_is_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let header = ".version 8.0\n.target sm_80\n.address_size 64\n";
    let malformed = template_text().replacen("norm.pack.y", "/* y */ norm.pack.y", 1);
    let unknown = template_text().replacen("\tret;", "\tturn;", 1);
    let broken = template_text();
    let broken = broken.trim_end().trim_end_matches('}');
    for (name, text, expected) in [
        (
            "malformed",
            &*malformed,
            "expected a pseudo-instruction alone on a line of the body, given '/* y */ norm.pack",
        ),
        ("unknown", &*unknown, "simulator: "),
        ("broken", broken, "expected as many closing braces as opening ones"),
        ("foreign", &*format!("{header}.entry k() {{ ret; }}\n"), "lacks kernel rms_f32_f32_f16_warp2"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
        let args = ["check", "--device", "sim", "--ptx", name, "--case", CASE];
        let message = norm(folder.path(), &args).bad_input();
        assert!(message.contains(expected), "{name}: {message}");
    }
}

/// Whatever is asked of them, and of rust-cuda's, which may be of the kernels that are here.
#[test]
fn kernels_of_another_source_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("// kernels 5c1e\n// frame 1: rms_b32_b32_b16_warp2\n{}", template_text());
    std::fs::write(folder.path().join("other.ptx"), text).unwrap();
    let twice = format!("{}.visible .entry rms_b32_b32_b16_warp2() {{ ret; }}\n", template_text());
    std::fs::write(folder.path().join("twice.ptx"), twice).unwrap();
    for command in [&["ptx", "list"][..], &["ptx", "stats"], &["check", "--device", "sim", "--case", CASE]] {
        let message = norm(folder.path(), &[command, &["--ptx", "other.ptx"]].concat()).bad_input();
        assert!(message.starts_with("norm: ptx: expected what was made of kernels "), "{message}");
        assert!(message.ends_with(", given what was made of 5c1e\n"), "{message}");
        let message = norm(folder.path(), &[command, &["--ptx", "twice.ptx"]].concat()).bad_input();
        assert!(message.ends_with("given several named rms_b32_b32_b16_warp2\n"), "{message}");
        if norm_host::ptx::RUST_CUDA[0].header().is_err() {
            let message = norm(folder.path(), &[command, &["--ptx", "rust-cuda"]].concat()).bad_input();
            assert!(message.starts_with(
                "norm: --ptx: expected kernels that this program can launch, given rust-cuda (ptx: "
            ));
            assert!(message.contains("docs/RUST-CUDA.md"), "{message}");
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
    assert!(norm(folder.path(), &["ptx", "list", "--ptx", "padded"]).good().starts_with("sm_80: 1 kernel, "));
}

/// What repeats a failure can be pasted into a shell as it stands.
#[test]
fn the_command_that_repeats_a_failure_quotes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    // Kernels that store nothing.
    let text = template_text().replace("st.global", "// st.global");
    std::fs::write(folder.path().join("my kernels.ptx"), text).unwrap();
    let args = ["check", "--device", "sim", "--ptx", "my kernels.ptx", "--case", CASE];
    let run = norm(folder.path(), &args);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(
        run.stdout.contains("\n  norm check --device sim --ptx 'my kernels.ptx' --case 'op="),
        "{}",
        run.stdout
    );
}
