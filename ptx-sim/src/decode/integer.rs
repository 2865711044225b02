//! Integer arithmetic and logic (PTX ISA, "Integer Arithmetic Instructions", "Logic and Shift
//! Instructions").

use super::builder::Builder;
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind::Integer;
use crate::error::LoadError;
use crate::kernel::file::{File, Mask};
use crate::kernel::lanes::{Compute, binary, ternary, unary};
use crate::kernel::op::Op;
use crate::text::registers::Class;

const WHOLE: &str = "u16 u32 u64 s16 s32 s64";

macro_rules! signature {
    ($name:literal, $modifiers:expr, $types:expr, $operands:literal, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: "",
            operands: ($operands, $operands),
            kind: Integer,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!("add", "", WHOLE, 3, add),
    signature!("add", "sat", "s32", 3, |i| pair(i, |d, s| binary(d, s, i32::saturating_add))),
    signature!("sub", "", WHOLE, 3, sub),
    signature!("sub", "sat", "s32", 3, |i| pair(i, |d, s| binary(d, s, i32::saturating_sub))),
    signature!("mul", "lo|hi|wide", WHOLE, 3, mul),
    signature!("mad", "lo|hi|wide", WHOLE, 4, mad),
    signature!("div", "", WHOLE, 3, div),
    signature!("rem", "", WHOLE, 3, rem),
    signature!("abs", "", "s16 s32 s64", 2, abs),
    signature!("neg", "", "s16 s32 s64", 2, neg),
    signature!("min", "", WHOLE, 3, min),
    signature!("max", "", WHOLE, 3, max),
    signature!("and", "", "pred b16 b32 b64", 3, |i| logic(i, |a, b| a & b)),
    signature!("or", "", "pred b16 b32 b64", 3, |i| logic(i, |a, b| a | b)),
    signature!("xor", "", "pred b16 b32 b64", 3, |i| logic(i, |a, b| a ^ b)),
    signature!("not", "", "pred b16 b32 b64", 2, not),
    signature!("cnot", "", "b16 b32 b64", 2, cnot),
    signature!("shl", "", "b16 b32 b64", 3, shl),
    signature!("shr", "", "b16 b32 b64 u16 u32 u64 s16 s32 s64", 3, shr),
];

type Built = Result<Op, LoadError>;

/// A result and two operands, all of the instruction's type.
fn pair(i: &mut Builder<'_, '_>, make: impl FnOnce(u32, [u32; 2]) -> Compute) -> Built {
    let ty = i.ty();
    let (d, s) = (i.target(0, ty.class())?, i.sources(1, ty)?);
    Ok(Op::Compute(make(d, s)))
}

/// The same function for every integer type.
macro_rules! each {
    ($ty:expr, $T:ident => $make:expr) => {
        match $ty {
            Type::S16 => {
                type $T = i16;
                $make
            }
            Type::U32 | Type::B32 => {
                type $T = u32;
                $make
            }
            Type::S32 => {
                type $T = i32;
                $make
            }
            Type::U64 | Type::B64 => {
                type $T = u64;
                $make
            }
            Type::S64 => {
                type $T = i64;
                $make
            }
            _ => {
                type $T = u16;
                $make
            }
        }
    };
}

fn add(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    pair(i, |d, s| each!(ty, T => binary(d, s, T::wrapping_add)))
}

fn sub(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    pair(i, |d, s| each!(ty, T => binary(d, s, T::wrapping_sub)))
}

fn min(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    pair(i, |d, s| each!(ty, T => binary(d, s, |a: T, b: T| a.min(b))))
}

fn max(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    pair(i, |d, s| each!(ty, T => binary(d, s, |a: T, b: T| a.max(b))))
}

/// Division by zero gives what PTX leaves unspecified; here, as on every GPU so far, all ones.
fn div(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    pair(i, |d, s| each!(ty, T => binary(d, s, |a: T, b: T| if b == 0 { !0 } else { a.wrapping_div(b) })))
}

/// The remainder by zero, unspecified too, is the dividend.
fn rem(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    pair(i, |d, s| each!(ty, T => binary(d, s, |a: T, b: T| if b == 0 { a } else { a.wrapping_rem(b) })))
}

fn abs(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(match ty {
        Type::S16 => unary(d, a, i16::wrapping_abs),
        Type::S32 => unary(d, a, i32::wrapping_abs),
        _ => unary(d, a, i64::wrapping_abs),
    }))
}

fn neg(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(each!(ty, T => unary(d, a, T::wrapping_neg))))
}

/// The upper halves of products.
macro_rules! high {
    ($ty:expr, $make:ident) => {
        match $ty {
            Type::U16 => $make!(u16, u32, 16),
            Type::S16 => $make!(i16, i32, 16),
            Type::U32 => $make!(u32, u64, 32),
            Type::S32 => $make!(i32, i64, 32),
            Type::U64 => $make!(u64, u128, 64),
            _ => $make!(i64, i128, 64),
        }
    };
}

