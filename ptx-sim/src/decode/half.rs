//! f16 and bf16 arithmetic, one or two at a time (PTX ISA, "Half Precision Floating Point
//! Instructions").

use super::builder::Builder;
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind;
use crate::error::LoadError;
use crate::kernel::lanes::{binary, ternary, unary};
use crate::kernel::op::Op;
use crate::number::approximate;
use crate::number::half::{self, Bf16, F16, Half};
use crate::number::round::Rounding;

const HALVES: &str = "f16 f16x2";
const BFLOATS: &str = "bf16 bf16x2";
const BOTH: &str = "f16 f16x2 bf16 bf16x2";

macro_rules! signature {
    ($kind:ident, $name:literal, $modifiers:literal, $types:expr, $operands:literal, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: "",
            operands: ($operands, $operands),
            kind: InstructionKind::$kind,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!(Half, "add", "rn? ftz? sat?", HALVES, 3, |i| arithmetic(i, |a, b| a + b)),
    signature!(Half, "sub", "rn? ftz? sat?", HALVES, 3, |i| arithmetic(i, |a, b| a - b)),
    signature!(Half, "mul", "rn? ftz? sat?", HALVES, 3, |i| arithmetic(i, |a, b| a * b)),
    signature!(Half, "add", "rn?", BFLOATS, 3, |i| arithmetic(i, |a, b| a + b)),
    signature!(Half, "sub", "rn?", BFLOATS, 3, |i| arithmetic(i, |a, b| a - b)),
    signature!(Half, "mul", "rn?", BFLOATS, 3, |i| arithmetic(i, |a, b| a * b)),
    signature!(Half, "fma", "rn ftz? sat|relu?", HALVES, 4, fused),
    signature!(Half, "fma", "rn relu?", BFLOATS, 4, fused),
    signature!(Half, "min", "ftz? NaN? xorsign? abs?", HALVES, 3, |i| extreme(i, false)),
    signature!(Half, "max", "ftz? NaN? xorsign? abs?", HALVES, 3, |i| extreme(i, true)),
    signature!(Half, "min", "NaN? xorsign? abs?", BFLOATS, 3, |i| extreme(i, false)),
    signature!(Half, "max", "NaN? xorsign? abs?", BFLOATS, 3, |i| extreme(i, true)),
    signature!(Half, "abs", "ftz?", BOTH, 2, |i| flip(i, |bits| bits & 0x7fff)),
    signature!(Half, "neg", "ftz?", BOTH, 2, |i| flip(i, |bits| bits ^ 0x8000)),
    signature!(Special, "ex2", "approx ftz?", BOTH, 2, |i| special(i, approximate::power_of_two)),
    signature!(Special, "tanh", "approx", BOTH, 2, |i| special(i, approximate::hyperbolic_tangent)),
];

type Built = Result<Op, LoadError>;

/// The same function for each format, alone or in pairs: `$f` is generic over the format `H`.
macro_rules! each_half {
    ($ty:expr, $lift:ident, ($($operand:ident),+), $d:expr, $s:expr, $H:ident => $f:expr) => {
        match $ty {
            Type::F16 => {
                type $H = F16;
                $lift($d, $s, move |$($operand: u16),+| -> u16 { let f = $f; f($($operand),+) })
            }
            Type::Bf16 => {
                type $H = Bf16;
                $lift($d, $s, move |$($operand: u16),+| -> u16 { let f = $f; f($($operand),+) })
            }
            Type::F16x2 => {
                type $H = F16;
                $lift($d, $s, move |$($operand: [u16; 2]),+| -> [u16; 2] {
                    let f = $f;
                    [f($($operand[0]),+), f($($operand[1]),+)]
                })
            }
            _ => {
                type $H = Bf16;
                $lift($d, $s, move |$($operand: [u16; 2]),+| -> [u16; 2] {
                    let f = $f;
                    [f($($operand[0]),+), f($($operand[1]),+)]
                })
            }
        }
    };
}

/// What `.ftz` does to an operand.
fn before<H: Half>(bits: u16, ftz: bool) -> u16 {
    if ftz { half::flush::<H>(bits) } else { bits }
}

/// What the modifiers do to a result.
fn after<H: Half>(bits: u16, ftz: bool, sat: bool, relu: bool) -> u16 {
    let bits = before::<H>(bits, ftz);
    match (sat, relu) {
        (true, _) => half::saturate::<H>(bits),
        (_, true) => half::relu::<H>(bits),
        _ => bits,
    }
}

fn arithmetic(i: &mut Builder<'_, '_>, f: fn(f64, f64) -> f64) -> Built {
    let (ty, ftz, sat) = (i.ty(), i.has("ftz"), i.has("sat"));
    let (d, s) = (i.target(0, ty.class())?, i.sources(1, ty)?);
    Ok(Op::Compute(each_half!(ty, binary, (a, b), d, s, H => |a, b| {
        after::<H>(half::arithmetic::<H>(before::<H>(a, ftz), before::<H>(b, ftz), ftz, f), ftz, sat, false)
    })))
}

fn fused(i: &mut Builder<'_, '_>) -> Built {
    let (ty, ftz, sat, relu) = (i.ty(), i.has("ftz"), i.has("sat"), i.has("relu"));
    let (d, s) = (i.target(0, ty.class())?, i.sources(1, ty)?);
    Ok(Op::Compute(each_half!(ty, ternary, (a, b, c), d, s, H => |a, b, c| {
        let [a, b, c] = [a, b, c].map(|bits| before::<H>(bits, ftz));
        after::<H>(half::fused::<H>(a, b, c, ftz), ftz, sat, relu)
    })))
}

fn extreme(i: &mut Builder<'_, '_>, greater: bool) -> Built {
    let (ty, ftz, nan) = (i.ty(), i.has("ftz"), i.has("NaN"));
    let magnitudes = i.has("xorsign");
    if magnitudes != i.has("abs") {
        return Err(i.unsupported("`.xorsign` and `.abs` stand together"));
    }
    let (d, s) = (i.target(0, ty.class())?, i.sources(1, ty)?);
    Ok(Op::Compute(each_half!(ty, binary, (a, b), d, s, H => |a, b| {
        let (a, b) = (before::<H>(a, ftz), before::<H>(b, ftz));
        if magnitudes {
            half::extreme_magnitude::<H>(a, b, greater, nan)
        } else {
            half::extreme::<H>(a, b, greater, nan)
        }
    })))
}

fn flip(i: &mut Builder<'_, '_>, f: fn(u16) -> u16) -> Built {
    let (ty, ftz) = (i.ty(), i.has("ftz"));
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(each_half!(ty, unary, (a), d, a, H => |a| f(before::<H>(a, ftz)))))
}

fn special(i: &mut Builder<'_, '_>, f: fn(f64) -> f64) -> Built {
    let (ty, ftz) = (i.ty(), i.has("ftz"));
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(each_half!(ty, unary, (a), d, a, H => |a| {
        let value = f(f64::from(H::to_f32(before::<H>(a, ftz))));
        before::<H>(H::round_from_f64(value, Rounding::Nearest), ftz)
    })))
}
