//! The small changes that are planted: each operator's, of one statement of a kernel.

use std::ops::Range;

use super::statement::{Statement, is_register, prefix};

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// Another operation: `add` for `sub`, `min` for `max`, `shl` for `shr`; a `fma` without its sum.
    Arithmetic,
    /// Another comparison of `setp`, or the operands of `selp` exchanged.
    Comparison,
    /// Another direction of rounding.
    Rounding,
    /// A signed type for an unsigned one.
    Sign,
    /// An integer constant off by one, a float with another exponent or last bit.
    Constant,
    /// Another register of the same type as a source, or two sources exchanged.
    Register,
    /// A special register of another name.
    SpecialRegister,
    /// A guard inverted or left out.
    Guard,
    /// A branch left out, or to another label.
    Branch,
    /// A statement left out.
    Removal,
    /// A barrier left out, of fewer threads, or behind the next access.
    Barrier,
    /// Another manner, lane, clamp or mask of `shfl`.
    Shuffle,
    /// Another kind or mask of `vote`.
    Vote,
    /// An access of fewer bytes, or of fewer elements.
    Width,
    /// An address some bytes further.
    Offset,
    /// Two elements of a vector exchanged.
    VectorOrder,
    /// A load that becomes non-coherent.
    NonCoherent,
    /// `griddepcontrol.wait` left out or behind the next access.
    DependentLaunch,
    /// An mbarrier's count, bytes or phase; a rank of the cluster.
    Mbarrier,
    /// A cache hint, a prefetch or what lets the next kernel start early: of no effect on results.
    Hint,
    /// A release or an acquire that is none, or for fewer threads than those of all devices; another clock. Kernels of groups alone
    /// have it, and others draw as they did before it was there.
    MemoryOrder,
}

impl Operator {
    pub const ALL: [Operator; 21] = [
        Operator::Arithmetic,
        Operator::Comparison,
        Operator::Rounding,
        Operator::Sign,
        Operator::Constant,
        Operator::Register,
        Operator::SpecialRegister,
        Operator::Guard,
        Operator::Branch,
        Operator::Removal,
        Operator::Barrier,
        Operator::Shuffle,
        Operator::Vote,
        Operator::Width,
        Operator::Offset,
        Operator::VectorOrder,
        Operator::NonCoherent,
        Operator::DependentLaunch,
        Operator::Mbarrier,
        Operator::Hint,
        Operator::MemoryOrder,
    ];

    /// Those of a kernel that meets no other device's.
    pub const OF_ONE_DEVICE: &[Operator] = Operator::ALL.split_at(20).0;

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Arithmetic => "arithmetic",
            Operator::Comparison => "comparison",
            Operator::Rounding => "rounding",
            Operator::Sign => "sign",
            Operator::Constant => "constant",
            Operator::Register => "register",
            Operator::SpecialRegister => "special register",
            Operator::Guard => "guard",
            Operator::Branch => "branch",
            Operator::Removal => "removal",
            Operator::Barrier => "barrier",
            Operator::Shuffle => "shuffle",
            Operator::Vote => "vote",
            Operator::Width => "width",
            Operator::Offset => "offset",
            Operator::VectorOrder => "vector order",
            Operator::NonCoherent => "non-coherent",
            Operator::DependentLaunch => "dependent launch",
            Operator::Mbarrier => "mbarrier",
            Operator::Hint => "hint",
            Operator::MemoryOrder => "memory order",
        }
    }

    /// Its changes of one statement of a kernel.
    pub fn changes(self, kernel: &[Statement], at: usize) -> Vec<Change> {
        let here = &kernel[at];
        let texts = match self {
            Operator::Arithmetic => arithmetic(here),
            Operator::Comparison => comparison(here),
            Operator::Rounding => rounding(here),
            Operator::Sign => sign(here),
            Operator::Constant => constant(here),
            Operator::Register => register(kernel, at),
            Operator::SpecialRegister => special_register(here),
            Operator::Guard => guard(here),
            Operator::Branch => branch(kernel, at),
            Operator::Removal => removal(here),
            Operator::Barrier => return barrier(kernel, at),
            Operator::Shuffle => shuffle(here),
            Operator::Vote => vote(here),
            Operator::Width => width(here),
            Operator::Offset => offset(here),
            Operator::VectorOrder => vector_order(here),
            Operator::NonCoherent => non_coherent(here),
            Operator::DependentLaunch => return dependent_launch(kernel, at),
            Operator::Mbarrier => mbarrier(here),
            Operator::Hint => hint(here),
            Operator::MemoryOrder => memory_order(here),
        };
        texts.into_iter().map(|text| Change::of(here, text)).collect()
    }
}

