//! Comparisons and selections (PTX ISA, "Comparison and Selection Instructions").

use super::builder::{Builder, shown};
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind::Compare;
use crate::error::LoadError;
use crate::kernel::file::{File, Mask, Raw, Row};
use crate::kernel::lanes::{Compute, Value, select, test};
use crate::kernel::op::Op;
use crate::number::half::{Bf16, F16, Half, flush};
use crate::number::single;
use crate::text::operand::Operand;
use crate::text::registers::{Class, Register};

const INTEGER_TESTS: &str = "eq|ne|lt|le|gt|ge|lo|ls|hi|hs and|or|xor?";
const FLOAT_TESTS: &str = "eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan and|or|xor? ftz?";
const BITS_TESTS: &str = "eq|ne and|or|xor?";
const INTEGERS: &str = "u16 u32 u64 s16 s32 s64";

macro_rules! signature {
    ($name:literal, $modifiers:expr, $types:expr, $from:expr, $operands:expr, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: $from,
            operands: $operands,
            kind: Compare,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!("setp", BITS_TESTS, "b16 b32 b64", "", (3, 4), setp),
    signature!("setp", INTEGER_TESTS, INTEGERS, "", (3, 4), setp),
    signature!("setp", FLOAT_TESTS, "f16 bf16 f32 f64", "", (3, 4), setp),
    signature!("set", BITS_TESTS, "u32 s32 f32", "b16 b32 b64", (3, 4), set),
    signature!("set", INTEGER_TESTS, "u32 s32 f32", INTEGERS, (3, 4), set),
    signature!("set", FLOAT_TESTS, "u32 s32 f32", "f16 bf16 f32 f64", (3, 4), set),
    signature!("selp", "", "b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64", "", (4, 4), selp),
];

type Built = Result<Op, LoadError>;
type Test = Box<dyn Fn(&File) -> Mask + Send + Sync>;

/// The same test for every integer comparison, each with a loop of its own.
macro_rules! integers {
    ($i:expr, $s:expr, $T:ty) => {{
        let s = $s;
        match $i.opcode.modifiers.first().copied().unwrap_or_default() {
            "eq" => test(s, |a: $T, b: $T| a == b),
            "ne" => test(s, |a: $T, b: $T| a != b),
            "lt" | "lo" => test(s, |a: $T, b: $T| a < b),
            "le" | "ls" => test(s, |a: $T, b: $T| a <= b),
            "gt" | "hi" => test(s, |a: $T, b: $T| a > b),
            _ => test(s, |a: $T, b: $T| a >= b),
        }
    }};
}

/// The comparison that an instruction makes of operands `first` and the next.
fn comparison(i: &mut Builder<'_, '_>, ty: Type, first: usize) -> Result<Test, LoadError> {
    let s = i.sources(first, ty)?;
    let ftz = i.has("ftz");
    if ty.is_signed() && ["lo", "ls", "hi", "hs"].into_iter().any(|word| i.has(word)) {
        return Err(i.unsupported("an unsigned comparison of signed numbers is not"));
    }
    Ok(match ty {
        Type::B16 | Type::U16 => integers!(i, s, u16),
        Type::S16 => integers!(i, s, i16),
        Type::B32 | Type::U32 => integers!(i, s, u32),
        Type::S32 => integers!(i, s, i32),
        Type::B64 | Type::U64 => integers!(i, s, u64),
        Type::S64 => integers!(i, s, i64),
        Type::F32 if ftz => floats(i, s, |a: f32| f64::from(single::flush(a))),
        Type::F32 => floats(i, s, |a: f32| f64::from(a)),
        Type::F16 if ftz => floats(i, s, |a: u16| f64::from(F16::to_f32(flush::<F16>(a)))),
        Type::F16 => floats(i, s, |a: u16| f64::from(F16::to_f32(a))),
        Type::Bf16 => floats(i, s, |a: u16| f64::from(Bf16::to_f32(a))),
        _ => floats(i, s, |a: f64| a),
    })
}

/// Every float becomes an `f64` first, which changes no comparison.
fn floats<T: Value>(
    i: &Builder<'_, '_>,
    s: [u32; 2],
    f: impl Fn(T) -> f64 + Copy + Send + Sync + 'static,
) -> Test {
    let unordered = |a: f64, b: f64| a.is_nan() || b.is_nan();
    match i.opcode.modifiers.first().copied().unwrap_or_default() {
        "eq" => test(s, move |a, b| f(a) == f(b)),
        "ne" => test(s, move |a, b| f(a) < f(b) || f(a) > f(b)),
        "lt" => test(s, move |a, b| f(a) < f(b)),
        "le" => test(s, move |a, b| f(a) <= f(b)),
        "gt" => test(s, move |a, b| f(a) > f(b)),
        "ge" => test(s, move |a, b| f(a) >= f(b)),
        "equ" => test(s, move |a, b| f(a) == f(b) || unordered(f(a), f(b))),
        "neu" => test(s, move |a, b| f(a) != f(b)),
        "ltu" => test(s, move |a, b| f(a) < f(b) || unordered(f(a), f(b))),
        "leu" => test(s, move |a, b| f(a) <= f(b) || unordered(f(a), f(b))),
        "gtu" => test(s, move |a, b| f(a) > f(b) || unordered(f(a), f(b))),
        "geu" => test(s, move |a, b| f(a) >= f(b) || unordered(f(a), f(b))),
        "num" => test(s, move |a, b| !unordered(f(a), f(b))),
        _ => test(s, move |a, b| unordered(f(a), f(b))),
    }
}

/// How `.and`, `.or` and `.xor` combine a result with a predicate; without them it stays.
fn combination(
    i: &mut Builder<'_, '_>,
) -> Result<impl Fn(&File, Mask) -> Mask + Send + Sync + 'static, LoadError> {
    let how = ["and", "or", "xor"].into_iter().find(|how| i.has(how));
    let guard = match (how, i.count()) {
        (Some(_), 4) => Some(i.condition(3)?),
        (None, 3) => None,
        (Some(_), _) => return Err(i.wrong("a predicate to combine with", "none")),
        (None, _) => return Err(i.wrong("3 operands", "4")),
    };
    Ok(move |file: &File, lanes: Mask| {
        let Some(guard) = guard else { return lanes };
        let other =
            file.predicates[guard.predicate.slot as usize] ^ if guard.negated { Mask::MAX } else { 0 };
        match how {
            Some("and") => lanes & other,
            Some("or") => lanes | other,
            _ => lanes ^ other,
        }
    })
}

