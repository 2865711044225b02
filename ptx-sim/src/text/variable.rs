//! Variables: parameters, shared arrays and the like (PTX ISA, "Variables").

use crate::error::LoadError;
use crate::text::lexer::{Kind, Lexer};
use crate::text::literal::Literal;

/// The state space of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VariableSpace {
    Global,
    Constant,
    Shared,
    Local,
    Param,
}

impl VariableSpace {
    /// Its name, as messages say it.
    pub fn name(self) -> &'static str {
        match self {
            VariableSpace::Global => "global",
            VariableSpace::Constant => "constant",
            VariableSpace::Shared => "shared",
            VariableSpace::Local => "local",
            VariableSpace::Param => "parameter",
        }
    }

    /// The most bytes that a kernel's variables may take: what CUDA has of local and constant memory and
    /// of parameters; of shared memory what its addresses reach, since a launch looks at what a block
    /// may have; of global memory what a machine that simulates can spare.
    pub fn most(self) -> u64 {
        match self {
            VariableSpace::Global => 256 << 20,
            VariableSpace::Constant => 64 << 10,
            VariableSpace::Shared => 1 << 32,
            VariableSpace::Local => 512 << 10,
            VariableSpace::Param => 32764,
        }
    }
}

/// A variable as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub line: u32,
    pub name: String,
    pub space: VariableSpace,
    /// Bytes; a power of two.
    pub align: u64,
    /// Bytes; `None` where the launch decides, as for dynamic shared memory.
    pub size: Option<u64>,
    /// The first bytes; zeros follow.
    pub initial: Vec<u8>,
}

/// Bytes of an element of a type such as `.b32`; `None` for what is no such type.
pub fn element_size(word: &str) -> Option<u64> {
    let name = word.strip_prefix('.')?;
    Some(match name {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        "b128" => 16,
        _ => return None,
    })
}

/// The space that a directive such as `.shared` names.
pub fn space(word: &str) -> Option<VariableSpace> {
    Some(match word {
        ".global" => VariableSpace::Global,
        ".const" => VariableSpace::Constant,
        ".shared" => VariableSpace::Shared,
        ".local" => VariableSpace::Local,
        ".param" => VariableSpace::Param,
        _ => return None,
    })
}

/// Reads a declaration behind its space, up to but without what ends it (`;`, `,` or `)`).
pub fn declaration(lexer: &mut Lexer<'_>, space: VariableSpace) -> Result<Variable, LoadError> {
    let line = lexer.peek()?.line;
    let (mut align, mut element, mut count, mut pointer) = (None, None, 1u64, false);
    let name = loop {
        let word = lexer.word("a variable's type and name")?;
        match word {
            ".align" => {
                let stated = lexer.integer("an alignment")?;
                // Behind `.ptr` it is that of what the pointer leads to.
                align = align.or((!pointer).then_some(stated));
            }
            ".v2" => count = 2,
            ".v4" => count = 4,
            ".ptr" => pointer = true,
            ".global" | ".const" | ".shared" | ".local" if pointer => {}
            _ if word.starts_with('.') => {
                let size = element_size(word);
                element =
                    Some(size.ok_or_else(|| LoadError::Directive { line, directive: word.to_owned() })?);
            }
            name => break name,
        }
    };
    let Some(element) = element else {
        return Err(LoadError::Syntax { line, expected: "a variable's type", found: format!("'{name}'") });
    };
    let align = align.unwrap_or(element * count);
    let mut size = element.checked_mul(count);
    while lexer.takes(b'[')? {
        if lexer.takes(b']')? {
            return Ok(Variable {
                line,
                name: name.to_owned(),
                space,
                align,
                size: None,
                initial: Vec::new(),
            });
        }
        let extent = lexer.integer("an array's length")?;
        size = size.and_then(|size| size.checked_mul(extent));
        lexer.mark(b']', "']'")?;
    }
    let mut initial = Vec::new();
    if lexer.takes(b'=')? {
        initializer(lexer, element as usize, &mut initial)?;
    }
    // No space is larger than what 40 bits address on any device.
    let size = size.filter(|&size| size <= 1 << 40 && initial.len() as u64 <= size);
    if size.is_none() || !align.is_power_of_two() || align > 1 << 20 {
        let found = format!("'{name}'");
        return Err(LoadError::Syntax { line, expected: "a size and an alignment that memory has", found });
    }
    Ok(Variable { line, name: name.to_owned(), space, align, size, initial })
}

/// Reads a number or a brace of them, nested or not, as little-endian bytes.
fn initializer(lexer: &mut Lexer<'_>, element: usize, bytes: &mut Vec<u8>) -> Result<(), LoadError> {
    if !lexer.takes(b'{')? {
        return scalar(lexer, element, bytes);
    }
    let mut depth = 1;
    while depth > 0 {
        match lexer.peek()?.kind {
            Kind::Mark(b'{') => depth += 1,
            Kind::Mark(b'}') => depth -= 1,
            Kind::Mark(b',') => {}
            _ => {
                scalar(lexer, element, bytes)?;
                continue;
            }
        }
        lexer.next()?;
    }
    Ok(())
}

fn scalar(lexer: &mut Lexer<'_>, element: usize, bytes: &mut Vec<u8>) -> Result<(), LoadError> {
    let negative = lexer.takes(b'-')?;
    let token = lexer.next()?;
    let literal = match token.kind {
        Kind::Number(text) => Literal::parse(text),
        _ => None,
    };
    let literal = literal.map(|literal| if negative { literal.negated() } else { literal });
    let bits = match (literal, element) {
        (Some(Literal::Integer(value)), _) => value as u64,
        (Some(Literal::Single(bits)), 4) => u64::from(bits),
        (Some(Literal::Double(bits)), 8) => bits,
        (Some(Literal::Decimal(value)), 4) => u64::from((value as f32).to_bits()),
        (Some(Literal::Decimal(value)), 8) => value.to_bits(),
        _ => {
            let found = token.kind.shown();
            return Err(LoadError::Syntax { line: token.line, expected: "a number of that size", found });
        }
    };
    let zeros = element.saturating_sub(8);
    bytes.extend_from_slice(&bits.to_le_bytes()[..element.min(8)]);
    bytes.extend(std::iter::repeat_n(0, zeros));
    Ok(())
}