/// A text in place of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The statement's bytes in the module.
    pub span: Range<usize>,
    pub text: String,
    /// What is put in at a later byte, too.
    pub behind: Option<(usize, String)>,
}

impl Change {
    fn of(here: &Statement, text: String) -> Change {
        Change { span: here.span.clone(), text, behind: None }
    }

    /// The module with the change.
    pub fn in_module(&self, module: &str) -> String {
        let (at, behind) = self.behind.as_ref().map_or((self.span.end, ""), |(at, text)| (*at, text));
        let [before, between, after] =
            [&module[..self.span.start], &module[self.span.end..at], &module[at..]];
        format!("{before}{}{between}{behind}{after}", self.text)
    }
}

/// A statement that is left out, in its place: nothing but a comment.
const NOTHING: &str = "/* left out */";

/// The opcode with the part `from` replaced by each of `to`.
fn replaced(here: &Statement, from: &str, to: &[&str]) -> Vec<String> {
    let with = |to: &&str| {
        let parts: Vec<&str> =
            here.parts().into_iter().map(|part| if part == from { to } else { part }).collect();
        here.with_opcode(&parts.join("."))
    };
    if here.parts().contains(&from) { to.iter().map(with).collect() } else { Vec::new() }
}

fn arithmetic(here: &Statement) -> Vec<String> {
    let base = here.base();
    let others: &[&str] = match base {
        "add" => &["sub"],
        "sub" => &["add"],
        "min" => &["max"],
        "max" => &["min"],
        "and" => &["or", "xor"],
        "or" => &["and", "xor"],
        "shl" => &["shr"],
        "shr" => &["shl"],
        "neg" | "abs" => &["mov"],
        "rsqrt" => &["sqrt", "rcp"],
        _ => &[],
    };
    let mut texts = replaced(here, base, others);
    if base == "mul" && here.opcode.contains(".rn.") {
        texts.extend(replaced(here, "mul", &["add"]));
    }
    if matches!(base, "fma" | "mad") && here.operands.len() == 4 {
        texts.push(here.text(
            here.guard.as_deref(),
            &here.opcode.replacen(base, "mul", 1),
            &here.operands[..3],
        ));
    }
    if base == "sub" && here.operands.len() == 3 {
        let [to, a, b] = &here.operands[..] else { return texts };
        texts.push(here.with_operands(&[to.clone(), b.clone(), a.clone()]));
    }
    texts
}

fn comparison(here: &Statement) -> Vec<String> {
    if here.base() == "selp" && here.operands.len() == 4 {
        let [to, a, b, which] = &here.operands[..] else { return Vec::new() };
        return vec![here.with_operands(&[to.clone(), b.clone(), a.clone(), which.clone()])];
    }
    let parts = here.parts();
    let (Some(&"setp"), Some(&how)) = (parts.first(), parts.get(1)) else { return Vec::new() };
    let others: &[&str] = match how {
        "lt" => &["le", "gt", "ge", "eq"],
        "le" => &["lt", "gt", "ge"],
        "gt" => &["ge", "lt", "le"],
        "ge" => &["gt", "lt", "le", "eq"],
        "eq" => &["ne"],
        "ne" => &["eq"],
        "gtu" => &["gt", "leu"],
        "equ" => &["eq", "neu"],
        "neu" => &["ne", "equ"],
        _ => &[],
    };
    replaced(here, how, others)
}

