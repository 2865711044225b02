//! Launches that may begin before those in front of them have ended.

use ptx_sim::{Fault, FaultKind, Launch, LaunchError, Memory, Module, Party, Stream};

use crate::plant::byte;
use norm_testing::kernel::{marked, text};

/// `out[thread] = in[thread]`, with something in front of the load, in front of the store, and behind it.
fn copy([first, second, third]: [&str; 3]) -> String {
    let body = format!(
        "ld.param.u64 %d1, [from]; ld.param.u64 %d2, [to]; mov.u32 %r1, %tid.x; mul.wide.u32 %d3, %r1, 4;
        add.s64 %d1, %d1, %d3; add.s64 %d2, %d2, %d3; setp.eq.u32 %p1, %r1, 0;
        {first}
        ld.global.b32 %r2, [%d1]; // load
        {second}
        st.global.b32 [%d2], %r2; // store
        {third} ret;"
    );
    text(".param .u64 from, .param .u64 to", &body)
}

const WAIT: &str = "griddepcontrol.wait;";
const LET_NEXT: &str = "griddepcontrol.launch_dependents;";
const BOTH: &str = "griddepcontrol.launch_dependents; griddepcontrol.wait;";
const WAIT_THEN_LET: &str = "griddepcontrol.wait; griddepcontrol.launch_dependents;";

/// Buffers that launches copy from and to.
const BUFFERS: [&str; 4] = ["a", "b", "c", "d"];

/// Runs programmatic launches one after the other: each a kernel, and which buffers it copies from and to.
fn run(launches: &[([&str; 3], [usize; 2])]) -> Result<(), Box<Fault>> {
    run_as(launches, true)
}

/// The same with a last launch that is programmatic or not.
fn run_as(launches: &[([&str; 3], [usize; 2])], last_is_programmatic: bool) -> Result<(), Box<Fault>> {
    let mut memory = Memory::new();
    let buffers = BUFFERS.map(|name| memory.upload(name, &[0; 256]));
    let mut stream = Stream::new();
    for (index, (pieces, [from, to])) in launches.iter().enumerate() {
        let kernel = Module::parse(copy(*pieces)).unwrap().kernel("k").unwrap();
        let programmatic = index + 1 < launches.len() || last_is_programmatic;
        let launch = Launch::new(&kernel).block([64, 1, 1]).programmatic(programmatic);
        match stream.run(&launch.arg(buffers[*from]).arg(buffers[*to]), &mut memory) {
            Ok(_) => {}
            Err(LaunchError::Fault(fault)) => return Err(fault),
            Err(other) => panic!("{other}"),
        }
    }
    Ok(())
}

/// The fault of a launch of these pieces: the line with a mark, and the mark of the line in the launch in front.
fn at(
    pieces: [&str; 3],
    mark: &str,
    in_front: [&str; 3],
    other: &str,
    name: &str,
    waited: bool,
) -> Box<Fault> {
    let writes = mark == "// store";
    let address = |memory: &mut Memory| {
        BUFFERS.map(|name| memory.upload(name, &[0; 256]))[BUFFERS.iter().position(|&n| n == name).unwrap()]
    };
    let other = Party {
        line: marked(&copy(in_front), other),
        block: [0; 3],
        thread: None,
        writes: other == "// store",
    };
    Box::new(Fault {
        kernel: "k".to_owned(),
        line: marked(&copy(pieces), mark),
        block: [0; 3],
        thread: [0; 3],
        kind: FaultKind::DependentLaunch {
            address: address(&mut Memory::new()),
            element: byte(name, 0),
            writes,
            waited,
            kernel: "k".to_owned(),
            other,
        },
    })
}

#[test]
fn what_is_in_front_may_still_write_until_it_is_waited_for() {
    let first = [BOTH, "", ""];
    let in_order = |second| run(&[(first, [0, 1]), (second, [1, 2])]);
    assert_eq!(in_order([BOTH, "", ""]), Ok(()));
    for second in [[LET_NEXT, "", ""], [LET_NEXT, WAIT, ""], [LET_NEXT, "", WAIT]] {
        assert_eq!(in_order(second), Err(at(second, "// load", first, "// store", "b", false)), "{second:?}");
    }
    // Nothing that PTX says makes visible what was written in front of `launch_dependents`, or by a launch that has none.
    for first in [[WAIT, "", LET_NEXT], [WAIT, "", ""]] {
        let second = [LET_NEXT, WAIT, ""];
        let found = run(&[(first, [0, 1]), (second, [1, 2])]);
        assert_eq!(found, Err(at(second, "// load", first, "// store", "b", false)), "{first:?}");
    }
    // What it reads, others may read.
    assert_eq!(run(&[(first, [0, 1]), ([LET_NEXT, WAIT, ""], [0, 1])]), Ok(()));
}

