//! A pseudo-instruction: parsing, and checks against the signature of its operation.

use std::{borrow::Borrow, fmt::Display};

use norm_kernels::abi::{DType, QuantRecipe};

use super::error::{Fault, Malformed};
use super::operation::{Expansion, OPERATIONS, Operation};
use super::{Instance, PREFIX};
use crate::problem::Roundings;

/// `norm.<operation>.<role><vector> <operands>;`
pub(super) struct Statement<'a> {
    operation: &'a str,
    role: &'a str,
    /// `v4`, without the dot.
    vector: Option<&'a str>,
    operands: &'a str,
}

impl<'a> Statement<'a> {
    /// Parses a line that begins with `norm.`.
    pub(super) fn parse(line: &'a str) -> Result<Statement<'a>, Fault> {
        let Some((statement, "")) = line.split_once(';') else {
            let expected = "a statement that ends with ';' on its line, and nothing behind it".to_owned();
            return Err(Fault::new(Malformed::End, expected, line));
        };
        let (opcode, operands) = statement.split_once([' ', '\t']).unwrap_or((statement, ""));
        let suffixes = opcode.strip_prefix(PREFIX).unwrap_or_default();
        let (operation, roles) = suffixes.split_once('.').unwrap_or((suffixes, ""));
        let (role, vector) =
            roles.split_once('.').map_or((roles, None), |(role, vector)| (role, Some(vector)));
        Ok(Statement { operation, role, vector, operands })
    }

    /// Writes the expansion of the pseudo-instruction.
    pub(super) fn expand(
        &self,
        instance: &Instance,
        capability: (u32, u32),
        text: &mut String,
    ) -> Result<(), Fault> {
        let operation = self.operation()?;
        let dtype = self.dtype(operation, instance)?;
        let operands = self.operands(operation)?;
        let scaled = instance.scaled(self.role);
        let gating = instance.gating.unwrap_or_default();
        let (quantized, rms_only, short) = (instance.quantized, instance.rms_only, instance.short);
        let (role, few_doubles) = (self.role, instance.few_doubles);
        let values = instance.rounded_where(QuantRecipe::rounds_value);
        let rounded = [instance.roundings().normalized, values].map(|dtype| dtype.unwrap_or(DType::F32));
        let expansion = Expansion {
            text,
            role,
            dtype,
            rounded,
            gating,
            scaled,
            quantized,
            rms_only,
            short,
            capability,
            few_doubles,
        };
        (operation.expand)(expansion, &operands);
        Ok(())
    }

    /// The operation with this name and vector length.
    fn operation(&self) -> Result<&'static Operation, Fault> {
        let namesakes = || OPERATIONS.iter().filter(|operation| operation.name == self.operation);
        if let Some(operation) = namesakes().find(|operation| operation.vector == self.vector) {
            return Ok(operation);
        }
        let vectors: Vec<_> = namesakes().map(|operation| operation.vector).collect();
        if vectors.is_empty() {
            let mut names: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
            names.dedup();
            let expected = format!("an operation ({})", either(&names));
            return Err(Fault::new(Malformed::Operation, expected, self.operation));
        }
        let vectors = vectors.into_iter().map(|vector| vector.map_or("nothing".to_owned(), suffix));
        let vectors: Vec<String> = vectors.collect();
        Err(self.other_vector(format!("{} behind norm.{}'s role", either(&vectors), self.operation)))
    }

    fn other_vector(&self, expected: String) -> Fault {
        Fault::new(Malformed::Vector, expected, &self.vector.map_or(String::new(), suffix))
    }

    /// The type of the role.
    fn dtype(&self, operation: &Operation, instance: &Instance) -> Result<DType, Fault> {
        if !operation.roles.contains(&self.role) {
            let expected = format!("{} behind norm.{}", either(operation.roles), self.operation);
            return Err(Fault::new(Malformed::Role, expected, self.role));
        }
        if matches!(operation.name, "activate" | "gate" | "gates_first") && instance.gating.is_none() {
            let expected = "operations that need no gate in a kernel without one".to_owned();
            return Err(Fault::new(Malformed::Operation, expected, self.operation));
        }
        let Roundings { factor, normalized, product, result, .. } = instance.roundings();
        let rounded = match (self.role, operation.name) {
            ("n", "round") => return Ok(normalized.unwrap_or(DType::F32)),
            ("v", _) | ("q", "larger" | "largest" | "quotient" | "quotient_in_range") => {
                return self.quantizing(instance.rounded_where(QuantRecipe::rounds_value));
            }
            ("w", "weigh") if instance.quantized.is_none() => return self.quantizing(None),
            ("x", "sum") => return self.quantizing(instance.rounded_where(QuantRecipe::rounds_sum)),
            ("q", _) => return self.quantizing(instance.quantized.map(|_| DType::F32)),
            ("w", "round") => factor,
            ("m", "round") => return Ok(instance.rope_roundings()[0]),
            ("p", _) => return Ok(instance.rope_roundings()[1]),
            ("s", _) => return Ok(DType::F32),
            ("t", _) => {
                return instance.rope.map(|(table, _)| table).ok_or_else(|| self.absent());
            }
            ("w", "ld") => return self.present(instance),
            // An element of x already has its type, a factor is an f32.
            ("x", "add" | "ld_scale") => None,
            ("x", "activate" | "gate" | "gates_first") => None,
            ("n", "add") => instance.rounded_norm(),
            (_, "add" | "gate") => result,
            (_, "affine") => product,
            _ => {
                let dtype = self.present(instance)?;
                if dtype == DType::F32 {
                    let expected = format!("a tensor of 16-bit elements behind norm.{}", self.operation);
                    return Err(Fault::new(Malformed::Role, expected, self.role));
                }
                return Ok(dtype);
            }
        };
        self.present(instance)?;
        Ok(rounded.unwrap_or(DType::F32))
    }

