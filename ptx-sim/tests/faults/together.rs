//! Launches of several devices beside each other: what orders their accesses, and what does not.

use std::sync::Arc;

use ptx_sim::{FaultKind, Kernel, Launch, LaunchError, Memory, Module, Together, TogetherError};

/// Three kernels: one stores at `p` and raises the flag at `p + 4`; one passes the flag on to `p + 8`, and one waits for a flag at
/// `p + offset` and stores what is at `p` to `p + 12`. Each word of it stands for an instruction's semantics.
fn text(release: &str, acquire: &str) -> String {
    format!(
        ".version 8.0 .target sm_80 .address_size 64
.visible .entry send(.param .u64 p) {{
    .reg .b64 %d<2>;
    ld.param.u64 %d1, [p];
    st.global.u32 [%d1], 7;
    st.{release}.global.u32 [%d1+4], 1;
    ret;
}}
.visible .entry pass(.param .u64 p) {{
    .reg .b32 %r<2>; .reg .b64 %d<2>; .reg .pred %p;
    ld.param.u64 %d1, [p];
again:
    ld.{acquire}.global.u32 %r1, [%d1+4];
    setp.eq.u32 %p, %r1, 0;
    @%p bra again;
    st.{release}.global.u32 [%d1+8], 1;
    ret;
}}
.visible .entry receive(.param .u64 p, .param .u64 flag) {{
    .reg .b32 %r<3>; .reg .b64 %d<3>; .reg .pred %p;
    ld.param.u64 %d1, [p];
    ld.param.u64 %d2, [flag];
again:
    ld.{acquire}.global.u32 %r1, [%d2];
    setp.eq.u32 %p, %r1, 0;
    @%p bra again;
    ld.global.u32 %r2, [%d1];
    st.global.u32 [%d1+12], %r2;
    ret;
}}
.visible .entry overwrite(.param .u64 p) {{
    .reg .b64 %d<2>;
    ld.param.u64 %d1, [p];
    st.global.u32 [%d1], 9;
    ret;
}}"
    )
}

fn kernel(text: &str, name: &str) -> Arc<Kernel> {
    Module::parse(text).and_then(|module| module.kernel(name)).expect("it is PTX")
}

/// Runs streams of kernels, by their names, in an order of turns; what was received.
fn run(text: &str, streams: &[&[&str]], seed: u64) -> Result<u8, TogetherError> {
    let mut memory = Memory::new();
    let data = memory.upload("data", &[0; 16]);
    let launch = |name: &&str| {
        let launch = Launch::new(&kernel(text, name.trim_end_matches('2'))).arg(data).limit(1 << 20);
        match *name {
            "receive" => launch.arg(data + 4),
            "receive2" => launch.arg(data + 8),
            "both" => launch.grid([2, 1, 1]),
            _ => launch,
        }
    };
    let streams: Vec<Vec<Launch>> = streams.iter().map(|names| names.iter().map(launch).collect()).collect();
    Together::new(seed).run(&streams, &mut memory)?;
    Ok(memory.read(data + 12, 1).expect("it is there")[0])
}

fn races(result: &Result<u8, TogetherError>) -> bool {
    matches!(result, Err(TogetherError { error: LaunchError::Fault(fault), .. })
        if matches!(fault.kind, FaultKind::Race { .. }))
}

#[test]
fn a_release_and_an_acquire_of_the_system_order_what_is_around_them() {
    for seed in 0..8 {
        let both = text("release.sys", "acquire.sys");
        assert_eq!(run(&both, &[&["send"], &["receive"]], seed), Ok(7));
        for (release, acquire) in [
            ("relaxed.sys", "acquire.sys"),
            ("release.sys", "relaxed.sys"),
            ("release.gpu", "acquire.sys"),
            ("release.sys", "acquire.gpu"),
            ("volatile", "volatile"),
        ] {
            let result = run(&text(release, acquire), &[&["send"], &["receive"]], seed);
            assert!(races(&result), "{release}, {acquire}, {seed}: {result:?}");
        }
    }
}

