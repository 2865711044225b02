//! Moves, packing and addresses (PTX ISA, "Data Movement and Conversion Instructions").

use super::builder::{Builder, shown};
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind::Move;
use crate::error::LoadError;
use crate::kernel::file::{File, Mask, Raw, Row};
use crate::kernel::lanes::{Compute, binary, unary};
use crate::kernel::op::Op;
use crate::memory::address;
use crate::text::literal::Literal;
use crate::text::operand::Operand;
use crate::text::registers::{Class, Register};

macro_rules! signature {
    ($name:literal, $modifiers:literal, $types:literal, $from:literal, $operands:literal, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: $from,
            operands: ($operands, $operands),
            kind: Move,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!("mov", "", "pred b16 b32 b64 u16 u32 u64 s16 s32 s64 f16 bf16 f32 f64", "", 2, mov),
    signature!("cvta", "to? global|const|param|local", "u64", "", 2, cvta),
    signature!("cvta", "to? shared|shared::cta|shared::cluster", "u64", "", 2, cvta),
    signature!("mapa", "shared::cluster?", "u32 u64", "", 3, mapa),
    signature!("isspacep", "global|const|local|shared|shared::cta|shared::cluster", "", "", 2, isspacep),
];

type Built = Result<Op, LoadError>;

fn mov(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    match (i.operand(0)?, i.operand(1)?) {
        (Operand::Vector(elements), _) => unpack(i, ty, elements),
        (_, Operand::Vector(elements)) => pack(i, ty, elements),
        // It has another value each time, unlike other special registers.
        (_, &Operand::Name("%globaltimer", 0)) if ty.class() == Class::Wide => {
            Ok(Op::Timer { target: i.target(0, Class::Wide)? })
        }
        // PTX ISA, "Predicate Constants": zero is false, every other integer true.
        (_, &Operand::Literal(Literal::Integer(constant))) if ty == Type::Pred => {
            let (d, lanes) = (i.target(0, Class::Predicate)?, if constant == 0 { 0 } else { Mask::MAX });
            Ok(Op::Compute(Box::new(move |file: &mut File, active: Mask| {
                file.write_predicate(d, lanes, active);
            })))
        }
        _ if ty == Type::Pred => {
            let (d, a) = (i.target(0, Class::Predicate)?, i.condition(1)?.predicate.slot as usize);
            Ok(Op::Compute(Box::new(move |file: &mut File, active: Mask| {
                let lanes = file.predicates[a];
                file.write_predicate(d, lanes, active);
            })))
        }
        _ => {
            let (d, a) = (i.target(0, ty.class())?, i.source(1, ty)?);
            Ok(Op::Compute(match ty.class() {
                Class::Wide => unary(d, a, |a: u64| a),
                _ => unary(d, a, |a: u32| a),
            }))
        }
    }
}

/// The class of the parts of a value: halves of a word, halves or quarters of a wide.
fn part_class(i: &Builder<'_, '_>, ty: Type, parts: usize) -> Result<Class, LoadError> {
    match (ty.class(), parts) {
        (Class::Word, 2) | (Class::Wide, 4) => Ok(Class::Half),
        (Class::Wide, 2) => Ok(Class::Word),
        _ => Err(i.wrong("two halves, or four quarters of 64 bits", format!("{parts} parts"))),
    }
}

/// `{low, high} = a`; `_` drops a part.
fn unpack<'a>(i: &mut Builder<'_, 'a>, ty: Type, elements: &[Operand<'a>]) -> Built {
    let class = part_class(i, ty, elements.len())?;
    let a = i.source(1, ty)?;
    let mut parts = Vec::new();
    for (at, element) in elements.iter().enumerate() {
        if *element != Operand::Sink {
            parts
                .push((i.target_of(element, class)?, at as u32 * if class == Class::Half { 16 } else { 32 }));
        }
    }
    let part = |d: Register, shift: u32| -> Compute {
        match (ty.class(), class) {
            (Class::Word, _) => unary(d.slot, a, move |a: u32| (a >> shift) as u16),
            (_, Class::Half) => unary(d.slot, a, move |a: u64| (a >> shift) as u16),
            (_, _) => unary(d.slot, a, move |a: u64| (a >> shift) as u32),
        }
    };
    if let [(d, shift)] = parts[..] {
        return Ok(Op::Compute(part(d, shift)));
    }
    let parts: Vec<Compute> = parts.into_iter().map(|(d, shift)| part(d, shift)).collect();
    Ok(Op::Compute(Box::new(move |file, active| parts.iter().for_each(|part| part(file, active)))))
}

