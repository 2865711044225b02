//! The examples do what they show.

use std::process::Command;

/// What an example printed. `cargo test` builds examples with the tests, beside their folder;
/// `cargo test --test examples` alone does not, and needs `cargo build --examples` in front of it.
fn printed(name: &str) -> String {
    let test = std::env::current_exe().expect("a test is a file");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("it is in target/<profile>/deps");
    let output = Command::new(folder.join("examples").join(name)).output().expect("the example is built");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

#[test]
fn a_kernel_written_by_hand_runs_and_is_counted() {
    let moved = "4000 bytes in 125 sectors, 125 of them distinct, 1.00 of the minimum, 3.9 sectors a request";
    assert_eq!(
        printed("01-vector-add"),
        format!(
            "c = a + b for 1000 elements: right\n608 instructions, 19 in the longest warp\n\
             1 divergent branch: the last warp is not full\na: {moved}\nb: {moved}\nc: {moved}\n"
        )
    );
}

#[test]
fn a_planted_race_is_found_and_mended() {
    assert_eq!(
        printed("02-planted-race"),
        "found: kernel reduction, line 35, block [0, 0, 0], thread [0, 0, 0]: reads shared address 0x40, \
         which block [0, 0, 0], thread [16, 0, 0] writes at line 38 with no barrier between\n\
         mended: the sum is 32640, after 72 barriers\n"
    );
}

#[test]
fn the_table_of_instructions_is_printed() {
    assert_eq!(printed("03-instructions"), ptx_sim::instruction_table());
}