fn rounding(here: &Statement) -> Vec<String> {
    replaced(here, "rn", &["rz", "rm", "rp"])
}

fn sign(here: &Statement) -> Vec<String> {
    if matches!(here.base(), "ld" | "st" | "mov") {
        return Vec::new();
    }
    let pairs = [("u32", "s32"), ("s32", "u32"), ("u64", "s64"), ("s64", "u64")];
    pairs.iter().flat_map(|&(from, to)| replaced(here, from, &[to])).collect()
}

/// The places of immediate operands and other values for each.
fn constant(here: &Statement) -> Vec<String> {
    let mut texts = Vec::new();
    // A shuffle's and a barrier's have operators of their own.
    if matches!(here.base(), "shfl" | "bar" | "barrier" | "vote" | "mbarrier" | "createpolicy") {
        return texts;
    }
    for (at, operand) in here.operands.iter().enumerate().skip(1) {
        if let Some(bits) = operand.strip_prefix("0f").and_then(|digits| u32::from_str_radix(digits, 16).ok())
        {
            for other in [bits ^ 1, bits ^ 0x0080_0000, bits ^ 0x8000_0000] {
                texts.push(here.with_operand(at, format!("0f{other:08X}")));
            }
        } else if let Some(digits) = operand.strip_prefix("0x") {
            let Ok(value) = u64::from_str_radix(digits, 16) else { continue };
            texts.push(here.with_operand(at, format!("{:#x}", value ^ 1)));
            texts.push(here.with_operand(at, format!("{:#x}", value ^ 0x10)));
        } else if let Ok(value) = operand.parse::<i64>() {
            for other in [value.wrapping_add(1), value.wrapping_sub(1)] {
                texts.push(here.with_operand(at, other.to_string()));
            }
        }
    }
    texts
}

/// Registers that are written shortly before, in place of a source of the same type; and sources exchanged where the order
/// matters.
fn register(kernel: &[Statement], at: usize) -> Vec<String> {
    let here = &kernel[at];
    let mut texts = Vec::new();
    let first = usize::from(here.base() != "st" && here.base() != "red");
    for (place, operand) in here.operands.iter().enumerate().skip(first) {
        let Some(letters) = prefix(operand) else { continue };
        let written = kernel[..at].iter().rev().take(16).filter_map(|before| before.operands.first());
        let others = written.filter(|other| prefix(other) == Some(letters) && *other != operand);
        texts.extend(others.take(3).map(|other| here.with_operand(place, other.clone())));
    }
    texts
}

fn special_register(here: &Statement) -> Vec<String> {
    const PAIRS: [(&str, &str); 13] = [
        ("%tid.x", "%tid.y"),
        ("%tid.y", "%tid.x"),
        ("%ntid.x", "%ntid.y"),
        ("%ntid.y", "%ntid.x"),
        ("%ntid.x", "%nctaid.x"),
        ("%ctaid.x", "%ctaid.y"),
        ("%ctaid.x", "%clusterid.x"),
        ("%nctaid.x", "%ntid.x"),
        ("%clusterid.x", "%ctaid.x"),
        ("%cluster_ctarank", "%cluster_nctarank"),
        ("%cluster_ctarank", "%ctaid.x"),
        ("%cluster_nctarank", "%cluster_ctarank"),
        ("%laneid", "%tid.x"),
    ];
    let Some(source) = here.operands.get(1) else { return Vec::new() };
    let others = PAIRS.iter().filter(|(from, _)| from == source);
    others.map(|&(_, to)| here.with_operand(1, to.to_owned())).collect()
}