/// `d = {low, high}`.
fn pack<'a>(i: &mut Builder<'_, 'a>, ty: Type, elements: &[Operand<'a>]) -> Built {
    let class = part_class(i, ty, elements.len())?;
    let part = if class == Class::Half { Type::B16 } else { Type::B32 };
    let d = i.target(0, ty.class())?;
    let mut slots = Vec::new();
    for element in elements {
        slots.push(i.source_of(element, part, class)?.slot);
    }
    Ok(Op::Compute(match (ty.class(), slots[..].as_ref()) {
        (Class::Word, &[low, high]) => binary(d, [low, high], |low: u16, high: u16| [low, high]),
        (_, &[low, high]) => binary(d, [low, high], |low: u32, high: u32| [low, high]),
        _ => Box::new(move |file, active| {
            let mut row: Row<u64> = Row::default();
            for (at, slot) in slots.iter().enumerate() {
                let part = u32::row(file, *slot);
                for (value, part) in row.iter_mut().zip(part) {
                    *value |= u64::from(*part as u16) << (16 * at);
                }
            }
            file.write(d, &row, active);
        }),
    }))
}

/// The window of generic addresses that a space has.
fn window(i: &Builder<'_, '_>) -> Option<u64> {
    if i.has("local") {
        Some(address::LOCAL)
    } else if i.has("param") {
        Some(address::PARAM)
    } else if i.has("shared") || i.has("shared::cta") || i.has("shared::cluster") {
        Some(address::SHARED)
    } else {
        None
    }
}

/// Between addresses of a space and generic ones.
fn cvta(i: &mut Builder<'_, '_>) -> Built {
    let (window, to) = (window(i).unwrap_or(0), i.has("to"));
    let (d, a) = (i.target(0, Class::Wide)?, i.source(1, Type::U64)?);
    Ok(Op::Compute(if to {
        unary(d, a, move |a: u64| a.wrapping_sub(window))
    } else {
        unary(d, a, move |a: u64| a.wrapping_add(window))
    }))
}

/// The address of the same place in another block of the cluster.
fn mapa(i: &mut Builder<'_, '_>) -> Built {
    let (ty, cluster) = (i.ty(), i.has("shared::cluster"));
    let d = i.target(0, ty.class())?;
    let s = [i.source(1, ty)?, i.source(2, Type::U32)?];
    Ok(Op::Compute(match (ty, cluster) {
        (Type::U32, _) => binary(d, s, |a: u32, rank: u32| address::in_block(u64::from(a), rank) as u32),
        (_, true) => binary(d, s, address::in_block),
        (_, false) => binary(d, s, |a: u64, rank: u32| {
            address::in_block(a.wrapping_sub(address::SHARED), rank).wrapping_add(address::SHARED)
        }),
    }))
}

fn isspacep(i: &mut Builder<'_, '_>) -> Built {
    if i.has("const") {
        return Err(
            i.unsupported("constant memory shares generic addresses with global memory here, so .const")
        );
    }
    let wanted = window(i);
    let block = i.has("shared") || i.has("shared::cta");
    let d = match i.operand(0)? {
        Operand::Register(register) if register.class == Class::Predicate => i.target(0, Class::Predicate)?,
        other => return Err(i.wrong("a predicate", shown(other))),
    };
    let a = i.source(1, Type::U64)?;
    Ok(Op::Compute(Box::new(move |file: &mut File, active: Mask| {
        let mut lanes = 0;
        for (lane, &a) in u64::row(file, a).iter().enumerate() {
            let found = address::window(a);
            let fits = match wanted {
                None => found.is_none(),
                Some(address::SHARED) if block => {
                    found == wanted && address::rank(a - address::SHARED).is_none()
                }
                Some(_) => found == wanted,
            };
            lanes |= Mask::from(fits) << lane;
        }
        file.write_predicate(d, lanes, active);
    })))
}
