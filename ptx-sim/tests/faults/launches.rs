//! Launches that do not fit their kernel, and outputs that it leaves unwritten.

use std::collections::BTreeSet;

use ptx_sim::{Argument, Launch, LaunchError, Memory, Module};

use norm_testing::kernel::{kernel, variant, variants};

/// Why this launch of a kernel with these directives and this much shared memory does not run.
fn refused(directives: &str, static_shared: u32, launch: impl Fn(Launch) -> Launch) -> LaunchError {
    let text = format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n\
         .shared .align 16 .b8 fixed[{static_shared}];\n\
         .visible .entry k(.param .u64 a, .param .align 8 .b8 b[24]) {directives} {{\n\
         .reg .b32 %r<3>;\nmov.u32 %r1, dynamic;\nmov.u32 %r2, fixed;\nret;\n}}\n"
    );
    let kernel = Module::parse(text).unwrap().kernel("k").unwrap();
    launch(Launch::new(&kernel)).run(&mut Memory::new()).unwrap_err()
}

/// With arguments that fit.
fn fitting(launch: Launch) -> Launch {
    launch.arg(1u64).arg(Argument::bytes(&[0; 24], 8))
}

fn k() -> String {
    "k".to_owned()
}

fn arguments() -> Vec<[LaunchError; 2]> {
    let count = |given| LaunchError::ArgumentCount { kernel: k(), expected: 2, given };
    let (a, b) = ("a".to_owned(), "b".to_owned());
    vec![
        [refused("", 16, |launch| launch.arg(1u64)), count(1)],
        [refused("", 16, |launch| fitting(launch).arg(1u32)), count(3)],
        [
            refused("", 16, |launch| launch.arg(1u32).arg(Argument::bytes(&[0; 24], 8))),
            LaunchError::ArgumentSize { kernel: k(), index: 0, parameter: a, expected: 8, given: 4 },
        ],
        [
            refused("", 16, |launch| launch.arg(1u64).arg(Argument::bytes(&[0; 24], 4))),
            LaunchError::ArgumentAlignment { kernel: k(), index: 1, parameter: b, expected: 8, given: 4 },
        ],
    ]
}

fn shapes() -> Vec<[LaunchError; 2]> {
    let shape = |what, expected: &str, given| LaunchError::Shape {
        kernel: k(),
        what,
        expected: expected.to_owned(),
        given,
    };
    let grid = |extents| refused("", 16, |launch| fitting(launch).grid(extents));
    let block = |directives: &str, extents| refused(directives, 16, |launch| fitting(launch).block(extents));
    let cluster = |directives: &str, blocks, extents| {
        refused(directives, 16, |launch| fitting(launch).grid([blocks, 1, 1]).cluster(extents))
    };
    let grids = "1 to 2^31-1, 65535 and 65535 blocks";
    let blocks = "1 to 1024 threads, at most 64 along z";
    let clusters = "1 to 16 blocks, extents that divide the grid's";
    vec![
        [grid([0, 1, 1]), shape("grid", grids, [0, 1, 1])],
        [grid([1, 65536, 1]), shape("grid", grids, [1, 65536, 1])],
        [grid([1 << 31, 1, 1]), shape("grid", grids, [1 << 31, 1, 1])],
        [block("", [32, 33, 1]), shape("block", blocks, [32, 33, 1])],
        [block("", [1, 1, 65]), shape("block", blocks, [1, 1, 65])],
        [block(".maxntid 64", [65, 1, 1]), shape("block", "at most .maxntid [64, 1, 1]", [65, 1, 1])],
        [block(".reqntid 8, 8", [64, 1, 1]), shape("block", ".reqntid [8, 8, 1]", [64, 1, 1])],
        [cluster("", 5, [2, 1, 1]), shape("cluster", clusters, [2, 1, 1])],
        [cluster("", 32, [32, 1, 1]), shape("cluster", clusters, [32, 1, 1])],
        [
            cluster(".reqnctapercluster 4", 8, [2, 1, 1]),
            shape("cluster", ".reqnctapercluster [4, 1, 1]", [2, 1, 1]),
        ],
        [
            cluster(".maxclusterrank 4", 8, [8, 1, 1]),
            shape("cluster", "at most .maxclusterrank 4", [8, 1, 1]),
        ],
    ]
}

fn shared_memory() -> Vec<[LaunchError; 2]> {
    let most = 227 << 10;
    let over = LaunchError::SharedMemory { kernel: k(), max: most, given: most + 1 };
    vec![
        [refused("", 16, |launch| fitting(launch).dynamic_shared(most as u32 - 15)), over.clone()],
        [refused("", most as u32 + 1, fitting), over],
    ]
}

/// Words of `out` that threads of a block leave out: those from `from` on, but `to`.
fn unwritten() -> Vec<[LaunchError; 2]> {
    let store = kernel(
        ".param .u64 out",
        "mov.u32 %r1, %tid.x; ld.param.u64 %d1, [out]; mul.wide.u32 %d2, %r1, 4; add.s64 %d1, %d1, %d2;
        setp.ne.u32 %p1, %r1, 5; @%p1 st.global.b32 [%d1], %r1; ret;",
    );
    let run = |threads| {
        let mut memory = Memory::new();
        let out = memory.output("out", 128);
        let error = Launch::new(&store).block([threads, 1, 1]).arg(out).run(&mut memory).unwrap_err();
        (error, out)
    };
    let expected = |address, offset, count| LaunchError::Unwritten {
        kernel: k(),
        buffer: "out".to_owned(),
        address: address + offset,
        offset,
        count,
    };
    let ((one, out), (more, _)) = (run(32), run(16));
    vec![[one, expected(out, 20, 4)], [more, expected(out, 20, 68)]]
}

#[test]
fn each_refusal_says_what_was_expected_and_what_was_given() {
    for [found, expected] in [arguments(), shapes(), shared_memory(), unwritten()].into_iter().flatten() {
        assert_eq!(found, expected);
    }
}

#[test]
fn what_just_fits_runs() {
    let run = |directives: &str, launch: fn(Launch) -> Launch| {
        let text = norm_testing::kernel::text("", "ret;").replace("k()", &format!("k() {directives}"));
        let kernel = Module::parse(text).unwrap().kernel("k").unwrap();
        launch(Launch::new(&kernel)).run(&mut Memory::new()).unwrap();
    };
    run("", |launch| launch.block([16, 1, 64]).grid([1, 2, 3]));
    run(".maxntid 8, 8", |launch| launch.block([64, 1, 1]));
    run(".reqntid 8, 8", |launch| launch.block([8, 8, 1]));
    run("", |launch| launch.grid([32, 1, 1]).cluster([16, 1, 1]));
    run(".maxclusterrank 8", |launch| launch.grid([8, 1, 1]).cluster([8, 1, 1]));
    run("", |launch| launch.dynamic_shared((227 << 10) - 1024));
}

#[test]
fn none_is_left_out() {
    let errors = [arguments(), shapes(), shared_memory(), unwritten()].into_iter().flatten();
    let mut found: BTreeSet<String> = errors.map(|[found, _]| variant(&format!("{found:?}"))).collect();
    // Which has a list of its own.
    found.insert("Fault".to_owned());
    assert_eq!(found, variants(include_str!("../../src/error.rs"), "LaunchError"));
}
