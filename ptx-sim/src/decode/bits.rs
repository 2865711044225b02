//! Bits counted, found, moved and mixed (PTX ISA, "Integer Arithmetic Instructions", "Logic and
//! Shift Instructions", "Data Movement: prmt").

use super::builder::Builder;
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind::Integer;
use crate::error::LoadError;
use crate::kernel::lanes::{quaternary, ternary, unary};
use crate::kernel::op::Op;
use crate::text::registers::Class;

macro_rules! signature {
    ($name:literal, $modifiers:literal, $types:literal, $operands:literal, $build:expr) => {
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
    signature!("popc", "", "b32 b64", 2, |i| counted(i, u32::count_ones, u64::count_ones)),
    signature!("clz", "", "b32 b64", 2, |i| counted(i, u32::leading_zeros, u64::leading_zeros)),
    signature!("brev", "", "b32 b64", 2, reverse),
    signature!("bfind", "shiftamt?", "u32 u64 s32 s64", 2, find),
    signature!("bfe", "", "u32 u64 s32 s64", 4, extract),
    signature!("bfi", "", "b32 b64", 5, insert),
    signature!("shf", "l|r wrap|clamp", "b32", 4, funnel),
    signature!("prmt", "", "b32", 4, permute),
    signature!("lop3", "", "b32", 5, lookup),
    signature!("sad", "", "u32 s32", 4, difference),
];

type Built = Result<Op, LoadError>;

fn counted(i: &mut Builder<'_, '_>, narrow: fn(u32) -> u32, wide: fn(u64) -> u32) -> Built {
    let ty = i.ty();
    let (d, a) = (i.target(0, Class::Word)?, i.source(1, ty)?);
    Ok(Op::Compute(if ty == Type::B32 { unary(d, a, narrow) } else { unary(d, a, wide) }))
}

fn reverse(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    Ok(Op::Compute(if ty == Type::B32 {
        unary(d, a, u32::reverse_bits)
    } else {
        unary(d, a, u64::reverse_bits)
    }))
}

/// The place of the highest bit that differs from the sign; all ones if there is none.
fn find(i: &mut Builder<'_, '_>) -> Built {
    let (ty, shift) = (i.ty(), i.has("shiftamt"));
    let (d, a) = (i.target(0, Class::Word)?, i.source(1, ty)?);
    Ok(Op::Compute(unary_wide(ty, d, a, move |a: u64| {
        let bits = ty.bits();
        let plain =
            if ty.is_signed() && a >> (bits - 1) & 1 == 1 { !a & (u64::MAX >> (64 - bits)) } else { a };
        match plain.checked_ilog2() {
            None => u32::MAX,
            Some(place) if shift => bits - 1 - place,
            Some(place) => place,
        }
    })))
}

/// A function of 64 bits on a value of either width.
fn unary_wide(
    ty: Type,
    d: u32,
    a: u32,
    f: impl Fn(u64) -> u32 + Send + Sync + 'static,
) -> crate::kernel::lanes::Compute {
    match ty.class() {
        Class::Wide => unary(d, a, f),
        _ => unary(d, a, move |a: u32| f(u64::from(a))),
    }
}

/// `length` bits from `start` on, extended by the sign, which is the highest bit extracted or,
/// where the field reaches past the top, that of `a`.
fn field(a: u64, start: u32, length: u32, bits: u32, signed: bool) -> u64 {
    let (start, length) = (start & 0xff, length & 0xff);
    let top = bits - 1;
    let sign_at = start.saturating_add(length).saturating_sub(1).min(top);
    let sign = signed && length != 0 && a >> sign_at & 1 == 1;
    let shifted = a.checked_shr(start).filter(|_| start < bits).unwrap_or(0);
    let kept = length.min(bits.saturating_sub(start));
    let low = if kept >= 64 { shifted } else { shifted & ((1 << kept) - 1) };
    if sign { low | u64::MAX.checked_shl(kept).unwrap_or(0) } else { low }
}

fn extract(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (bits, signed) = (ty.bits(), ty.is_signed());
    let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
    let [start, length] = i.sources(2, Type::U32)?;
    let s = [a, start, length];
    Ok(Op::Compute(match ty.class() {
        Class::Wide => ternary(d, s, move |a: u64, b: u32, c: u32| field(a, b, c, bits, signed)),
        _ => ternary(d, s, move |a: u32, b: u32, c: u32| field(u64::from(a), b, c, bits, signed) as u32),
    }))
}

/// `b` with `length` bits of `a` in it from `start` on.
fn inserted(a: u64, b: u64, start: u32, length: u32, bits: u32) -> u64 {
    let (start, length) = (start & 0xff, length & 0xff);
    if start >= bits || length == 0 {
        return b;
    }
    let mask = (u64::MAX >> (64 - length.min(64))) << start;
    b & !mask | a << start & mask
}

fn insert(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let d = i.target(0, ty.class())?;
    let [a, b] = i.sources(1, ty)?;
    let [start, length] = i.sources(3, Type::U32)?;
    let s = [a, b, start, length];
    Ok(Op::Compute(match ty.class() {
        Class::Wide => quaternary(d, s, |a: u64, b: u64, c: u32, d: u32| inserted(a, b, c, d, 64)),
        _ => quaternary(d, s, |a: u32, b: u32, c: u32, d: u32| {
            inserted(u64::from(a), u64::from(b), c, d, 32) as u32
        }),
    }))
}

/// 32 bits out of 64: `a` low, `b` high.
fn funnel(i: &mut Builder<'_, '_>) -> Built {
    let (left, wrap) = (i.has("l"), i.has("wrap"));
    let (d, s) = (i.target(0, Class::Word)?, i.sources(1, Type::B32)?);
    Ok(Op::Compute(ternary(d, s, move |a: u32, b: u32, c: u32| {
        let both = u64::from(a) | u64::from(b) << 32;
        let amount = if wrap { c & 31 } else { c.min(32) };
        if left { (both << amount >> 32) as u32 } else { (both >> amount) as u32 }
    })))
}

/// Each byte of the result is one of the eight of `a` and `b`, or copies of its sign.
fn permute(i: &mut Builder<'_, '_>) -> Built {
    let (d, s) = (i.target(0, Class::Word)?, i.sources(1, Type::B32)?);
    Ok(Op::Compute(ternary(d, s, |a: u32, b: u32, c: u32| {
        let bytes = (u64::from(a) | u64::from(b) << 32).to_le_bytes();
        u32::from_le_bytes(std::array::from_fn(|at| {
            let selector = c >> (4 * at) & 0xf;
            let byte = bytes[(selector & 7) as usize];
            if selector & 8 == 0 { byte } else { (byte as i8 >> 7) as u8 }
        }))
    })))
}

/// Any function of three bits: bit `4a + 2b + c` of the table.
fn lookup(i: &mut Builder<'_, '_>) -> Built {
    let table = i.number(4, 255)?;
    let (d, s) = (i.target(0, Class::Word)?, i.sources(1, Type::B32)?);
    Ok(Op::Compute(ternary(d, s, move |a: u32, b: u32, c: u32| {
        (0..8u32).filter(|bit| table >> bit & 1 == 1).fold(0, |result, bit| {
            let pick = |word: u32, wanted: bool| if wanted { word } else { !word };
            result | pick(a, bit & 4 != 0) & pick(b, bit & 2 != 0) & pick(c, bit & 1 != 0)
        })
    })))
}

/// `c + |a - b|`.
fn difference(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, s) = (i.target(0, Class::Word)?, i.sources(1, ty)?);
    Ok(Op::Compute(if ty == Type::S32 {
        ternary(d, s, |a: i32, b: i32, c: u32| a.abs_diff(b).wrapping_add(c))
    } else {
        ternary(d, s, |a: u32, b: u32, c: u32| a.abs_diff(b).wrapping_add(c))
    }))
}
