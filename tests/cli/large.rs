//! Large files: memory that does not grow with them, and what is left of a run that does not come to its end.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::file::{self, bytes, names};
use crate::run::command;

const MIB: u64 = 1 << 20;

/// Writes a file of f32 tensors of zeros, sparse, so that it takes no room: `x`, whose first and last row are alike and
/// not zero, and behind it `rest` of 1 MiB. Gives where `x` starts and where it ends.
fn sparse(path: &Path, rows: u64, dim: usize) -> (u64, u64) {
    let end = rows * dim as u64 * 4;
    let header = json!({
        "rest": {"dtype": "F32", "shape": [MIB / 4], "data_offsets": [end, end + MIB]},
        "x": {"dtype": "F32", "shape": [rows, dim], "data_offsets": [0, end]},
    });
    file::write_raw(path, &header.to_string(), &[]);
    let file = File::options().write(true).open(path).unwrap();
    let start = file.metadata().unwrap().len();
    file.set_len(start + end + MIB).unwrap();
    let row: Vec<f32> = (0..dim).map(|i| (i as f32 * 0.37).sin()).collect();
    for at in [0, rows - 1] {
        file.write_all_at(&bytes(&row), start + at * dim as u64 * 4).unwrap();
    }
    (start, start + end)
}

/// Until the child ends, the most memory that it has held, in bytes, as the system counts it.
fn peak_memory(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = kib.map_or(peak, |kib| kib.parse::<u64>().unwrap() * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// Others are copied a piece of 8 MiB at a time; the last piece of this one is shorter, and nothing is behind it.
#[test]
fn another_tensor_of_many_pieces_is_copied_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let len = 9 * MIB + 12;
    let header = json!({
        "x": {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16]},
        "rest": {"dtype": "F32", "shape": [len / 4], "data_offsets": [16, 16 + len]},
    });
    let rest: Vec<u8> = (0..len).map(|i| (i / 4096 + i) as u8).collect();
    file::write_raw(&path("m"), &header.to_string(), &[bytes(&[1.0_f32; 4]), rest.clone()].concat());
    let run = command(folder.path())
        .args(["rms", "--device", "cpu", "--input", "m:x", "--into", "y"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let written = fs::read(path("y")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&written).unwrap();
    assert!(tensors.tensor("rest").unwrap().data() == rest, "other bytes");
}

#[test]
fn memory_does_not_grow_with_the_file() {
    const BOUND: u64 = 160 * MIB;
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (64 * 1024, 1024);
    let (first, end) = sparse(&folder.path().join("m"), rows, dim);
    let mut child = command(folder.path())
        .args(["layer", "--device", "cpu", "--input", "m:x", "--into", "y"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let peak = peak_memory(&mut child);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "no bar but on a terminal");
    assert!(end > BOUND && peak > MIB, "{peak} bytes were seen");
    assert!(peak < BOUND, "{} MiB for a tensor of {} MiB", peak / MIB, end / MIB);

    // The first and the last row are in different chunks, and alike.
    let y = File::open(folder.path().join("y")).unwrap();
    let mut length = [0; 8];
    y.read_exact_at(&mut length, 0).unwrap();
    let start = 8 + u64::from_le_bytes(length);
    let row = |index: u64| {
        let mut row = vec![0; dim * 4];
        y.read_exact_at(&mut row, start + index * dim as u64 * 4).unwrap();
        row
    };
    assert!(row(0) == row(rows - 1) && row(0).iter().any(|&byte| byte != 0));
    assert_eq!(row(rows - 2), vec![0; dim * 4]);
    assert_eq!(y.metadata().unwrap().len(), start + (end - first) + MIB, "the rest is there, too");
}

/// What a run that is refused for a limit of the shell's says.
fn refused_under(limit: &str, folder: &Path, arguments: &str) -> String {
    let line = format!("{limit} && exec \"$0\" {arguments}");
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &line, env!("CARGO_BIN_EXE_norm")]).current_dir(folder).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

#[test]
fn a_tensor_that_no_memory_holds_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    // All heads of a position are held at once: here 1 GiB of them, sparse.
    sparse(&folder.path().join("m"), 256, 1 << 20);
    let message = refused_under("ulimit -v 1000000", folder.path(), "head --device cpu --input m:x --out y");
    assert!(message.contains("m:x needs 1073741824 bytes of memory at once"), "{message}");
    assert_eq!(names(folder.path()), ["m"]);
}

/// A run on the simulator, which is slow, begun and then stopped: its temporary file is there, and stays until
/// [`resume`].
fn begun(folder: &Path, wrap: &[&str], args: &[&str]) -> Child {
    let run = [env!("CARGO_BIN_EXE_norm"), "rms", "--device", "sim", "--input", "m:x"];
    let line = [wrap, &run, args].concat();
    let child = Command::new(line[0])
        .args(&line[1..])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let has_part = || names(folder).iter().any(|name| name.ends_with(".part"));
    while !has_part() {
        assert!(start.elapsed() < Duration::from_secs(60), "no temporary file is there");
        std::thread::sleep(Duration::from_millis(1));
    }
    send("-STOP", &child);
    assert!(has_part(), "the run came to its end too soon");
    child
}

fn resume(child: &Child) {
    send("-CONT", child);
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_ends_the_run_and_leaves_no_file() {
    for (name, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1), ("-QUIT", 3)] {
        let folder = tempfile::tempdir().unwrap();
        sparse(&folder.path().join("m"), 2048, 1024);
        // A job in the background of a shell that has no terminal starts with SIGINT and SIGQUIT ignored, and tests may
        // be one.
        let mut child = begun(folder.path(), &["env", "--default-signal"], &["--out", "y"]);
        send(name, &child);
        resume(&child);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(number), "whoever started it sees what ended it: {status}");
        assert_eq!(names(folder.path()), ["m"], "{name}");
    }
}