fn setp(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let compare = comparison(i, ty, 1)?;
    let combine = combination(i)?;
    let targets: [Option<Register>; 2] = match i.operand(0)? {
        Operand::Pair(pair) => {
            let [yes, no] = &**pair;
            [Some(i.target_of(yes, Class::Predicate)?), Some(i.target_of(no, Class::Predicate)?)]
        }
        Operand::Register(register) => {
            [Some(i.target_of(&Operand::Register(*register), Class::Predicate)?), None]
        }
        other => return Err(i.wrong("a predicate", shown(other))),
    };
    let [yes, no] = targets.map(|target| target.map(|register| register.slot));
    Ok(Op::Compute(Box::new(move |file, active| {
        let lanes = compare(file);
        // Both results are combined with the predicate as it was.
        let (first, second) = (combine(file, lanes), combine(file, !lanes));
        if let Some(yes) = yes {
            file.write_predicate(yes, first, active);
        }
        if let Some(no) = no {
            file.write_predicate(no, second, active);
        }
    })))
}

/// All ones, or 1.0, where the comparison holds, else zero.
fn set(i: &mut Builder<'_, '_>) -> Built {
    let (to, from) = (i.ty(), i.from());
    let d = i.target(0, Class::Word)?;
    let compare = comparison(i, from, 1)?;
    let combine = combination(i)?;
    let yes = if to == Type::F32 { 1f32.to_bits() } else { u32::MAX };
    Ok(Op::Compute(Box::new(move |file, active| {
        let lanes = combine(file, compare(file));
        let row: Row<u32> = std::array::from_fn(|lane| if lanes >> lane & 1 == 1 { yes } else { 0 });
        file.write(d, &row, active);
    })))
}

fn selp(i: &mut Builder<'_, '_>) -> Built {
    let ty = i.ty();
    let (d, s) = (i.target(0, ty.class())?, i.sources::<2>(1, ty)?);
    let p = i.condition(3)?;
    // `!%p` exchanges the two.
    let s = if p.negated { [s[1], s[0]] } else { s };
    fn of<R: Raw>(d: u32, s: [u32; 2], p: u32) -> Compute {
        select::<R>(d, s, p)
    }
    Ok(Op::Compute(match ty.class() {
        Class::Wide => of::<u64>(d, s, p.predicate.slot),
        _ => of::<u32>(d, s, p.predicate.slot),
    }))
}
