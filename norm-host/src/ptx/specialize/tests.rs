//! What a text becomes, and each way in which one can be malformed.

use norm_kernels::abi::{Rounding, Template};
use norm_testing::template;
use proptest::prelude::*;

use super::*;

fn named(name: &str) -> EntryPoint {
    EntryPoint::named(name).unwrap()
}

/// An entry of that template with this line in its body.
fn text(template: &str, line: &str) -> String {
    format!(".visible .entry {template}(\n\t.param .u64 {template}_param_0\n)\n{{\n\t{line}\n\tret;\n}}")
}

/// What a line becomes for the kernel of that name.
fn expanded(kernel: &str, capability: (u32, u32), line: &str) -> Result<String, TemplateError> {
    expanded_for(named(kernel), capability, line)
}

/// What a line becomes for that kernel.
fn expanded_for(entry: EntryPoint, capability: (u32, u32), line: &str) -> Result<String, TemplateError> {
    let kernel = specialize(&text(&entry.template().to_string(), line), entry, capability)?;
    let body = kernel.split_once("\n{\n").and_then(|(_, body)| body.strip_suffix("\tret;\n}")).unwrap();
    Ok(body.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_kernel_has_its_own_name_and_launch_bounds() {
    let kernel = |name: &str| {
        let entry = named(name);
        let template = entry.template().to_string();
        specialize(&text(&template, &format!("ld.param.u64 %rd1, [{template}_param_0+8];")), entry, (8, 0))
            .unwrap()
    };
    assert_eq!(
        kernel("layer_bf16_bf16_f32_add4"),
        ".visible .entry layer_bf16_bf16_f32_add4(\n\t.param .u64 layer_bf16_bf16_f32_add4_param_0\n)\n\
         .maxntid 512\n{\n\tld.param.u64 %rd1, [layer_bf16_bf16_f32_add4_param_0+8];\n\tret;\n}"
    );
    let bounds = |name: &str| {
        let kernel = kernel(name);
        let (_, behind) = kernel.split_once("\n)\n").unwrap();
        behind.split_once("\n{\n").unwrap().0.to_owned()
    };
    assert_eq!(bounds("rms_f16_f32_f16_staged"), ".maxntid 1024\n.maxnreg 48");
    assert_eq!(bounds("rms_f16_f16_f32_warp2"), ".maxntid 512");
    assert_eq!(bounds("rms_partial_f16_vector"), ".maxntid 1024\n.maxnreg 40");
}

#[test]
fn a_template_of_ones_own_is_specialized_under_any_name() {
    let own = Instance {
        template: "rms_relu".to_owned(),
        kernel: "rms_relu_bf16".to_owned(),
        x: Some(DType::BF16),
        w: None,
        y: Some(DType::F32),
        addition: Addition::PLAIN,
        gating: None,
        epilogue: EpilogueRounding::SINGLE,
        rope: None,
        rms_only: false,
        short: false,
        quantized: None,
        max_threads: 64,
        max_registers: Some(32),
        few_doubles: false,
    };
    let text = text("rms_relu", "norm.clamp.x %r1, %r2;");
    let kernel = own.specialize(&text, (9, 0)).unwrap();
    assert!(kernel.contains(".entry rms_relu_bf16("), "{kernel}");
    assert!(kernel.contains("\n.maxntid 64\n.maxnreg 32\n{\n\tmov.b32 %r1, %r2;\n"), "{kernel}");
    assert_eq!(
        own.specialize(&text.replace("clamp.x", "ones.w"), (9, 0)).unwrap_err().malformed,
        Malformed::Role
    );
}

#[test]
fn an_expansion_goes_by_the_type_of_its_role_and_the_target() {
    let f16 = |line| expanded("rms_f16_bf16_f16_block4", (8, 0), line).unwrap();
    let bf16 = |line| expanded("rms_bf16_f16_bf16_block4", (9, 0), line).unwrap();
    let f32 = |line| expanded("rms_f16_f16_f32_block4", (9, 0), line).unwrap();
    let halves = "{ .reg .b16 %norm_l, %norm_h; mov.b32 {%norm_l, %norm_h}, %r3; cvt.f32.f16 %r1, %norm_l; \
                  cvt.f32.f16 %r2, %norm_h; }";
    let shifts = "shl.b32 %r1, %r3, 16; and.b32 %r2, %r3, 0xffff0000;";
    assert_eq!(f16("norm.unpack.x {%r1, %r2}, %r3;"), halves);
    assert_eq!(f16("norm.unpack.w {%r1, %r2}, %r3;"), shifts);
    assert_eq!(bf16("norm.unpack.x {%r1, %r2}, %r3;"), shifts);
    assert_eq!(bf16("norm.unpack.w {%r1, %r2}, %r3;"), halves);
    assert_eq!(f16("norm.pack.x %r1, {%r2, %r3};"), "cvt.rn.f16x2.f32 %r1, %r3, %r2;");
    assert_eq!(f16("norm.pack.w %r1, {%r2, %r3};"), "cvt.rn.bf16x2.f32 %r1, %r3, %r2;");
    assert_eq!(
        f16("norm.clamp.x %r1, %r2;"),
        "{ .reg .b32 %norm_w; mov.b32 %norm_w, 0x7bff7bff; min.NaN.f16x2 %r1, %r2, %norm_w; \
         mov.b32 %norm_w, 0xfbfffbff; max.NaN.f16x2 %r1, %r1, %norm_w; }"
    );
    assert_eq!(
        f32("norm.clamp.x %r1, %r2;"),
        "{ .reg .b32 %norm_w; mov.b32 %norm_w, 0x7bff7bff; min.NaN.xorsign.abs.f16x2 %r1, %r2, %norm_w; }"
    );
    assert_eq!(bf16("norm.clamp.x %r1, %r2;"), "mov.b32 %r1, %r2;");
    assert_eq!(f16("norm.st_clamped.x.v2 [%r1], {%r2, %r3};"), "st.shared.v2.b32 [%r1], {%r2, %r3};");
    assert_eq!(bf16("norm.st_clamped.x.v2 [%r1], {%r2, %r3};"), "");
    assert_eq!(f16("norm.ones.w %r1;"), "mov.b32 %r1, 0x3f803f80;");
    assert_eq!(f16("norm.overflows.x %r1, %r2;"), "mov.b32 %r1, 0;");
    assert_eq!(f16("norm.unpack.y {%r1, %r2}, %r3;"), halves);
    assert_eq!(bf16("norm.pack.y %r1, {%r2, %r3};"), "cvt.rn.bf16x2.f32 %r1, %r3, %r2;");
}

#[test]
fn a_kernel_rounds_where_its_roundings_say() {
    let rounded = |order, offset, line: &str| {
        let entry = named("rms_f16_bf16_bf16_block4").with_epilogue(EpilogueRounding { order, offset });
        expanded_for(entry, (9, 0), line).unwrap()
    };
    let kept = "mov.b32 %r1, %r3; mov.b32 %r2, %r4;";
    let to_f16 = "{ .reg .b32 %norm_v; cvt.rn.f16x2.f32 %norm_v, %r4, %r3; { .reg .b16 %norm_l, %norm_h; \
                  mov.b32 {%norm_l, %norm_h}, %norm_v; cvt.f32.f16 %r1, %norm_l; cvt.f32.f16 %r2, %norm_h; } }";
    let to_bf16 = "{ .reg .b32 %norm_v; cvt.rn.bf16x2.f32 %norm_v, %r4, %r3; shl.b32 %r1, %norm_v, 16; \
                   and.b32 %r2, %norm_v, 0xffff0000; }";
    let round = |role: &str| format!("norm.round.{role} {{%r1, %r2}}, {{%r3, %r4}};");
    for (order, normalized) in [
        (Rounding::Single, kept),
        (Rounding::BeforeWeight, to_f16),
        (Rounding::BeforeBias, kept),
        (Rounding::T5, to_bf16),
    ] {
        assert_eq!(rounded(order, false, &round("n")), normalized, "{order}");
        assert_eq!(rounded(order, false, &round("w")), kept, "{order}");
        assert_eq!(rounded(order, true, &round("w")), to_bf16, "{order}");
        let affine = rounded(order, false, "norm.affine.y {%r1, %r2}, {%r3, %r4}, {%r5, %r6}, {%r7, %r8};");
        let expected = match order {
            Rounding::BeforeBias => {
                "mul.rn.f32 %r1, %r3, %r5; mul.rn.f32 %r2, %r4, %r6; { .reg .b32 %norm_v; \
                 cvt.rn.bf16x2.f32 %norm_v, %r2, %r1; shl.b32 %r1, %norm_v, 16; \
                 and.b32 %r2, %norm_v, 0xffff0000; } add.rn.f32 %r1, %r1, %r7; add.rn.f32 %r2, %r2, %r8;"
            }
            _ => "fma.rn.f32 %r1, %r3, %r5, %r7; fma.rn.f32 %r2, %r4, %r6, %r8;",
        };
        assert_eq!(affine, expected, "{order}");
    }
    // To f32 nothing rounds.
    let entry =
        named("rms_f32_f32_f32_block4").with_epilogue(EpilogueRounding { order: Rounding::T5, offset: true });
    for role in ["n", "w"] {
        assert_eq!(expanded_for(entry, (9, 0), &round(role)).unwrap(), kept, "{role}");
    }
}

/// In each order, in a kernel that is scaled and in one that is not: the expansion names the type to which it rounds.
#[test]
fn an_addition_rounds_where_its_order_says() {
    let round = |dtype: Option<DType>, from: [&str; 2]| match dtype {
        None => String::new(),
        Some(dtype) => {
            let unpack = match dtype {
                DType::F16 => {
                    "{ .reg .b16 %norm_l, %norm_h; mov.b32 {%norm_l, %norm_h}, %norm_v; \
                     cvt.f32.f16 %r1, %norm_l; cvt.f32.f16 %r2, %norm_h; }"
                }
                _ => "shl.b32 %r1, %norm_v, 16; and.b32 %r2, %norm_v, 0xffff0000;",
            };
            let [a, b] = from;
            format!("{{ .reg .b32 %norm_v; cvt.rn.{dtype}x2.f32 %norm_v, {b}, {a}; {unpack} }} ")
        }
    };
    let own = ["%r1", "%r2"];
    let [f16, bf16] = [DType::F16, DType::BF16].map(Some);
    // x f16, w and y bf16; of a sandwich x alone counts.
    for (kernel, role, first, product, sum) in [
        ("rms_f16_bf16_bf16_add4", "x", None, f16, f16),
        ("rms_f16_bf16_bf16_add4_r32", "x", None, f16, None),
        ("rms_f16_bf16_bf16_staged", "y", bf16, bf16, bf16),
        ("rms_f16_bf16_bf16_stream_r32", "y", bf16, bf16, bf16),
        ("rms_f16_bf16_bf16_sandwich4", "n", f16, f16, f16),
        ("rms_f32_bf16_f32_add4", "x", None, None, None),
        ("rms_f32_bf16_f32_staged", "y", None, None, None),
        ("rms_f32_bf16_f32_sandwich4", "n", None, None, None),
    ] {
        for order in Rounding::ALL {
            let epilogue = EpilogueRounding { order, offset: false };
            let plain = named(kernel).with_epilogue(epilogue);
            let scaled = plain.scaled().unwrap();
            let unless_single = |dtype: Option<DType>| dtype.filter(|_| order != Rounding::Single);
            let [first, product, sum] = [first, product, sum].map(unless_single);
            let line = format!("norm.add.{role} {{%r1, %r2}}, {{%r3, %r4}}, {{%r5, %r6}}, %r7, %r8;");

            let rounded = round(first, ["%r3", "%r4"]);
            let [a, b] = if first.is_some() { own } else { ["%r3", "%r4"] };
            let expected = format!("{rounded}add.rn.f32 %r1, {a}, %r5; add.rn.f32 %r2, {b}, %r6;");
            assert_eq!(expanded_for(plain, (9, 0), &line).unwrap(), expected, "{plain}");

            let product = round(product, own);
            let sum = round(sum, own);
            let expected = format!(
                "{rounded}mul.rn.f32 %r1, {a}, %r7; mul.rn.f32 %r2, {b}, %r7; {product}\
                 add.rn.f32 %r1, %r1, %r5; add.rn.f32 %r2, %r2, %r6; {sum}\
                 mul.rn.f32 %r1, %r1, %r8; mul.rn.f32 %r2, %r2, %r8;"
            );
            assert_eq!(expanded_for(scaled, (9, 0), &line).unwrap(), expected, "{scaled}");
        }
    }
}

#[test]
fn a_scale_is_loaded_where_the_kernel_is_scaled() {
    let line = "norm.ld_scale.x %r1, [%rd1], %r2;";
    for kernel in ["rms_f16_f16_f16_add4", "layer_f32_f32_f32_staged", "rms_bf16_f32_f16_stream_r32"] {
        let plain = named(kernel);
        assert_eq!(expanded_for(plain, (8, 0), line).unwrap(), "mov.b32 %r1, %r2;", "{kernel}");
        assert_eq!(
            expanded_for(plain.scaled().unwrap(), (8, 0), line).unwrap(),
            "mov.b32 %r1, %r2; { .reg .pred %norm_p; setp.ne.b64 %norm_p, %rd1, 0; \
             @%norm_p ld.global.b32 %r1, [%rd1]; }",
            "{kernel}"
        );
    }
}

#[test]
fn blanks_count_for_nothing_and_comments_are_left_alone() {
    let f16 = |line| expanded("rms_f16_f16_f16_block4", (8, 0), line).unwrap();
    assert_eq!(f16("\t norm.pack.x\t%r1 ,{ %r2,%r3 } ; \r"), "cvt.rn.f16x2.f32 %r1, %r3, %r2;");
    assert_eq!(f16("// norm.pack.x in a comment"), "// norm.pack.x in a comment");
    assert_eq!(f16("mov.u32 %r1, %subnorm.x;"), "mov.u32 %r1, %subnorm.x;");
    for line in ["/* as /* norm.bogus } */", ".pragma \"norm.bogus {\";", "/* norm.bogus */ ret; // {"] {
        assert_eq!(f16(line), line);
    }
    assert_eq!(
        f16("/*\n\tnorm.bogus;\n*/\n\tnorm.ones.w %r1;"),
        "/* norm.bogus; */ mov.b32 %r1, 0x3c003c00;"
    );
}

#[test]
fn names_that_a_templates_is_part_of_stay() {
    let entry = named("rms_partial_f16_scalar");
    let body = "mov.u64 %rd1, rms_partial_b16_scalar_table;\n\tmov.u64 %rd1, my_rms_partial_b16_scalar;\n\
                \tld.param.u64 %rd1, [rms_partial_b16_scalar_param_12];\n\
                \tmov.u64 %rd1, rms_partial_b16_scalar_param_x;\n\tmov.u64 %rd1, rms_partial_b16_scalar_param_1x;\n\
                \tmov.u64 %rd1, rms_partial_b16_scalar;";
    let kernel = specialize(&text("rms_partial_b16_scalar", body), entry, (8, 0)).unwrap();
    let expected = body.replace("[rms_partial_b16_scalar_param_12", "[rms_partial_f16_scalar_param_12");
    let expected = expected.replace("rms_partial_b16_scalar;", "rms_partial_f16_scalar;");
    let expected = expected.replace("my_rms_partial_f16_scalar", "my_rms_partial_b16_scalar");
    assert!(kernel.contains(&expected), "{kernel}");
}

#[test]
fn a_malformed_line_is_named_with_what_was_expected_and_given() {
    use Malformed::*;
    let cases = [
        (
            Operation,
            "norm.unpakc.x {%r1, %r2}, %r3;",
            "an operation (unpack, pack, clamp, total, total_f32, plus, moments, mean, distance, \
             overflows, ones, st_clamped, round, add, ld_scale, affine, activate, gate, gates_first, turn, general, short, ld, sum, value, number, weigh, larger, largest, reciprocal, quotient, codes, has_range, quotient_in_range or codes_in_range), given 'unpakc'",
        ),
        (
            Operation,
            "norm. %r1;",
            "an operation (unpack, pack, clamp, total, total_f32, plus, moments, mean, distance, \
             overflows, ones, st_clamped, round, add, ld_scale, affine, activate, gate, gates_first, turn, general, short, ld, sum, value, number, weigh, larger, largest, reciprocal, quotient, codes, has_range, quotient_in_range or codes_in_range), given nothing",
        ),
        (Role, "norm.unpack.n {%r1, %r2}, %r3;", "x, w or y behind norm.unpack, given 'n'"),
        (Role, "norm.round.x {%r1, %r2}, {%r3, %r4};", "n, w, m or p behind norm.round, given 'x'"),
        (
            Role,
            "norm.add.w {%r1, %r2}, {%r3, %r4}, {%r5, %r6}, %r7, %r8;",
            "x, y or n behind norm.add, given 'w'",
        ),
        (Role, "norm.ld_scale.y %r1, [%rd1], %r2;", "x behind norm.ld_scale, given 'y'"),
        (
            Operands,
            "norm.add.x {%r1, %r2}, {%r3, %r4}, {%r5, %r6}, %r7;",
            "operands such as '{lo, hi}, {a0, a1}, {r0, r1}, branch, sum', \
             given '{%r1, %r2}, {%r3, %r4}, {%r5, %r6}, %r7'",
        ),
        (
            Operand,
            "norm.add.x {%r1, %r2}, {%r3, %r4}, {%r1, %r6}, %r7, %r8;",
            "an output that is no other operand, given '%r1'",
        ),
        (
            Operands,
            "norm.ld_scale.x %r1, %rd1, %r2;",
            "operands such as 'scale, [address], number', given '%r1, %rd1, %r2'",
        ),
        (Operand, "norm.ld_scale.x %r1, [%rd1], 0;", "a register such as %r1 for number, given '0'"),
        (Role, "norm.ones %r3;", "w behind norm.ones, given nothing"),
        (Role, "norm.unpack.w {%r1, %r2}, %r3;", "a tensor of 16-bit elements behind norm.unpack, given 'w'"),
        (Vector, "norm.pack.x.v4 %r1, {%r2, %r3};", "nothing behind norm.pack's role, given '.v4'"),
        (
            Vector,
            "norm.st_clamped.x [%r1], {%r2, %r3};",
            ".v2 or .v4 behind norm.st_clamped's role, given nothing",
        ),
        (Operands, "norm.unpack.x {%r1, %r2};", "operands such as '{lo, hi}, word', given '{%r1, %r2}'"),
        (
            Operands,
            "norm.unpack.x {%r1, %r2}, %r3, %r4;",
            "operands such as '{lo, hi}, word', given '{%r1, %r2}, %r3, %r4'",
        ),
        (
            Operands,
            "norm.unpack.x %r1, %r2, %r3;",
            "operands such as '{lo, hi}, word', given '%r1, %r2, %r3'",
        ),
        (
            Operands,
            "norm.unpack.x {%r1, %r2}, [%r3];",
            "operands such as '{lo, hi}, word', given '{%r1, %r2}, [%r3]'",
        ),
        (Operands, "norm.overflows.x;", "operands such as 'flag, mean', given nothing"),
        (Operand, "norm.unpack.x {%r1, 2}, %r3;", "a register such as %r1 for hi, given '2'"),
        (Operand, "norm.unpack.x {%r1, %r2}, %tid.x;", "a register such as %r1 for word, given '%tid.x'"),
        (
            Operand,
            "norm.st_clamped.x.v2 [%r1+4], {%r2, %r3};",
            "a register such as %r1 for slot, given '%r1+4'",
        ),
        (
            Operand,
            "norm.clamp.x %r1, %norm_l;",
            "a register for word whose name does not begin with %norm_, given '%norm_l'",
        ),
        (Operand, "norm.unpack.x {%r1, %r2}, %r1;", "an output that is no other operand, given '%r1'"),
        (Operand, "norm.unpack.x {%r1, %r1}, %r2;", "an output that is no other operand, given '%r1'"),
        (
            End,
            "norm.overflows.x %r1, %r2",
            "a statement that ends with ';' on its line, and nothing behind it, given 'norm.overflows.x %r1, %r2'",
        ),
        (
            End,
            "norm.overflows.x %r1, %r2; ret;",
            "a statement that ends with ';' on its line, and nothing behind it, given 'norm.overflows.x %r1, %r2; ret;'",
        ),
        (
            End,
            "norm.overflows.x %r1, %r2; // of a total",
            "a statement that ends with ';' on its line, and nothing behind it, given 'norm.overflows.x %r1, %r2; // of a total'",
        ),
        (
            End,
            "norm.\u{1b}[31m",
            "a statement that ends with ';' on its line, and nothing behind it, given 'norm.\\u{1b}[31m'",
        ),
        (
            Place,
            "@%p1 norm.overflows.x %r1, %r2;",
            "a pseudo-instruction alone on a line of the body, given '@%p1 norm.overflows.x %r1, %r2;'",
        ),
        (
            Place,
            "ret; norm.overflows.x %r1, %r2;",
            "a pseudo-instruction alone on a line of the body, given 'ret; norm.overflows.x %r1, %r2;'",
        ),
        (
            Place,
            "/* of a total */ norm.overflows.x %r1, %r2;",
            "a pseudo-instruction alone on a line of the body, given '/* of a total */ norm.overflows.x %r1, %r2;'",
        ),
        (
            Place,
            ".pragma \"nounroll\"; norm.overflows.x %r1, %r2;",
            "a pseudo-instruction alone on a line of the body, given '.pragma \"nounroll\"; norm.overflows.x %r1, %r2;'",
        ),
    ];
    for (malformed, line, message) in cases {
        let error = expanded("rms_f16_f32_f32_block4", (9, 0), line).unwrap_err();
        assert_eq!((error.malformed, error.line), (malformed, 5), "{line}");
        let place = "kernel rms_f16_f32_f32_block4, line 5 of template rms_b16_b32_b32_block4: expected";
        assert_eq!(error.to_string(), format!("{place} {message}"));
    }
    let error = expanded("rms_partial_f16_vector", (9, 0), "norm.ones.w %r1;").unwrap_err();
    assert_eq!((error.malformed, error.line), (Role, 5));
    assert!(error.to_string().ends_with("expected a tensor that the kernel has behind norm.ones, given 'w'"));
}

#[test]
fn a_text_without_a_place_for_launch_bounds_is_malformed() {
    let entry = named("rms_f16_f16_f16_block4");
    let error = |text: &str| {
        let error = specialize(text, entry, (9, 0)).unwrap_err();
        (error.malformed, error.line, error.given)
    };
    assert_eq!(error(""), (Malformed::Body, 1, "nothing".to_owned()));
    assert_eq!(error(".entry k(\n)\n"), (Malformed::Body, 3, "nothing".to_owned()));
    assert_eq!(error(".entry k() {\nret;\n}"), (Malformed::Body, 1, "'.entry k() {'".to_owned()));
    assert_eq!(error(".entry k()\n{ ret; }"), (Malformed::Body, 2, "'{ ret; }'".to_owned()));
    let bounded = ".entry k()\n.maxntid 512\n{\nret;\n}";
    assert_eq!(error(bounded), (Malformed::Bounds, 2, "'.maxntid 512'".to_owned()));
    for bounded in [") .maxntid 7", ")\n/* x */ .maxnreg 7", ")\n\t.reqntid 7, 1, 1"] {
        let (malformed, line, given) = error(&format!(".entry k(\n{bounded}\n{{\nret;\n}}"));
        let last = bounded.lines().last().unwrap().trim();
        assert_eq!((malformed, given), (Malformed::Bounds, format!("'{last}'")));
        assert_eq!(line as usize, 1 + bounded.lines().count());
    }
    let commented = ".entry k()\n/*\n{\n.maxntid 7\n*/\n{\nret;\n}";
    let kernel = specialize(commented, entry, (9, 0)).unwrap();
    assert!(kernel.starts_with(".entry k()\n/*\n{\n.maxntid 7\n*/\n.maxntid "), "{kernel}");
    let behind = ".entry k()\n/*\n*/ {\nret;\n}";
    assert_eq!(error(behind), (Malformed::Body, 3, "'*/ {'".to_owned()));
    let early = ".entry k()\nnorm.overflows.x %r1, %r2;\n{\nret;\n}";
    assert_eq!(error(early), (Malformed::Place, 2, "'norm.overflows.x %r1, %r2;'".to_owned()));
    let long = "{".repeat(100);
    assert_eq!(error(&long).2, format!("'{}…'", &long[..60]));
    for (broken, line, given) in [
        (".entry k()\n{\nret;", 3, "'ret;'"),
        (".entry k()\n{\nret;\n// }\n", 5, "nothing"),
        (".entry k()\n{\n@%p {\nret;\n}", 5, "'}'"),
    ] {
        assert_eq!(error(broken), (Malformed::Braces, line, given.to_owned()));
    }
}

#[test]
fn every_operation_is_documented_and_run() {
    let documentation: Vec<_> =
        include_str!("../specialize.rs").lines().filter_map(|line| line.strip_prefix("//! | `")).collect();
    for operation::Operation { name, vector, .. } in operation::OPERATIONS {
        let vector = vector.map_or(String::new(), |vector| format!(".{vector}"));
        let row = documentation.iter().find(|row| row.starts_with(&format!("{name}.T {vector}")));
        let row = row.or(documentation.iter().find(|row| row.starts_with(&format!("{name}.T.v"))));
        assert!(row.is_some_and(|row| row.contains(&vector)), "{name}{vector}");
        let has =
            |text: &str| text.contains(&format!("norm.{name}.")) && text.contains(&format!("{vector} "));
        assert!(
            Template::all().map(template::entry).any(|text| has(&text)),
            "{name}{vector} is run in no test"
        );
    }
}

/// Bytes that mean something to the reader of a template, and some that do not.
const PIECES: &[&str] = &[
    "norm.",
    "unpack",
    ".x",
    ".y",
    ".w",
    ".v4",
    ".n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ";",
    " ",
    "\t",
    "\n",
    "%r1",
    "%norm_l",
    "-1",
    "0x",
    "//",
    "/*",
    "\"",
    "@%p",
    "é",
    "\u{1b}",
    "\0",
    "\r\n",
    ".maxntid 1",
    "rms_b16_b16_b16_block4",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a template, it is specialized or refused in words.
    #[test]
    fn no_text_panics(
        which in 0..EntryPoint::all().count(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..12usize, 0..=PIECES.len()), 1..6),
    ) {
        let entry = EntryPoint::all().nth(which).unwrap();
        let mut text = template::entry(entry.template());
        for (at, removed, put) in changes {
            let mut start = at.index(text.len() + 1);
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            let mut end = text.len().min(start + removed);
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(start..end, PIECES.get(put).copied().unwrap_or_default());
        }
        match specialize(&text, entry, (9, 0)) {
            Ok(kernel) => prop_assert!(kernel.contains(".maxntid")),
            Err(error) => prop_assert!(error.line as usize <= 1 + text.matches('\n').count()),
        }
    }
}
