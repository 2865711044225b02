//! Loads, stores, copies and prefetches (PTX ISA, "Data Movement and Conversion Instructions").
//!
//! Cache hints are read and change nothing: they decide where data waits, not what it is.

use super::builder::{Builder, shown};
use super::signature::Signature;
use super::types::Type;
use crate::counts::InstructionKind;
use crate::error::LoadError;
use crate::kernel::op::{Access, CopyAsync, Op, Prefetch, PrefetchKind, Semantics, Space, StoreAsync};
use crate::text::literal::Literal;
use crate::text::operand::Operand;
use crate::text::registers::{Class, Register};

const DATA: &str = "b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64";
const LOAD_GLOBAL: &str = "weak|volatile|relaxed|acquire? cta|cluster|gpu|sys? global? nc? ca|cg|cs|lu|cv? \
    L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate? \
    L2::evict_normal|L2::evict_first|L2::evict_last? L2::cache_hint? L2::64B|L2::128B|L2::256B? v2|v4|v8?";
const STORE_GLOBAL: &str = "weak|volatile|relaxed|release? cta|cluster|gpu|sys? global? wb|cg|cs|wt? \
    L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate? \
    L2::evict_normal|L2::evict_first|L2::evict_last? L2::cache_hint? v2|v4|v8?";
const SHARED: &str = "shared|shared::cta|shared::cluster weak|volatile|relaxed|acquire|release? \
    cta|cluster|gpu|sys? v2|v4?";

macro_rules! signature {
    ($kind:ident, $name:literal, $modifiers:expr, $types:expr, $operands:expr, $build:expr) => {
        Signature {
            name: $name,
            modifiers: $modifiers,
            types: $types,
            from: "",
            operands: $operands,
            kind: InstructionKind::$kind,
            build: $build,
        }
    };
}

pub const SIGNATURES: &[Signature] = &[
    signature!(Param, "ld", "param|param::entry v2|v4?", DATA, (2, 2), load),
    signature!(Shared, "ld", SHARED, DATA, (2, 2), load),
    signature!(Local, "ld", "local ca|cg|cs|lu|cv? v2|v4?", DATA, (2, 2), load),
    signature!(Global, "ld", "const v2|v4?", DATA, (2, 2), load),
    signature!(Global, "ld", LOAD_GLOBAL, DATA, (2, 3), load),
    signature!(Global, "ldu", "global? v2|v4?", DATA, (2, 2), load),
    signature!(Shared, "st", SHARED, DATA, (2, 2), store),
    signature!(Local, "st", "local wb|cg|cs|wt? v2|v4?", DATA, (2, 2), store),
    signature!(
        Shared,
        "st",
        "async weak? shared::cluster? mbarrier::complete_tx::bytes v2|v4?",
        "b32 b64 u32 u64 s32 s64 f32 f64",
        (3, 3),
        store_async
    ),
    signature!(Global, "st", STORE_GLOBAL, DATA, (2, 3), store),
    signature!(
        CopyAsync,
        "cp",
        "async ca|cg shared|shared::cta global L2::cache_hint? L2::64B|L2::128B|L2::256B?",
        "",
        (3, 5),
        copy
    ),
    signature!(CopyAsync, "cp", "async commit_group", "", (0, 0), |_| Ok(Op::CommitCopies)),
    signature!(CopyAsync, "cp", "async wait_group", "", (1, 1), |i| Ok(Op::WaitCopies(Some(
        i.number(0, 1 << 16)?
    )))),
    signature!(CopyAsync, "cp", "async wait_all", "", (0, 0), |_| Ok(Op::WaitCopies(None))),
    signature!(Prefetch, "cp", "async bulk prefetch L2 global L2::cache_hint?", "", (2, 3), prefetch_bulk),
    signature!(Prefetch, "prefetch", "global|local? L1|L2", "", (1, 1), prefetch),
    signature!(Prefetch, "prefetch", "global L2::evict_last|L2::evict_normal", "", (1, 1), prefetch),
    signature!(Prefetch, "prefetchu", "L1", "", (1, 1), prefetch),
    signature!(Prefetch, "applypriority", "global? L2::evict_normal", "", (2, 2), priority),
    signature!(
        Prefetch,
        "createpolicy",
        "fractional L2::evict_last|L2::evict_normal|L2::evict_first|L2::evict_unchanged L2::evict_first|L2::evict_unchanged?",
        "b64",
        (1, 2),
        policy
    ),
];

type Built = Result<Op, LoadError>;

pub fn space(i: &Builder<'_, '_>) -> Space {
    match () {
        _ if i.has("global") => Space::Global,
        _ if i.has("const") => Space::Constant,
        _ if i.has("shared::cluster") => Space::Cluster,
        _ if i.has("shared") || i.has("shared::cta") => Space::Shared,
        _ if i.has("local") => Space::Local,
        _ if i.has("param") || i.has("param::entry") => Space::Param,
        _ => Space::Generic,
    }
}

fn load(i: &mut Builder<'_, '_>) -> Built {
    access(i, 0, 1, true).map(Op::Load)
}

fn store(i: &mut Builder<'_, '_>) -> Built {
    access(i, 1, 0, false).map(Op::Store)
}

