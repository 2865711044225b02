//! Signatures: which modifiers, types and operands an instruction is supported with.

use super::builder::Builder;
use super::types::Type;
use crate::counts::InstructionKind;
use crate::error::LoadError;
use crate::kernel::op::Op;

/// One signature of an instruction that is supported. The words are its specification: an instruction with
/// any other modifier or type is refused.
pub struct Signature {
    pub name: &'static str,
    /// Groups of modifiers, of each of which one must stand: `lo|hi|wide`. A group that ends in
    /// `?` may be absent.
    pub modifiers: &'static str,
    /// What the first type may be; empty where there is none.
    pub types: &'static str,
    /// What the second type may be.
    pub from: &'static str,
    /// The fewest and the most operands.
    pub operands: (usize, usize),
    pub kind: InstructionKind,
    pub build: fn(&mut Builder<'_, '_>) -> Result<Op, LoadError>,
}

/// An opcode taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Opcode<'a> {
    pub text: &'a str,
    pub name: &'a str,
    pub modifiers: Vec<&'a str>,
    pub types: Vec<Type>,
}

impl<'a> Opcode<'a> {
    pub fn parse(text: &'a str) -> Opcode<'a> {
        let mut words = text.split('.');
        let name = words.next().unwrap_or_default();
        let (mut modifiers, mut types) = (Vec::new(), Vec::new());
        for word in words {
            match Type::parse(word) {
                Some(parsed) => types.push(parsed),
                None => modifiers.push(word),
            }
        }
        Opcode { text, name, modifiers, types }
    }
}

/// The signature of an opcode, or what of it no signature has.
pub fn find(
    signatures: &'static [&'static [Signature]],
    opcode: &Opcode<'_>,
) -> Result<&'static Signature, String> {
    let named: Vec<&Signature> =
        signatures.iter().copied().flatten().filter(|signature| signature.name == opcode.name).collect();
    if named.is_empty() {
        return Err("no form of it is known".to_owned());
    }
    // Of the signatures that do not match, the error of the one that matched the most is the one to show.
    let mut best = (0, String::new());
    for signature in named {
        match signature.matches(opcode) {
            Ok(()) => return Ok(signature),
            Err(complaint) if complaint.0 >= best.0 => best = complaint,
            Err(_) => {}
        }
    }
    Err(best.1)
}

impl Signature {
    /// An error tells how far the comparison came, and what does not fit.
    fn matches(&self, opcode: &Opcode<'_>) -> Result<(), (u32, String)> {
        let allowed = [self.types, self.from];
        let expected = allowed.iter().filter(|types| !types.is_empty()).count();
        for (at, given) in opcode.types.iter().enumerate() {
            let fits = allowed.get(at).is_some_and(|types| types.split(' ').any(|name| name == given.name()));
            if !fits {
                return Err((1, format!("type .{} is unknown there", given.name())));
            }
        }
        if opcode.types.len() != expected {
            return Err((1, format!("it takes {expected} types")));
        }
        let mut open: Vec<&str> = self.modifiers.split(' ').filter(|group| !group.is_empty()).collect();
        for given in &opcode.modifiers {
            let fits = |group: &&str| group.trim_end_matches('?').split('|').any(|word| word == *given);
            match open.iter().position(fits) {
                Some(at) => drop(open.remove(at)),
                None => return Err((2, format!("modifier .{given} is unknown there"))),
            }
        }
        match open.iter().find(|group| !group.ends_with('?')) {
            Some(group) => Err((3, format!("one of .{} is missing", group.replace('|', " .")))),
            None => Ok(()),
        }
    }
}

/// All signatures as a Markdown table, a line each.
pub fn table(signatures: &[&[Signature]]) -> String {
    let mut text = String::from("| instruction | modifiers | types |\n|---|---|---|\n");
    for signature in signatures.iter().copied().flatten() {
        let code = |words: &str, dot: &str| match words {
            "" => String::new(),
            _ => {
                let dotted: Vec<String> = words
                    .split(' ')
                    .map(|group| {
                        let (words, open, close) = match group.strip_suffix('?') {
                            Some(words) => (words, "[", "]"),
                            None => (group, "", ""),
                        };
                        format!("{open}{dot}{}{close}", words.replace('|', &format!("&#124;{dot}")))
                    })
                    .collect();
                format!("<code>{}</code>", dotted.join(" "))
            }
        };
        let types = match signature.from {
            "" => code(signature.types, "."),
            from => format!("{} from {}", code(signature.types, "."), code(from, ".")),
        };
        text += &format!("| `{}` | {} | {} |\n", signature.name, code(signature.modifiers, "."), types);
    }
    text
}