fn mul(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    if i.has("wide") {
        return wide(i, false);
    }
    let hi = i.has("hi");
    pair(i, |d, s| {
        if hi {
            macro_rules! make {
                ($T:ty, $W:ty, $bits:literal) => {
                    binary(d, s, |a: $T, b: $T| ((<$W>::from(a) * <$W>::from(b)) >> $bits) as $T)
                };
            }
            high!(ty, make)
        } else {
            each!(ty, T => binary(d, s, T::wrapping_mul))
        }
    })
}

fn mad(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    if i.has("wide") {
        return wide(i, true);
    }
    let hi = i.has("hi");
    let (d, s) = (i.target(0, ty.class())?, i.sources(1, ty)?);
    Ok(Op::Compute(if hi {
        macro_rules! make {
            ($T:ty, $W:ty, $bits:literal) => {
                ternary(d, s, |a: $T, b: $T, c: $T| {
                    (((<$W>::from(a) * <$W>::from(b)) >> $bits) as $T).wrapping_add(c)
                })
            };
        }
        high!(ty, make)
    } else {
        each!(ty, T => ternary(d, s, |a: T, b: T, c: T| a.wrapping_mul(b).wrapping_add(c)))
    }))
}

/// Products of twice the width, with or without a summand.
fn wide(i: &mut Builder<'_, '_>, add: bool) -> Built {
    let ty = i.ty();
    let twice = match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        Type::S32 => Type::S64,
        _ => return Err(i.unsupported("there is no product of 128 bits".to_owned())),
    };
    let (d, [a, b]) = (i.target(0, twice.class())?, i.sources(1, ty)?);
    if !add {
        let s = [a, b];
        return Ok(Op::Compute(match ty {
            Type::U16 => binary(d, s, |a: u16, b: u16| u32::from(a) * u32::from(b)),
            Type::S16 => binary(d, s, |a: i16, b: i16| i32::from(a) * i32::from(b)),
            Type::U32 => binary(d, s, |a: u32, b: u32| u64::from(a) * u64::from(b)),
            _ => binary(d, s, |a: i32, b: i32| i64::from(a) * i64::from(b)),
        }));
    }
    let s = [a, b, i.source(3, twice)?];
    Ok(Op::Compute(match ty {
        Type::U16 => ternary(d, s, |a: u16, b: u16, c: u32| (u32::from(a) * u32::from(b)).wrapping_add(c)),
        Type::S16 => ternary(d, s, |a: i16, b: i16, c: i32| (i32::from(a) * i32::from(b)).wrapping_add(c)),
        Type::U32 => ternary(d, s, |a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c)),
        _ => ternary(d, s, |a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c)),
    }))
}

/// Predicates take part as masks of lanes.
fn logic(i: &mut Builder<'_, '_>, f: fn(u64, u64) -> u64) -> Built {
    let ty = i.ty();
    if ty == Type::Pred {
        let d = i.target(0, Class::Predicate)?;
        let (a, b) = (i.condition(1)?, i.condition(2)?);
        if a.negated || b.negated {
            return Err(i.unsupported("a negated operand is not"));
        }
        let (a, b) = (a.predicate.slot as usize, b.predicate.slot as usize);
        return Ok(Op::Compute(Box::new(move |file: &mut File, active: Mask| {
            let lanes = f(u64::from(file.predicates[a]), u64::from(file.predicates[b])) as Mask;
            file.write_predicate(d, lanes, active);
        })));
    }
    // The function is known where each of these is compiled only after inlining; a match keeps
    // the loops over lanes free of calls.
    let [and, or] = [f(1, 0) == 0, f(1, 1) == 1];
    pair(i, |d, s| {
        each!(ty, T => match (and, or) {
            (true, _) => binary(d, s, |a: T, b: T| a & b),
            (false, true) => binary(d, s, |a: T, b: T| a | b),
            (false, false) => binary(d, s, |a: T, b: T| a ^ b),
        })
    })
}

fn not(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    if ty == Type::Pred {
        let (d, a) = (i.target(0, Class::Predicate)?, i.condition(1)?);
        let (slot, flip) = (a.predicate.slot as usize, if a.negated { 0 } else { Mask::MAX });
        return Ok(Op::Compute(Box::new(move |file: &mut File, active: Mask| {
            let lanes = file.predicates[slot] ^ flip;
            file.write_predicate(d, lanes, active);
        })));
    }
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(each!(ty, T => unary(d, a, |a: T| !a))))
}

fn cnot(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(each!(ty, T => unary(d, a, |a: T| T::from(a == 0)))))
}

/// Amounts are words, and those above the width count as the width.
fn shl(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, s) = (i.target(0, ty.class())?, [i.source(1, ty)?, i.source(2, Type::U32)?]);
    Ok(Op::Compute(each!(ty, T => binary(d, s, |a: T, b: u32| a.checked_shl(b).unwrap_or(0)))))
}

fn shr(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, s) = (i.target(0, ty.class())?, [i.source(1, ty)?, i.source(2, Type::U32)?]);
    // A signed number that is shifted out leaves copies of its sign.
    Ok(Op::Compute(each!(ty, T => binary(d, s, move |a: T, b: u32| {
        a.checked_shr(b).unwrap_or(if ty.is_signed() { a >> (T::BITS - 1) } else { 0 })
    }))))
}