/// The other guard: `@!%p1` of `@%p1`.
pub fn inverted(guard: &str) -> String {
    match guard.strip_prefix("@!") {
        Some(register) => format!("@{register}"),
        None => guard.replacen('@', "@!", 1),
    }
}

fn guard(here: &Statement) -> Vec<String> {
    let Some(guard) = &here.guard else { return Vec::new() };
    let inverted = inverted(guard);
    let text = |guard: Option<&str>| here.text(guard, &here.opcode, &here.operands);
    vec![text(Some(&inverted)), text(None)]
}

fn branch(kernel: &[Statement], at: usize) -> Vec<String> {
    let here = &kernel[at];
    if here.base() != "bra" {
        return Vec::new();
    }
    let labels =
        kernel.iter().filter(|other| other.base() == "bra").filter_map(|other| other.operands.first());
    let mut others: Vec<&String> = labels.filter(|label| **label != here.operands[0]).collect();
    others.sort();
    others.dedup();
    let mut texts = vec![NOTHING.to_owned()];
    texts.extend(others.into_iter().map(|label| here.with_operand(0, label.clone())));
    texts
}

fn removal(here: &Statement) -> Vec<String> {
    let has_own = ["bar", "barrier", "griddepcontrol", "bra", "prefetch", "discard"].contains(&here.base())
        || here.opcode.contains("prefetch")
        || here.opcode.starts_with("createpolicy");
    if has_own { Vec::new() } else { vec![NOTHING.to_owned()] }
}

/// The statement behind the next one of its block that accesses memory, of those that it is there for.
fn behind_next_access(kernel: &[Statement], at: usize, of: &str) -> Option<Change> {
    let here = &kernel[at];
    let mut later = kernel[at + 1..].iter().take_while(|other| other.block == here.block);
    let access = later.find(|other| other.is_access() && other.opcode.contains(of))?;
    let moved = format!(" {}", here.with_opcode(&here.opcode));
    Some(Change { behind: Some((access.span.end, moved)), ..Change::of(here, NOTHING.to_owned()) })
}

fn barrier(kernel: &[Statement], at: usize) -> Vec<Change> {
    let here = &kernel[at];
    let is_barrier = matches!(here.base(), "bar" | "barrier" | "fence")
        || here.opcode.starts_with("cp.async.wait")
        || here.opcode.starts_with("cp.async.commit");
    if !is_barrier {
        return Vec::new();
    }
    let mut changes = vec![Change::of(here, NOTHING.to_owned())];
    if here.opcode == "bar.sync" && here.operands.len() == 1 {
        let of_a_warp = here.with_operands(&[here.operands[0].clone(), "32".to_owned()]);
        changes.push(Change::of(here, of_a_warp));
    }
    changes.extend(behind_next_access(kernel, at, ""));
    changes
}

fn dependent_launch(kernel: &[Statement], at: usize) -> Vec<Change> {
    let here = &kernel[at];
    if here.opcode != "griddepcontrol.wait" {
        return Vec::new();
    }
    let left_out = Change::of(here, NOTHING.to_owned());
    [Some(left_out), behind_next_access(kernel, at, ".global")].into_iter().flatten().collect()
}

fn shuffle(here: &Statement) -> Vec<String> {
    if here.base() != "shfl" || here.operands.len() != 5 {
        return Vec::new();
    }
    let mut texts = replaced(here, "bfly", &["down", "up", "idx"]);
    if let Ok(lane) = here.operands[2].parse::<u32>() {
        for other in [lane ^ 1, lane * 2 % 32, lane / 2] {
            texts.push(here.with_operand(2, other.to_string()));
        }
    }
    texts.push(here.with_operand(3, "15".to_owned()));
    texts.push(here.with_operand(4, "65535".to_owned()));
    texts
}