#[test]
fn a_device_passes_on_what_it_has_been_told() {
    for seed in 0..8 {
        let both = text("release.sys", "acquire.sys");
        assert_eq!(run(&both, &[&["send"], &["pass"], &["receive2"]], seed), Ok(7));
    }
}

/// Relaxed stores and loads order what is in other launches: those in front of the one that stores, and those behind the one that
/// loads.
#[test]
fn launches_begin_and_end_with_a_fence() {
    for seed in 0..8 {
        // The number in one launch, the flag in the next; the flag in one launch, the number in the next.
        let streams: [&[&str]; 2] = [&["store", "raise"], &["wait", "take"]];
        let split = |flag: &str, of: &str| {
            format!(
                ".version 8.0 .target sm_80 .address_size 64
.visible .entry store(.param .u64 p) {{
    .reg .b64 %d<2>; ld.param.u64 %d1, [p]; st.global.u32 [%d1], 7; ret;
}}
.visible .entry raise(.param .u64 p) {{
    .reg .b64 %d<2>; ld.param.u64 %d1, [p]; st.{flag}.global.u32 [%d1+4], 1; ret;
}}
.visible .entry wait(.param .u64 p) {{
    .reg .b32 %r<2>; .reg .b64 %d<2>; .reg .pred %p;
    ld.param.u64 %d1, [p];
again:
    ld.{of}.global.u32 %r1, [%d1+4];
    setp.eq.u32 %p, %r1, 0;
    @%p bra again;
    ret;
}}
.visible .entry take(.param .u64 p) {{
    .reg .b32 %r<2>; .reg .b64 %d<2>;
    ld.param.u64 %d1, [p]; ld.global.u32 %r1, [%d1]; st.global.u32 [%d1+12], %r1; ret;
}}"
            )
        };
        assert_eq!(run(&split("relaxed.sys", "relaxed.sys"), &streams, seed), Ok(7));
        assert_eq!(run(&split("relaxed.sys", "acquire.sys"), &streams, seed), Ok(7));
        for [flag, of] in
            [["relaxed.gpu", "relaxed.sys"], ["relaxed.sys", "relaxed.gpu"], ["weak", "relaxed.sys"]]
        {
            let result = run(&split(flag, of), &streams, seed);
            assert!(races(&result), "{flag}, {of}, {seed}: {result:?}");
        }
    }
}

/// A word that one device stores and another loads at any time. Each has to name a scope that the other is in: that of one
/// device is enough for two blocks of a launch alone.
#[test]
fn a_relaxed_access_reaches_as_far_as_its_scope() {
    let text = |store: &str, load: &str| {
        format!(
            ".version 8.0 .target sm_80 .address_size 64
.visible .entry tell(.param .u64 p) {{
    .reg .b64 %d<2>; ld.param.u64 %d1, [p]; st.{store}.global.u32 [%d1+12], 7; ret;
}}
.visible .entry ask(.param .u64 p) {{
    .reg .b32 %r<2>; .reg .b64 %d<2>; ld.param.u64 %d1, [p]; ld.{load}.global.u32 %r1, [%d1+12]; ret;
}}
.visible .entry both(.param .u64 p) {{
    .reg .b32 %r<2>; .reg .b64 %d<2>; .reg .pred %p;
    ld.param.u64 %d1, [p]; mov.u32 %r1, %ctaid.x; setp.eq.u32 %p, %r1, 0;
    @%p st.{store}.global.u32 [%d1+12], 7; @!%p ld.{load}.global.u32 %r1, [%d1+12]; ret;
}}"
        )
    };
    for seed in 0..8 {
        for (store, load, of_devices, of_blocks) in [
            ("relaxed.sys", "relaxed.sys", true, true),
            ("volatile", "relaxed.sys", true, true),
            ("relaxed.gpu", "relaxed.sys", false, true),
            ("relaxed.sys", "relaxed.gpu", false, true),
            ("relaxed.gpu", "relaxed.gpu", false, true),
            ("relaxed.gpu", "weak", false, false),
            ("weak", "relaxed.gpu", false, false),
        ] {
            let text = text(store, load);
            for (streams, passes) in [(&[&["tell"][..], &["ask"]][..], of_devices), (&[&["both"]], of_blocks)]
            {
                let result = run(&text, streams, seed);
                assert!(if passes { result == Ok(7) } else { races(&result) }, "{store}, {load}: {result:?}");
            }
        }
    }
}

