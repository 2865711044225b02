//! No text makes the crate panic: it is an error, or a kernel, and the kernel runs or is at fault.

use proptest::prelude::*;
use ptx_sim::{Argument, Launch, LoadError, Memory, Module};

const TEXTS: [&str; 2] =
    [include_str!("../examples/ptx/vector_add.ptx"), include_str!("../examples/ptx/reduction.ptx")];

/// Pieces that break things.
const PIECES: [&str; 24] = [
    "{",
    "}",
    ";",
    ",",
    "[",
    "]",
    "@",
    "!",
    "%r1",
    "%p1",
    "%rd1",
    "-1",
    "0",
    "4294967296",
    "0x",
    ".v4",
    "bar.sync 0;",
    "$round",
    "// ",
    "/* ",
    "\"",
    ".reg .b32 %z<1048577>;",
    "18446744073709551615",
    "é",
];

fn survive(text: String) {
    let Ok(module) = Module::parse(text) else { return };
    let names: Vec<String> = module.kernels().map(str::to_owned).collect();
    for name in names {
        let Ok(kernel) = module.kernel(&name) else { continue };
        let mut memory = Memory::new();
        let data = memory.upload("data", &[0; 4096]);
        let arguments = kernel.parameters().iter().map(|parameter| {
            let mut bytes = data.to_le_bytes().to_vec();
            bytes.resize(parameter.size.min(1 << 16) as usize, 0);
            Argument::bytes(&bytes, 16)
        });
        let launch = Launch::new(&kernel).block([40, 1, 1]).limit(2000);
        let _ = arguments.fold(launch, Launch::arg).run(&mut memory);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn broken_kernels(
        which in 0..TEXTS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12usize, prop::sample::select(&PIECES[..])), 1..4),
    ) {
        let mut words: Vec<&str> = TEXTS[which].split_inclusive([' ', '\t', '\n', ',', '.', ';']).collect();
        for (place, cut, piece) in edits {
            let at = place.index(words.len());
            let end = (at + cut / 4).min(words.len());
            words.splice(at..end, (cut % 2 == 0).then_some(piece));
        }
        survive(words.concat());
    }

    #[test]
    fn no_kernel_at_all(text in "[ -~\\n]{0,200}") {
        survive(text.clone());
        survive(format!(".version 8.0 .target sm_90 .address_size 64 .visible .entry k() {{ {text} }}"));
    }
}

/// Variables of more memory than there can be are refused before any of it is asked for; one less is not.
#[test]
fn variables_that_no_memory_holds() {
    let load = |outer: &str, inner: &str| {
        let text = format!(
            ".version 8.0\n.target sm_90\n.address_size 64\n{outer}\n.visible .entry k()\n{{\n{inner}\n\
             .reg .b64 %d<2>;\nmov.u64 %d1, v;\nret;\n}}\n"
        );
        Module::parse(text).unwrap().kernel("k")
    };
    let spaces = [
        ("local", 512 << 10, false, 99_999_999_999_u64),
        ("const", 64 << 10, true, 70_000),
        ("shared", 1 << 32, true, 99_999_999_999),
        ("global", 256 << 20, true, 400_000_000_000),
    ];
    for (space, most, outside, huge) in spaces {
        let declared = |bytes: u64| format!(".{space} .b8 v[{bytes}];");
        let load = |bytes| if outside { load(&declared(bytes), "") } else { load("", &declared(bytes)) };
        for bytes in [most + 1, huge] {
            match load(bytes).unwrap_err() {
                LoadError::Size { line, name, max, given, .. } => {
                    assert_eq!((line, name.as_str()), (if outside { 4 } else { 7 }, "v"));
                    assert_eq!((max, given), (most, bytes));
                }
                other => panic!("{space}: {other}"),
            }
        }
        load(most).unwrap();
    }
    // Together, too.
    let half = ".local .b8 w[300000];\n.local .b8 v[300000];";
    assert!(matches!(load("", half), Err(LoadError::Size { line: 8, given: 600_000, .. })));
}