fn vote(here: &Statement) -> Vec<String> {
    if here.base() != "vote" {
        return Vec::new();
    }
    let mut texts = replaced(here, "any", &["all", "uni"]);
    texts.push(here.with_operand(2, "65535".to_owned()));
    texts.push(here.text(here.guard.as_deref(), "mov.pred", &here.operands[..2]));
    texts
}

fn width(here: &Statement) -> Vec<String> {
    let mut texts = Vec::new();
    if here.opcode.starts_with("cp.async.ca.") || here.opcode.starts_with("cp.async.cg.") {
        let halved = here.operands.get(2).and_then(|bytes| bytes.parse::<u32>().ok()).map(|bytes| bytes / 2);
        texts.extend(halved.map(|bytes| {
            here.text(
                here.guard.as_deref(),
                &here.opcode.replacen(".cg.", ".ca.", 1),
                &[&here.operands[..2], &[bytes.to_string()], &here.operands[3..]].concat(),
            )
        }));
        return texts;
    }
    if !matches!(here.base(), "ld" | "st") || here.opcode.starts_with("st.async") {
        return texts;
    }
    let parts = here.parts();
    if let Some(place) = here.operands.iter().position(|operand| operand.starts_with('{')) {
        let elements: Vec<&str> = here.operands[place].trim_matches(['{', '}']).split(", ").collect();
        let narrower = if parts.contains(&"v4") { ("v4", "v2") } else { ("v2", "b32") };
        if elements.len() == 4 {
            let opcode = here.opcode.replacen(narrower.0, narrower.1, 1);
            for half in [&elements[..2], &elements[2..]] {
                let mut operands = here.operands.clone();
                operands[place] = format!("{{{}}}", half.join(", "));
                texts.push(here.text(here.guard.as_deref(), &opcode, &operands));
            }
        }
    } else {
        texts.extend(replaced(here, "b32", &["b16", "b8"]));
        texts.extend(replaced(here, "b64", &["b32"]));
        texts.extend(replaced(here, "b16", &["b8"]));
    }
    texts
}

fn offset(here: &Statement) -> Vec<String> {
    let mut texts = Vec::new();
    if here.opcode.contains("prefetch") {
        return texts;
    }
    for (at, operand) in here.operands.iter().enumerate() {
        let Some(inner) = operand.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) else {
            continue;
        };
        let (base, old) = match inner.rsplit_once('+') {
            Some((base, old)) => (base, old.parse::<i64>().unwrap_or(0)),
            None => (inner, 0),
        };
        for by in [-16, -4, 2, 4, 8, 16] {
            let sum = old + by;
            if !base.starts_with('%') && sum < 0 {
                continue;
            }
            let sign = if sum < 0 { "" } else { "+" };
            texts.push(here.with_operand(at, format!("[{base}{sign}{sum}]")));
        }
    }
    texts
}

fn vector_order(here: &Statement) -> Vec<String> {
    let mut texts = Vec::new();
    for (at, operand) in here.operands.iter().enumerate().filter(|(_, operand)| operand.starts_with('{')) {
        let elements: Vec<&str> = operand.trim_matches(['{', '}']).split(", ").collect();
        for place in 1..elements.len() {
            let mut other = elements.clone();
            other.swap(place - 1, place);
            if other != elements {
                texts.push(here.with_operand(at, format!("{{{}}}", other.join(", "))));
            }
        }
    }
    texts
}

fn non_coherent(here: &Statement) -> Vec<String> {
    let is_plain = here.opcode.starts_with("ld.global") && !here.opcode.contains(".nc");
    if !is_plain {
        return Vec::new();
    }
    let opcode = here.opcode.replacen("ld.global", "ld.global.nc", 1);
    vec![here.with_opcode(&opcode)]
}