/// A launch is behind those in front of it in its stream, and beside those of other streams, even when they have ended.
#[test]
fn launches_are_in_order_within_a_stream_alone() {
    let both = text("release.sys", "acquire.sys");
    for seed in 0..8 {
        assert_eq!(run(&both, &[&["send", "receive"]], seed), Ok(7));
        let result = run(&both, &[&["send", "overwrite"], &["receive"]], seed);
        assert!(races(&result), "{seed}: {result:?}");
    }
}

/// A vector of two words, stored at once, of which the second is taken to say that the first is there.
#[test]
fn a_vector_is_not_seen_at_once() {
    let text = |wait_for_both: bool| {
        let wait = if wait_for_both { "and.b32 %r3, %r1, %r2;" } else { "mov.b32 %r3, %r2;" };
        format!(
            ".version 8.0 .target sm_80 .address_size 64
.visible .entry send(.param .u64 p) {{
    .reg .b32 %r<2>; .reg .b64 %d<2>;
    ld.param.u64 %d1, [p]; mov.b32 %r1, 7; st.relaxed.sys.global.v2.u32 [%d1], {{%r1, %r1}}; ret;
}}
.visible .entry receive(.param .u64 p, .param .u64 flag) {{
    .reg .b32 %r<4>; .reg .b64 %d<2>; .reg .pred %p;
    ld.param.u64 %d1, [p];
again:
    ld.relaxed.sys.global.v2.u32 {{%r1, %r2}}, [%d1];
    {wait}
    setp.eq.u32 %p, %r3, 0;
    @%p bra again;
    st.global.u32 [%d1+12], %r1;
    ret;
}}"
        )
    };
    let run = |wait_for_both, seed| run(&text(wait_for_both), &[&["send", "send"], &["receive"]], seed);
    assert!((0..64).all(|seed| run(true, seed) == Ok(7)));
    assert!((0..64).any(|seed| run(false, seed) == Ok(0)), "every time the whole vector has been seen");
}

#[test]
fn a_fault_names_its_stream_and_launch() {
    let result = run(&text("release.sys", "acquire.sys"), &[&["send"], &["receive", "receive2"]], 3);
    let error = result.expect_err("nobody raises the second flag");
    assert_eq!((error.stream, error.launch), (1, 1));
    assert!(error.to_string().starts_with("launch 1 of stream 1: kernel receive"), "{error}");
}

#[test]
fn clusters_do_not_run_beside_others() {
    let mut memory = Memory::new();
    let data = memory.upload("data", &[0; 16]);
    let send = kernel(&text("release.sys", "acquire.sys"), "send");
    let launch = Launch::new(&send).arg(data).grid([2, 1, 1]).cluster([2, 1, 1]);
    let error = Together::new(1).run(&[vec![launch]], &mut memory).expect_err("refused").error;
    assert!(matches!(error, LaunchError::Shape { what: "cluster", .. }), "{error}");
    let launch = Launch::new(&send).arg(data).grid([600, 1, 1]);
    let error = Together::new(1).run(&[vec![launch.clone()], vec![launch]], &mut memory);
    assert!(
        matches!(error, Err(TogetherError { error: LaunchError::Shape { what: "grid", .. }, .. })),
        "{error:?}"
    );
}
