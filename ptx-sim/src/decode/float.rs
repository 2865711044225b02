//! f32 and f64 arithmetic (PTX ISA, "Floating Point Instructions").

use super::builder::Builder;
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind::{Double, Single, Special};
use crate::error::LoadError;
use crate::kernel::lanes::{binary, ternary, unary};
use crate::kernel::op::Op;
use crate::number::round::Rounding;
use crate::number::single::Mode;
use crate::number::{approximate, double, single};

macro_rules! signature {
    ($kind:ident, $name:literal, $modifiers:literal, $types:literal, $operands:literal, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: "",
            operands: ($operands, $operands),
            kind: $kind,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!(Single, "add", "rn|rz|rm|rp? ftz? sat?", "f32", 3, |i| singles(i, single::add)),
    signature!(Single, "sub", "rn|rz|rm|rp? ftz? sat?", "f32", 3, |i| singles(i, |a, b, r| single::add(
        a, -b, r
    ))),
    signature!(Single, "mul", "rn|rz|rm|rp? ftz? sat?", "f32", 3, |i| singles(i, single::mul)),
    signature!(Single, "div", "rn|rz|rm|rp ftz?", "f32", 3, |i| singles(i, single::div)),
    signature!(Special, "div", "approx|full ftz?", "f32", 3, |i| singles(i, |a, b, _| a / b)),
    signature!(Single, "fma", "rn|rz|rm|rp ftz? sat?", "f32", 4, fused_single),
    signature!(Single, "mad", "rn|rz|rm|rp ftz? sat?", "f32", 4, fused_single),
    signature!(Single, "min", "ftz? NaN?", "f32", 3, |i| extreme_single(i, false)),
    signature!(Single, "max", "ftz? NaN?", "f32", 3, |i| extreme_single(i, true)),
    signature!(Single, "abs", "ftz?", "f32", 2, |i| flip_single(i, |bits| bits & 0x7fff_ffff)),
    signature!(Single, "neg", "ftz?", "f32", 2, |i| flip_single(i, |bits| bits ^ 0x8000_0000)),
    signature!(Single, "sqrt", "rn|rz|rm|rp ftz?", "f32", 2, root_single),
    signature!(Single, "rcp", "rn|rz|rm|rp ftz?", "f32", 2, reciprocal_single),
    signature!(Special, "sqrt", "approx ftz?", "f32", 2, |i| special(i, f64::sqrt)),
    signature!(Special, "rcp", "approx ftz?", "f32", 2, |i| special(i, approximate::reciprocal)),
    signature!(Special, "rsqrt", "approx ftz?", "f32", 2, |i| special(i, approximate::reciprocal_root)),
    signature!(Special, "sin", "approx ftz?", "f32", 2, |i| special(i, approximate::sine)),
    signature!(Special, "cos", "approx ftz?", "f32", 2, |i| special(i, approximate::cosine)),
    signature!(Special, "ex2", "approx ftz?", "f32", 2, |i| special(i, approximate::power_of_two)),
    signature!(Special, "lg2", "approx ftz?", "f32", 2, |i| special(i, approximate::logarithm)),
    signature!(Special, "tanh", "approx", "f32", 2, |i| special(i, approximate::hyperbolic_tangent)),
    signature!(Double, "add", "rn|rz|rm|rp?", "f64", 3, |i| doubles(i, double::add)),
    signature!(Double, "sub", "rn|rz|rm|rp?", "f64", 3, |i| doubles(i, double::sub)),
    signature!(Double, "mul", "rn|rz|rm|rp?", "f64", 3, |i| doubles(i, double::mul)),
    signature!(Double, "div", "rn|rz|rm|rp", "f64", 3, |i| doubles(i, double::div)),
    signature!(Double, "fma", "rn|rz|rm|rp", "f64", 4, fused_double),
    signature!(Double, "mad", "rn|rz|rm|rp", "f64", 4, fused_double),
    signature!(Double, "min", "", "f64", 3, |i| doubles(i, |a, b, _| double::extreme(a, b, false))),
    signature!(Double, "max", "", "f64", 3, |i| doubles(i, |a, b, _| double::extreme(a, b, true))),
    signature!(Double, "abs", "", "f64", 2, |i| flip_double(i, |bits| bits & !(1 << 63))),
    signature!(Double, "neg", "", "f64", 2, |i| flip_double(i, |bits| bits ^ 1 << 63)),
    signature!(Double, "sqrt", "rn|rz|rm|rp", "f64", 2, root_double),
    signature!(Double, "rcp", "rn|rz|rm|rp", "f64", 2, reciprocal_double),
];

type Built = Result<Op, LoadError>;

fn singles(
    i: &mut Builder<'_, '_>,
    f: impl Fn(f32, f32, Mode) -> f32 + Copy + Send + Sync + 'static,
) -> Built {
    let mode = mode(i);
    let (d, s) = (i.target(0, Type::F32.class())?, i.sources(1, Type::F32)?);
    // The common case has a loop of its own, without branches on the modifiers.
    if mode == Mode::NEAREST && !i.has("sat") {
        return Ok(Op::Compute(binary(d, s, move |a, b| single::canonical(f(a, b, Mode::NEAREST)))));
    }
    let (before, after) = (tune_operand(mode.ftz), tune_result(mode.ftz, i.has("sat")));
    Ok(Op::Compute(binary(d, s, move |a, b| after(f(before(a), before(b), mode)))))
}

fn mode(i: &Builder<'_, '_>) -> Mode {
    Mode { rounding: i.rounding(), ftz: i.has("ftz") }
}

/// What `.ftz` does to an operand.
fn tune_operand(ftz: bool) -> impl Fn(f32) -> f32 + Copy + Send + Sync + 'static {
    move |value| if ftz { single::flush(value) } else { value }
}

