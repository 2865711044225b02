//! What no kernel is made of: an error that names it, and its line.

use std::collections::BTreeSet;

use norm_testing::kernel::{text, variant, variants};
use ptx_sim::{LoadError, Module};

/// Why a kernel `k` with this in its body is not loaded. The body's first line is the text's 11th.
fn body(body: &str) -> LoadError {
    Module::parse(text(".param .u64 data", body)).unwrap().kernel("k").unwrap_err()
}

/// Why a module with this in it is not loaded, or its kernel `k`.
fn module(text: &str) -> LoadError {
    Module::parse(text).and_then(|module| module.kernel("k")).unwrap_err()
}

fn all() -> Vec<(LoadError, &'static str)> {
    vec![
        (
            body("ret;\natom.global.add.u32 %r1, [%d1], 1;"),
            "line 12: instruction atom.global.add.u32 is not supported: no form of it is known",
        ),
        (
            body("wgmma.fence.sync.aligned;"),
            "line 11: instruction wgmma.fence.sync.aligned is not supported: no form of it is known",
        ),
        (
            body("frobnicate.b32 %r1, %r2;"),
            "line 11: instruction frobnicate.b32 is not supported: no form of it is known",
        ),
        (
            body("add.rn.s32 %r1, %r2, %r3;"),
            "line 11: instruction add.rn.s32 is not supported: modifier .rn is unknown there",
        ),
        (
            body("add.b32 %r1, %r2, %r3;"),
            "line 11: instruction add.b32 is not supported: type .b32 is unknown there",
        ),
        (
            body("ld.global.v3.b32 {%r1, %r2, %r3}, [%d1];"),
            "line 11: instruction ld.global.v3.b32 is not supported: modifier .v3 is unknown there",
        ),
        (body("call foo;"), "line 11: instruction call is not supported: no form of it is known"),
        (body("add.u32 %r1, %r2;"), "line 11: instruction add.u32: expected 3 operands, found 2"),
        (
            body("add.u32 %r1, %d1, 1;"),
            "line 11: instruction add.u32: expected a 32-bit register or a literal of type .u32, found a 64-bit register",
        ),
        (
            body("add.u32 %r1, %r2, 0f3F800000;"),
            "line 11: instruction add.u32: expected a 32-bit register or a literal of type .u32, found 0f3F800000",
        ),
        (body("\n\nadd.u32 %r1, %r99, 1;"), "line 13: register %r99 is not declared"),
        (body("@%p9 ret;"), "line 11: register %p9 is not declared"),
        (body("bra NOWHERE;"), "line 11: NOWHERE is not declared"),
        (body("mov.u32 %r1, nothing;"), "line 11: nothing is not declared"),
        (body("add.u32 %r1, %r2, 1\nret;"), "line 12: expected ',' or ';', found 'ret'"),
        (body("A: ret;\nA: ret;"), "line 12: A is declared a second time"),
        (body(".callprototype ();"), "line 11: directive .callprototype is not supported"),
        (
            body(".local .b8 frame[600000];"),
            "line 11: frame: expected at most 524288 bytes of local memory a kernel, given 600000",
        ),
        (
            module(".version 8.0\n.target sm_90\n.address_size 32\n"),
            "line 3: directive .address_size 32 is not supported",
        ),
        (module(".version 8.0\n.func f() { ret; }"), "line 2: directive .func is not supported"),
        (module(".entry k() { ret; }\n.entry k() { ret; }"), "line 2: k is declared a second time"),
        (module(".entry j() { ret; }"), "no kernel is called k"),
        (module(".entry k() {\nret;"), "line 1: expected a closing '}', found the end of the text"),
    ]
}

#[test]
fn each_error_names_what_it_is_and_its_line() {
    for (error, message) in all() {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn none_is_left_out() {
    let found: BTreeSet<String> = all().iter().map(|(error, _)| variant(&format!("{error:?}"))).collect();
    assert_eq!(found, variants(include_str!("../src/error.rs"), "LoadError"));
}

#[test]
fn what_is_wrong_with_one_kernel_is_nothing_to_the_others() {
    let text = text("", "ret;") + ".visible .entry other()\n{\nfrobnicate;\n}\n";
    let module = Module::parse(text).unwrap();
    assert_eq!(module.kernels().collect::<Vec<_>>(), ["k", "other"]);
    assert_eq!(module.kernel("k").unwrap().name(), "k");
    let error = module.kernel("other").unwrap_err();
    assert_eq!(error.to_string(), "line 15: instruction frobnicate is not supported: no form of it is known");
}