#[test]
fn a_signal_that_was_to_be_ignored_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    sparse(&folder.path().join("m"), 2048, 1024);
    let mut child = begun(folder.path(), &["env", "--ignore-signal=INT", "nohup"], &["--out", "y"]);
    send("-HUP", &child);
    send("-INT", &child);
    resume(&child);
    assert!(child.wait().unwrap().success(), "nohup has it go on, as whoever ignores SIGINT does");
    assert_eq!(names(folder.path()), ["m", "y"]);
}

#[test]
fn a_disk_without_room_is_an_error_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    sparse(&folder.path().join("m"), 1024, 1024);
    // The limit of a file's size stands for that of a disk.
    let message = refused_under("ulimit -f 64", folder.path(), "rms --device cpu --input m:x --out y");
    assert!(message.contains("cannot write y: there is no room for its 4194"), "{message}");
    assert_eq!(names(folder.path()), ["m"]);
}

/// A file that another program cuts short while it is read is an error, not a signal.
#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (_, end) = sparse(&folder.path().join("m"), 2048, 1024);
    let child = begun(folder.path(), &[], &["--into", "y"]);
    File::options().write(true).open(folder.path().join("m")).unwrap().set_len(end).unwrap();
    resume(&child);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(2), None), "{message}");
    assert!(message.contains("m has become shorter than the 9437"), "{message}");
    assert_eq!(names(folder.path()), ["m"]);
}

/// What other programs write while the result is computed is theirs.
#[test]
fn a_file_that_appears_or_is_replaced_meanwhile_is_left_as_it_is() {
    for (args, theirs, part) in [
        (&["--out", "y"][..], "y", "y appeared while the result was computed"),
        (&["--into", "y"], "y", "y appeared while the result was computed"),
        (&["--out", "old", "--force"], "old", "old was changed, replaced or removed while"),
        (&["--into", "m"], "m", "m was changed, replaced or removed while"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        sparse(&folder.path().join("m"), 2048, 1024);
        fs::write(folder.path().join("old"), "old").unwrap();
        let child = begun(folder.path(), &[], args);
        fs::write(folder.path().join("new"), "theirs").unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(theirs)).unwrap();
        resume(&child);
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(part), "{message}");
        assert_eq!(fs::read(folder.path().join(theirs)).unwrap(), b"theirs");
        assert!(!names(folder.path()).iter().any(|name| name.contains(".part")));
    }
}

#[test]
fn a_file_that_is_written_to_meanwhile_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (_, end) = sparse(&folder.path().join("m"), 2048, 1024);
    let child = begun(folder.path(), &[], &["--into", "m"]);
    let file = File::options().read(true).write(true).open(folder.path().join("m")).unwrap();
    file.write_all_at(b"theirs", end).unwrap();
    resume(&child);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("m was changed, replaced or removed while"), "{message}");
    let mut kept = [0; 6];
    file.read_exact_at(&mut kept, end).unwrap();
    assert_eq!((&kept, names(folder.path())), (b"theirs", vec!["m".to_owned()]));
}