    /// The type, of a kernel whose output is quantized.
    fn quantizing(&self, dtype: Option<DType>) -> Result<DType, Fault> {
        dtype.ok_or_else(|| {
            let expected = format!("a kernel whose output is quantized behind norm.{}", self.operation);
            Fault::new(Malformed::Role, expected, self.role)
        })
    }

    /// The type of the tensor that the role names.
    fn present(&self, instance: &Instance) -> Result<DType, Fault> {
        let dtype = match self.role {
            "x" | "n" => instance.x,
            "w" => instance.w,
            _ => instance.y,
        };
        dtype.ok_or_else(|| self.absent())
    }

    /// The fault of a role whose tensor the kernel lacks.
    fn absent(&self) -> Fault {
        let expected = format!("a tensor that the kernel has behind norm.{}", self.operation);
        Fault::new(Malformed::Role, expected, self.role)
    }

    /// The operand for each name of the operation's signature.
    fn operands(&self, operation: &Operation) -> Result<Vec<&'a str>, Fault> {
        let mut operands: Vec<&str> = Vec::with_capacity(16);
        let mut given = tokens(self.operands);
        for name in tokens(operation.signature) {
            let token = given.next().unwrap_or_default();
            if is_mark(name) {
                if token != name {
                    return Err(self.unlike(operation));
                }
                continue;
            }
            if token.is_empty() || is_mark(token) {
                return Err(self.unlike(operation));
            }
            check(name, token)?;
            operands.push(token);
        }
        if given.next().is_some() {
            return Err(self.unlike(operation));
        }
        for (at, output) in operands.iter().take(operation.outputs).enumerate() {
            if operands[at + 1..].contains(output) {
                let expected = "an output that is no other operand".to_owned();
                return Err(Fault::new(Malformed::Operand, expected, output));
            }
        }
        Ok(operands)
    }

    fn unlike(&self, operation: &Operation) -> Fault {
        let expected = format!("operands such as '{}'", operation.signature);
        Fault::new(Malformed::Operands, expected, self.operands.trim_ascii())
    }
}

/// Checks that an operand is valid for that name of a signature.
fn check(name: &str, operand: &str) -> Result<(), Fault> {
    let refuse = |expected: String| Err(Fault::new(Malformed::Operand, expected, operand));
    if operand.starts_with("%norm_") {
        return refuse(format!("a register for {name} whose name does not begin with %norm_"));
    }
    if is_register(operand) { Ok(()) } else { refuse(format!("a register such as %r1 for {name}")) }
}

fn is_register(operand: &str) -> bool {
    let name = operand.strip_prefix('%').unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
}

fn is_mark(token: &str) -> bool {
    matches!(token.as_bytes(), [b'{' | b'}' | b'[' | b']' | b','])
}

/// The operands and the marks between them, without blanks.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let is_blank = |byte: u8| byte.is_ascii_whitespace();
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text.as_bytes()[at..].iter().take_while(|&&byte| is_blank(byte)).count();
        let rest = &text[at..];
        let is_end = |byte: u8| is_blank(byte) || matches!(byte, b'{' | b'}' | b'[' | b']' | b',');
        let length = rest.bytes().take_while(|&byte| !is_end(byte)).count();
        // A mark is a token of its own.
        let length = if length == 0 { rest.len().min(1) } else { length };
        at += length;
        (length > 0).then(|| &rest[..length])
    })
}

/// A vector's length as it is written behind a role.
fn suffix(vector: &str) -> String {
    format!(".{vector}")
}

/// `a`, `a or b`, `a, b or c`.
fn either<S: Borrow<str> + Display>(words: &[S]) -> String {
    match words {
        [] => String::new(),
        [word] => word.to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