#[test]
fn what_is_in_front_may_still_read_once_it_lets_the_next_begin() {
    let second = [LET_NEXT, "", WAIT];
    for first in [[BOTH, "", ""], [WAIT, LET_NEXT, ""]] {
        let found = run(&[(first, [0, 1]), (second, [2, 0])]);
        assert_eq!(found, Err(at(second, "// store", first, "// load", "a", false)), "{first:?}");
        assert_eq!(run(&[(first, [0, 1]), ([LET_NEXT, WAIT, ""], [2, 0])]), Ok(()), "{first:?}");
    }
    // Blocks that do not say so have ended, with their loads.
    assert_eq!(run(&[([WAIT, "", ""], [0, 1]), (second, [2, 0])]), Ok(()));
}

#[test]
fn a_barrier_tells_of_another_threads_wait() {
    let first = [BOTH, "", ""];
    let in_order = |second| run(&[(first, [0, 1]), (second, [1, 2])]);
    assert_eq!(in_order(["@%p1 griddepcontrol.wait; bar.sync 0;", "", ""]), Ok(()));
    let one = in_order(["@%p1 griddepcontrol.wait;", "", ""]).unwrap_err();
    assert_eq!(one.thread, [1, 0, 0], "{one}");
    let early = in_order(["bar.sync 0; @%p1 griddepcontrol.wait;", "", ""]).unwrap_err();
    assert_eq!(early.thread, [1, 0, 0], "{early}");
    let warp = in_order(["@%p1 griddepcontrol.wait; bar.warp.sync -1;", "", ""]).unwrap_err();
    assert_eq!(warp.thread, [32, 0, 0], "{warp}");
}

#[test]
fn launches_further_in_front_run_too() {
    let (first, third) = ([BOTH, "", ""], [LET_NEXT, WAIT, ""]);
    let with = |second, third| run(&[(first, [0, 1]), (second, [3, 2]), (third, [1, 0])]);
    // The second begins, and lets the third begin, while the first still writes.
    assert_eq!(with([BOTH, "", ""], third), Err(at(third, "// load", first, "// store", "b", false)));
    assert_eq!(with([BOTH, "", ""], [BOTH, "", ""]), Ok(()));
    // It lets it begin when the first has ended.
    assert_eq!(with([WAIT_THEN_LET, "", ""], third), Ok(()));
    assert_eq!(with([WAIT, "", ""], third), Ok(()));
    // It never waits, so that it may end before the first, and the third waits for it alone.
    let waits = [BOTH, "", ""];
    assert_eq!(with([LET_NEXT, "", ""], waits), Err(at(waits, "// load", first, "// store", "b", true)));
}

#[test]
fn a_launch_that_is_not_programmatic_waits_for_all() {
    let launches = [([BOTH, "", ""], [0, 1]), ([LET_NEXT, "", ""], [2, 3]), (["", "", ""], [1, 0])];
    assert_eq!(run_as(&launches, false), Ok(()));
    assert!(run_as(&launches, true).is_err());
}

#[test]
fn what_is_in_front_need_not_be_simulated() {
    let behind = |pieces: [&str; 3]| {
        let mut memory = Memory::new();
        let [from, to] = ["from", "to"].map(|name| memory.upload(name, &[0; 256]));
        memory.set_elements(from, from, 4).unwrap();
        let kernel = Module::parse(copy(pieces)).unwrap().kernel("k").unwrap();
        let launch = Launch::new(&kernel).block([64, 1, 1]).programmatic(true).arg(from).arg(to);
        let stream = Stream::behind("producer", &[from + 8..from + 12, from + 12..from + 16]);
        stream.run_last(&launch, &mut memory).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(behind([WAIT, "", ""]), Ok(()));
    let line = marked(&copy(["", WAIT, ""]), "// load");
    let error = behind(["", WAIT, ""]).unwrap_err();
    let expected = format!(
        "kernel k, line {line}, block [0, 0, 0], thread [2, 0, 0]: reads global address 0x100008 (element 2 of from) \
         before griddepcontrol.wait, while producer in front of it in the stream may still write it"
    );
    assert_eq!(error, expected);
}