/// What `.ftz` and `.sat` do to a result.
fn tune_result(ftz: bool, sat: bool) -> impl Fn(f32) -> f32 + Copy + Send + Sync + 'static {
    move |value| {
        let value = if ftz { single::flush(value) } else { value };
        if sat { single::saturate(value) } else { single::canonical(value) }
    }
}

fn fused_single(i: &mut Builder<'_, '_>) -> Built {
    let (mode, sat) = (mode(i), i.has("sat"));
    let (d, s) = (i.target(0, Type::F32.class())?, i.sources(1, Type::F32)?);
    if mode == Mode::NEAREST && !sat {
        return Ok(Op::Compute(ternary(d, s, |a: f32, b: f32, c: f32| single::canonical(a.mul_add(b, c)))));
    }
    let (before, after) = (tune_operand(mode.ftz), tune_result(mode.ftz, sat));
    Ok(Op::Compute(ternary(d, s, move |a, b, c| after(single::fma(before(a), before(b), before(c), mode)))))
}

fn extreme_single(i: &mut Builder<'_, '_>, greater: bool) -> Built {
    let (propagate, before) = (i.has("NaN"), tune_operand(i.has("ftz")));
    let (d, s) = (i.target(0, Type::F32.class())?, i.sources(1, Type::F32)?);
    Ok(Op::Compute(binary(d, s, move |a, b| single::extreme(before(a), before(b), greater, propagate))))
}

/// Changes of the sign. PTX leaves a NaN's bits open; an NVIDIA H200 gives the one that arithmetic gives.
fn flip_single(i: &mut Builder<'_, '_>, f: fn(u32) -> u32) -> Built {
    let before = tune_operand(i.has("ftz"));
    let (d, a) = (i.target(0, Type::F32.class())?, i.source(1, Type::F32)?);
    Ok(Op::Compute(unary(d, a, move |a| match before(a) {
        a if a.is_nan() => f32::from_bits(single::NAN),
        a => f32::from_bits(f(a.to_bits())),
    })))
}

fn root_single(i: &mut Builder<'_, '_>) -> Built {
    let mode = mode(i);
    let (before, after) = (tune_operand(mode.ftz), tune_result(mode.ftz, false));
    let (d, a) = (i.target(0, Type::F32.class())?, i.source(1, Type::F32)?);
    Ok(Op::Compute(unary(d, a, move |a| after(single::sqrt(before(a), mode)))))
}

fn reciprocal_single(i: &mut Builder<'_, '_>) -> Built {
    let mode = mode(i);
    let (before, after) = (tune_operand(mode.ftz), tune_result(mode.ftz, false));
    let (d, a) = (i.target(0, Type::F32.class())?, i.source(1, Type::F32)?);
    Ok(Op::Compute(unary(d, a, move |a| after(single::div(1.0, before(a), mode)))))
}

fn special(i: &mut Builder<'_, '_>, f: fn(f64) -> f64) -> Built {
    let ftz = i.has("ftz");
    let (before, after) = (tune_operand(ftz), tune_result(ftz, false));
    let (d, a) = (i.target(0, Type::F32.class())?, i.source(1, Type::F32)?);
    Ok(Op::Compute(unary(d, a, move |a| after(f(f64::from(before(a))) as f32))))
}

fn doubles(
    i: &mut Builder<'_, '_>,
    f: impl Fn(f64, f64, Rounding) -> f64 + Copy + Send + Sync + 'static,
) -> Built {
    let rounding = i.rounding();
    let (d, s) = (i.target(0, Type::F64.class())?, i.sources(1, Type::F64)?);
    Ok(Op::Compute(if rounding == Rounding::Nearest {
        binary(d, s, move |a, b| f(a, b, Rounding::Nearest))
    } else {
        binary(d, s, move |a, b| f(a, b, rounding))
    }))
}

fn fused_double(i: &mut Builder<'_, '_>) -> Built {
    let rounding = i.rounding();
    let (d, s) = (i.target(0, Type::F64.class())?, i.sources(1, Type::F64)?);
    Ok(Op::Compute(ternary(d, s, move |a, b, c| double::fma(a, b, c, rounding))))
}

fn flip_double(i: &mut Builder<'_, '_>, f: fn(u64) -> u64) -> Built {
    let (d, a) = (i.target(0, Type::F64.class())?, i.source(1, Type::F64)?);
    Ok(Op::Compute(unary(d, a, move |a: f64| double::flip(a, f))))
}

fn root_double(i: &mut Builder<'_, '_>) -> Built {
    let rounding = i.rounding();
    let (d, a) = (i.target(0, Type::F64.class())?, i.source(1, Type::F64)?);
    Ok(Op::Compute(unary(d, a, move |a| double::sqrt(a, rounding))))
}

fn reciprocal_double(i: &mut Builder<'_, '_>) -> Built {
    let rounding = i.rounding();
    let (d, a) = (i.target(0, Type::F64.class())?, i.source(1, Type::F64)?);
    Ok(Op::Compute(unary(d, a, move |a| double::div(1.0, a, rounding))))
}
