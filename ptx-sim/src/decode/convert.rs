//! `cvt` (PTX ISA, "Data Movement and Conversion Instructions: cvt").

use super::builder::Builder;
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind::Convert;
use crate::error::LoadError;
use crate::kernel::lanes::{Compute, Value, binary, unary};
use crate::kernel::op::Op;
use crate::number::double;
use crate::number::half::{Bf16, F16, Half, relu, saturate};
use crate::number::quarter::{self, E4M3, E5M2};
use crate::number::round::{Rounding, SINGLE, round};
use crate::number::single;
use crate::text::operand::Operand;
use crate::text::registers::{Class, Register};

const WHOLE: &str = "u8 u16 u32 u64 s8 s16 s32 s64";

macro_rules! signature {
    ($modifiers:literal, $types:expr, $from:expr, $operands:literal, $build:expr) => {
        Signature {
            name: "cvt",
            modifiers: $modifiers,
            types: $types,
            from: $from,
            operands: ($operands, $operands),
            kind: Convert,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!("sat?", WHOLE, WHOLE, 2, whole),
    signature!("rni|rzi|rmi|rpi ftz? sat?", WHOLE, "f16 bf16 f32 f64", 2, to_whole),
    signature!("rn|rz|rm|rp sat?", "f16 bf16 f32 f64", WHOLE, 2, from_whole),
    signature!("ftz? sat?", "f32 f64", "f16 bf16", 2, widen),
    signature!("ftz? sat?", "f64", "f32", 2, widen),
    signature!("rn|rz|rm|rp ftz? sat?", "f32", "f64", 2, narrow),
    signature!("rn|rz ftz? sat|relu?", "f16 bf16", "f32", 2, narrow),
    signature!("rn|rz|rm|rp sat?", "f16 bf16", "f64", 2, narrow),
    signature!("rni|rzi|rmi|rpi ftz? sat?", "f32", "f32", 2, to_integral),
    signature!("rni|rzi|rmi|rpi", "f64", "f64", 2, to_integral_double),
    signature!("rn|rz relu?", "f16x2 bf16x2", "f32", 3, pack),
    signature!("rn satfinite relu?", "e4m3x2 e5m2x2", "f32", 3, pack_quarters),
];

type Built = Result<Op, LoadError>;

/// Where an operand or a result lies: `cvt` takes registers wider than its types.
fn source(i: &mut Builder<'_, '_>, index: usize, ty: Type) -> Result<Register, LoadError> {
    let operand = i.operand(index)?;
    let class = match operand {
        Operand::Register(register) if is_wide_enough(register.class, ty) => register.class,
        _ => ty.class(),
    };
    i.source_of(operand, ty, class)
}

fn target(i: &mut Builder<'_, '_>, ty: Type) -> Result<Register, LoadError> {
    let operand = i.operand(0)?;
    let class = match operand {
        Operand::Register(register) if !ty.is_float() && is_wide_enough(register.class, ty) => register.class,
        _ => ty.class(),
    };
    i.target_of(operand, class)
}

fn is_wide_enough(class: Class, ty: Type) -> bool {
    class != Class::Predicate && class >= ty.class()
}

/// The numbers that a type holds.
fn range(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// A register's low bits as a number of that type.
fn number(raw: u64, ty: Type) -> i128 {
    let unused = 64 - ty.bits();
    if ty.is_signed() {
        i128::from((raw << unused) as i64 >> unused)
    } else {
        i128::from(raw << unused >> unused)
    }
}

/// The low bits of a number, extended as its type is to fill a register.
fn extended(value: i128, ty: Type) -> u64 {
    number(value as u64, ty) as u64
}

/// A function between registers of any two classes.
fn between(d: Register, a: Register, f: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static) -> Compute {
    fn half(value: u64) -> u16 {
        value as u16
    }
    let (to, from) = (d.slot, a.slot);
    match (d.class, a.class) {
        (Class::Wide, Class::Wide) => unary(to, from, f),
        (Class::Wide, _) => unary(to, from, move |a: u32| f(u64::from(a))),
        (Class::Word, Class::Wide) => unary(to, from, move |a: u64| f(a) as u32),
        (Class::Word, _) => unary(to, from, move |a: u32| f(u64::from(a)) as u32),
        (_, Class::Wide) => unary(to, from, move |a: u64| half(f(a))),
        (_, _) => unary(to, from, move |a: u32| half(f(u64::from(a)))),
    }
}

fn whole(i: &mut Builder<'_, '_>) -> Built {
    let (to, from, sat) = (i.ty(), i.from(), i.has("sat"));
    let (d, a) = (target(i, to)?, source(i, 1, from)?);
    Ok(Op::Compute(match (to, from, sat) {
        // What address arithmetic is full of: one move a lane.
        (Type::U64, Type::U32, false) if a.class == Class::Word => {
            unary(d.slot, a.slot, |a: u32| u64::from(a))
        }
        (Type::S64, Type::S32, false) if a.class == Class::Word => {
            unary(d.slot, a.slot, |a: i32| i64::from(a))
        }
        (Type::U32, Type::U64, false) if d.class == Class::Word => unary(d.slot, a.slot, |a: u64| a as u32),
        (Type::U16, Type::U32, false) if d.class == Class::Half && a.class == Class::Word => {
            unary(d.slot, a.slot, |a: u32| a as u16)
        }
        (Type::U32, Type::U16, false) if d.class == Class::Word && a.class == Class::Half => {
            unary(d.slot, a.slot, |a: u16| u32::from(a))
        }
        _ => {
            let (low, high) = range(to);
            between(d, a, move |raw| {
                let value = number(raw, from);
                extended(if sat { value.clamp(low, high) } else { value }, to)
            })
        }
    }))
}

/// A register's low bits as a float of that type.
fn float(raw: u64, ty: Type) -> f64 {
    match ty {
        Type::F16 => f64::from(F16::to_f32(raw as u16)),
        Type::Bf16 => f64::from(Bf16::to_f32(raw as u16)),
        Type::F32 => f64::from(f32::from_bits(raw as u32)),
        _ => f64::from_bits(raw),
    }
}

fn integral(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

fn integral_rounding(i: &Builder<'_, '_>) -> Rounding {
    match () {
        _ if i.has("rzi") => Rounding::Zero,
        _ if i.has("rmi") => Rounding::Down,
        _ if i.has("rpi") => Rounding::Up,
        _ => Rounding::Nearest,
    }
}

/// Floats to integers are always held to the integer's range; NaN gives 0, or, from `f64` or
/// to 64 bits, the highest bit alone (PTX ISA, "cvt").
fn to_whole(i: &mut Builder<'_, '_>) -> Built {
    let (to, from, ftz, rounding) = (i.ty(), i.from(), i.has("ftz"), integral_rounding(i));
    let (d, a) = (target(i, to)?, source(i, 1, from)?);
    let (low, high) = range(to);
    let nan = if from == Type::F64 || to.bits() == 64 { 1u64 << (to.bits() - 1) } else { 0 };
    Ok(Op::Compute(between(d, a, move |raw| {
        let raw = if ftz && from == Type::F32 {
            u64::from(single::flush(f32::from_bits(raw as u32)).to_bits())
        } else {
            raw
        };
        let value = integral(float(raw, from), rounding);
        if value.is_nan() {
            extended(i128::from(nan), to)
        } else {
            extended((value as i128).clamp(low, high), to)
        }
    })))
}

fn from_whole(i: &mut Builder<'_, '_>) -> Built {
    let (to, from, sat, rounding) = (i.ty(), i.from(), i.has("sat"), i.rounding());
    let (d, a) = (target(i, to)?, source(i, 1, from)?);
    if (to, from, rounding, sat) == (Type::F32, Type::U32, Rounding::Nearest, false) && a.class == Class::Word
    {
        return Ok(Op::Compute(unary(d.slot, a.slot, |a: u32| a as f32)));
    }
    Ok(Op::Compute(between(d, a, move |raw| {
        let value = number(raw, from);
        // 64 bits do not fit an f64: the sum of both halves does, with an error to round by.
        let high = (value >> 32) as f64 * 4294967296.0;
        let (sum, error) = crate::number::round::two_sum(high, (value & 0xffff_ffff) as f64);
        let sum = if sat { sum.clamp(0.0, 1.0) } else { sum };
        match to {
            Type::F64 => double::add(high, sum - high + error, rounding).to_bits(),
            _ => encoded(crate::number::round::to_odd(sum, if sat { 0.0 } else { error }), to, rounding),
        }
    })))
}

/// The bits of a number rounded to a format of at most 32 bits.
fn encoded(value: f64, to: Type, rounding: Rounding) -> u64 {
    match to {
        Type::F16 => u64::from(F16::round_from_f64(value, rounding)),
        Type::Bf16 => u64::from(Bf16::round_from_f64(value, rounding)),
        _ if rounding == Rounding::Nearest => u64::from(single::canonical(value as f32).to_bits()),
        _ => u64::from(single::canonical(round(value, SINGLE, rounding) as f32).to_bits()),
    }
}

fn widen(i: &mut Builder<'_, '_>) -> Built {
    let (to, from, ftz, sat) = (i.ty(), i.from(), i.has("ftz"), i.has("sat"));
    let (d, a) = (target(i, to)?.slot, source(i, 1, from)?.slot);
    fn lift<A: Value>(
        d: u32,
        a: u32,
        to: Type,
        sat: bool,
        f: impl Fn(A) -> f32 + Send + Sync + 'static,
    ) -> Compute {
        match (to, sat) {
            (Type::F64, false) => unary(d, a, move |a| double::from_single(f(a))),
            (Type::F64, true) => unary(d, a, move |a| f64::from(single::saturate(f(a)))),
            (_, false) => unary(d, a, f),
            (_, true) => unary(d, a, move |a| single::saturate(f(a))),
        }
    }
    Ok(Op::Compute(match (from, ftz) {
        (Type::F16, _) => lift(d, a, to, sat, F16::to_f32),
        // An f32 of whose bits the upper half is given: ptxas makes a shift of it, and a NaN stays as it is.
        (Type::Bf16, _) => lift(d, a, to, sat, Bf16::to_f32),
        (_, false) => lift(d, a, to, sat, |a: f32| a),
        (_, true) => lift(d, a, to, sat, single::flush),
    }))
}

fn narrow(i: &mut Builder<'_, '_>) -> Built {
    let (to, from, ftz, rounding) = (i.ty(), i.from(), i.has("ftz"), i.rounding());
    let (sat, clip) = (i.has("sat"), i.has("relu"));
    let (d, a) = (target(i, to)?, source(i, 1, from)?);
    let mode = single::Mode { rounding, ftz };
    let plain = !ftz && !sat && !clip && rounding == Rounding::Nearest;
    Ok(Op::Compute(match (to, from) {
        (Type::F32, Type::F64) if plain => unary(d.slot, a.slot, |a: f64| {
            if a.is_nan() { f32::from_bits(double::nan_to_single(a)) } else { a as f32 }
        }),
        (Type::F16, Type::F32) if plain => unary(d.slot, a.slot, F16::from_f32),
        (Type::Bf16, Type::F32) if plain => unary(d.slot, a.slot, Bf16::from_f32),
        _ => between(d, a, move |raw| {
            let value = float(raw, from);
            let value = if ftz && from == Type::F32 { f64::from(single::flush(value as f32)) } else { value };
            let bits = match to {
                Type::F32 if from == Type::F64 && value.is_nan() => u64::from(double::nan_to_single(value)),
                Type::F16 if from == Type::F64 && value.is_nan() => u64::from(double::nan_to_half(value)),
                Type::F32 if ftz => u64::from(single::canonical(mode.round(value)).to_bits()),
                _ => encoded(value, to, rounding),
            };
            match to {
                Type::F32 => {
                    let value = f32::from_bits(bits as u32);
                    u64::from(if sat { single::saturate(value) } else { value }.to_bits())
                }
                Type::F16 => u64::from(held::<F16>(bits as u16, sat, clip)),
                _ => u64::from(held::<Bf16>(bits as u16, sat, clip)),
            }
        }),
    }))
}

fn held<H: Half>(bits: u16, sat: bool, clip: bool) -> u16 {
    match (sat, clip) {
        (true, _) => saturate::<H>(bits),
        (_, true) => relu::<H>(bits),
        _ => bits,
    }
}

fn to_integral(i: &mut Builder<'_, '_>) -> Built {
    let (ftz, sat, rounding) = (i.has("ftz"), i.has("sat"), integral_rounding(i));
    let (d, a) = (target(i, Type::F32)?.slot, source(i, 1, Type::F32)?.slot);
    Ok(Op::Compute(unary(d, a, move |a: f32| {
        let a = if ftz { single::flush(a) } else { a };
        let whole = single::canonical(integral(f64::from(a), rounding) as f32);
        if sat { single::saturate(whole) } else { whole }
    })))
}

fn to_integral_double(i: &mut Builder<'_, '_>) -> Built {
    let rounding = integral_rounding(i);
    let (d, a) = (target(i, Type::F64)?.slot, source(i, 1, Type::F64)?.slot);
    Ok(Op::Compute(unary(
        d,
        a,
        move |a: f64| {
            if a.is_nan() { double::quiet(a) } else { integral(a, rounding) }
        },
    )))
}

/// Two floats in one word, the first operand in its upper half.
fn pack(i: &mut Builder<'_, '_>) -> Built {
    let (to, clip, rounding) = (i.ty(), i.has("relu"), i.rounding());
    let (d, s) = (i.target(0, Class::Word)?, i.sources(1, Type::F32)?);
    fn packed<H: Half>(d: u32, s: [u32; 2], rounding: Rounding, clip: bool) -> Compute {
        if rounding == Rounding::Nearest && !clip {
            return binary(d, s, |high: f32, low: f32| [H::from_f32(low), H::from_f32(high)]);
        }
        binary(d, s, move |high: f32, low: f32| {
            [low, high].map(|value| held::<H>(H::round_from_f64(f64::from(value), rounding), false, clip))
        })
    }
    Ok(Op::Compute(match to {
        Type::F16x2 => packed::<F16>(d, s, rounding, clip),
        _ => packed::<Bf16>(d, s, rounding, clip),
    }))
}

/// Two floats of 8 bits in half a word, the first operand in its upper half. From sm_89 on.
fn pack_quarters(i: &mut Builder<'_, '_>) -> Built {
    i.requires(89)?;
    let (format, clip) = (if i.ty() == Type::E4m3x2 { E4M3 } else { E5M2 }, i.has("relu"));
    let (d, s) = (i.target(0, Class::Half)?, i.sources(1, Type::F32)?);
    Ok(Op::Compute(binary(d, s, move |high: f32, low: f32| {
        // A NaN is not negative.
        let [low, high] = [low, high]
            .map(|value| if clip && value.is_sign_negative() && !value.is_nan() { 0.0 } else { value });
        u16::from_le_bytes([low, high].map(|value| quarter::from_f32(value, format)))
    })))
}