/// `st.async [shared], data, [mbarrier]`.
fn store_async(i: &mut Builder<'_, '_>) -> Built {
    let space = space(i);
    let barrier = i.place(2, space)?;
    Ok(Op::StoreAsync(StoreAsync { access: access(i, 1, 0, false)?, barrier }))
}

fn access(i: &mut Builder<'_, '_>, data: usize, address: usize, loads: bool) -> Result<Access, LoadError> {
    let ty = i.ty();
    let space = space(i);
    if i.count() == 3 && !i.has("L2::cache_hint") && !i.has("async") {
        return Err(i.wrong("2 operands without .L2::cache_hint", "3"));
    }
    if i.has("L2::cache_hint") && i.count() == 3 {
        i.source(2, Type::B64)?;
    }
    let place = i.place(address, space)?;
    let elements = match i.operand(data)? {
        Operand::Vector(elements) => &elements[..],
        single => std::slice::from_ref(single),
    };
    let expected = match () {
        _ if i.has("v2") => 2,
        _ if i.has("v4") => 4,
        _ if i.has("v8") => 8,
        _ => 1,
    };
    if elements.len() != expected || expected as u32 * ty.bits() > 256 {
        return Err(i.wrong(format!("{expected} registers of at most 32 bytes"), elements.len().to_string()));
    }
    let mut registers = Vec::with_capacity(expected);
    for element in elements {
        registers.push(match element {
            Operand::Sink if loads => None,
            // Registers may be wider than what is moved.
            Operand::Register(Register { class, .. })
                if *class != Class::Predicate && *class >= ty.class() =>
            {
                Some(if loads { i.target_of(element, *class)? } else { i.source_of(element, ty, *class)? })
            }
            _ if !loads => Some(i.source_of(element, ty, ty.class())?),
            other => return Err(i.wrong(ty.class().name(), shown(other))),
        });
    }
    let semantics = match () {
        _ if i.has("nc") || i.opcode.name == "ldu" => Semantics::NonCoherent,
        _ if i.has("acquire") && i.has("sys") => Semantics::Acquire,
        _ if i.has("release") && i.has("sys") => Semantics::Release,
        _ if i.has("relaxed") && i.has("sys") || i.has("volatile") => Semantics::System,
        _ if ["relaxed", "acquire", "release"].into_iter().any(|word| i.has(word)) => Semantics::Strong,
        _ => Semantics::Weak,
    };
    Ok(Access {
        space,
        place,
        size: ty.bits() / 8,
        signed: ty.is_signed(),
        registers: registers.into(),
        semantics,
    })
}

/// `cp.async [shared], [global], size{, bytes read or predicate to read none}{, hint}`.
fn copy(i: &mut Builder<'_, '_>) -> Built {
    let size = i.number(2, 16)?;
    if !matches!(size, 4 | 8 | 16) || i.has("cg") && size != 16 {
        return Err(i.wrong("4, 8 or 16 bytes, and 16 with .cg", size.to_string()));
    }
    let (target, source) = (i.place(0, Space::Shared)?, i.place(1, Space::Global)?);
    let (mut source_size, mut ignore) = (None, None);
    let hint = usize::from(i.has("L2::cache_hint"));
    if hint == 1 {
        let last = i.count() - 1;
        i.source(last, Type::B64)?;
    }
    if i.count() - hint == 4 {
        match i.operand(3)? {
            Operand::Register(Register { class: Class::Predicate, .. }) | Operand::Not(_) => {
                ignore = Some(i.condition(3)?);
            }
            _ => source_size = Some(i.source(3, Type::U32)?),
        }
    }
    Ok(Op::CopyAsync(CopyAsync { target, source, size, source_size, ignore }))
}

/// `prefetch [address]`.
fn prefetch(i: &mut Builder<'_, '_>) -> Built {
    let space = space(i);
    Ok(Op::Prefetch(Prefetch { space, place: i.place(0, space)?, kind: PrefetchKind::Line }))
}

/// `cp.async.bulk.prefetch.L2.global [address], bytes{, hint}`.
fn prefetch_bulk(i: &mut Builder<'_, '_>) -> Built {
    if i.has("L2::cache_hint") != (i.count() == 3) {
        return Err(i.wrong("a third operand with .L2::cache_hint alone", i.count().to_string()));
    }
    if i.count() == 3 {
        i.source(2, Type::B64)?;
    }
    let space = space(i);
    let (place, bytes) = (i.place(0, space)?, i.source(1, Type::U32)?);
    Ok(Op::Prefetch(Prefetch { space, place, kind: PrefetchKind::Bulk { bytes } }))
}

/// `applypriority{.global}.L2::evict_normal [address], 128`.
fn priority(i: &mut Builder<'_, '_>) -> Built {
    match i.operand(1)? {
        Operand::Literal(Literal::Integer(128)) => {}
        other => return Err(i.wrong("128 bytes, the only size there is", shown(other))),
    }
    let space = space(i);
    Ok(Op::Prefetch(Prefetch { space, place: i.place(0, space)?, kind: PrefetchKind::Priority }))
}

/// A cache policy: an opaque number.
fn policy(i: &mut Builder<'_, '_>) -> Built {
    let d = i.target(0, Class::Wide)?;
    Ok(Op::Compute(Box::new(move |file, active| file.write(d, &[0u64; 32], active))))
}