fn mbarrier(here: &Statement) -> Vec<String> {
    let number = |at: usize, by: &[i64]| -> Vec<String> {
        let value = here.operands.get(at).and_then(|operand| operand.parse::<i64>().ok());
        value.map_or_else(Vec::new, |value| {
            by.iter().map(|by| here.with_operand(at, (value + by).to_string())).collect()
        })
    };
    match here.opcode.split("::").next().unwrap_or_default() {
        opcode if opcode.starts_with("mbarrier.init") => number(1, &[1, -1]),
        opcode if opcode.starts_with("mbarrier.arrive.expect_tx") => {
            let mut texts = number(2, &[16, -16]);
            // The bytes are in a register as a rule; the arrival without them expects none.
            texts.push(here.with_operand(2, "16".to_owned()));
            texts.push(here.with_operand(2, "0".to_owned()));
            texts
        }
        opcode if opcode.starts_with("mbarrier.try_wait") => number(2, &[1]),
        opcode if opcode.starts_with("mapa") => vec![here.with_operand(2, "0".to_owned())],
        _ => Vec::new(),
    }
}

fn hint(here: &Statement) -> Vec<String> {
    let mut texts = Vec::new();
    if here.opcode == "griddepcontrol.launch_dependents" || here.opcode.contains("prefetch") {
        return vec![NOTHING.to_owned()];
    }
    if here.base() == "ld" && here.opcode.contains(".global") {
        for part in [".nc", ".L1::no_allocate"] {
            if here.opcode.contains(part) {
                texts.push(here.with_opcode(&here.opcode.replacen(part, "", 1)));
            }
        }
        if !here.opcode.contains("L1::") {
            let at = if here.opcode.contains(".nc") { ".nc" } else { ".global" };
            texts.push(here.with_opcode(&here.opcode.replacen(at, &format!("{at}.L1::evict_last"), 1)));
        }
    }
    if here.opcode.starts_with("st.global.cs") {
        texts.extend(replaced(here, "cs", &["wb", "cg", "wt"]));
    }
    if here.opcode.starts_with("createpolicy") {
        texts.push(here.with_opcode(&here.opcode.replace("evict_first", "evict_last")));
    }
    texts
}

fn memory_order(here: &Statement) -> Vec<String> {
    let with = |from: &str, to: &str| here.with_opcode(&here.opcode.replacen(from, to, 1));
    let mut texts = Vec::new();
    for order in [".release", ".acquire"] {
        if here.opcode.contains(order) {
            texts.extend([with(order, ".relaxed"), with(&format!("{order}.sys"), "")]);
        }
    }
    if here.opcode.contains(".relaxed.sys") {
        texts.push(with(".relaxed.sys", ""));
    }
    if here.opcode.contains(".sys") {
        texts.extend([with(".sys", ".gpu"), with(".sys", ".cta")]);
    }
    texts
}

/// Whether two texts of a statement compute into the same one register, so that both can run side by side.
pub fn side_by_side(here: &Statement, change: &Change) -> Option<String> {
    let is_whole = change.behind.is_none() && here.guard.is_none() && here.is_computation();
    let to = here.operands.first().filter(|operand| is_register(operand))?;
    let tail = change.text.strip_suffix(';')?;
    let (opcode, operands) = tail.split_once(' ')?;
    let rest = operands.strip_prefix(to.as_str()).filter(|rest| rest.starts_with(','))?;
    if !is_whole || opcode.starts_with('@') {
        return None;
    }
    let (declared, compared) = match prefix(to)? {
        "%rd" => (".b64", "setp.ne.b64"),
        "%r" => (".b32", "setp.ne.b32"),
        "%rs" => (".b16", "setp.ne.b16"),
        _ => (".pred", ""),
    };
    let differs = match compared {
        "" => format!("xor.pred %differs, {to}, %mutated;"),
        compare => format!("{compare} %differs, {to}, %mutated;"),
    };
    // The changed one first: the other may overwrite what both read.
    Some(format!(
        "{{ .reg {declared} %mutated; .reg .pred %differs; {opcode} %mutated{rest}; {} {differs} @%differs trap; }}",
        here.with_opcode(&here.opcode)
    ))
}
