//! Numbers as PTX writes them (PTX ISA, "Constants").

use std::fmt;

/// A literal operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// Decimal, hexadecimal, octal or binary, sign included.
    Integer(i128),
    /// `0f` and the bits of a float.
    Single(u32),
    /// `0d` and the bits of a double.
    Double(u64),
    /// A decimal fraction, which PTX takes as a double.
    Decimal(f64),
}

impl Literal {
    /// Reads a number without its sign.
    pub fn parse(text: &str) -> Option<Literal> {
        match text.as_bytes() {
            [b'0', b'f' | b'F', ..] if text.len() == 10 => {
                u32::from_str_radix(&text[2..], 16).ok().map(Literal::Single)
            }
            [b'0', b'd' | b'D', ..] if text.len() == 18 => {
                u64::from_str_radix(&text[2..], 16).ok().map(Literal::Double)
            }
            _ => match unsigned(text) {
                Some(value) => Some(Literal::Integer(i128::from(value))),
                None if text.contains(['.', 'e', 'E']) => text.parse().ok().map(Literal::Decimal),
                None => None,
            },
        }
    }

    /// The same with the other sign.
    pub fn negated(self) -> Literal {
        match self {
            Literal::Integer(value) => Literal::Integer(-value),
            Literal::Single(bits) => Literal::Single(bits ^ 1 << 31),
            Literal::Double(bits) => Literal::Double(bits ^ 1 << 63),
            Literal::Decimal(value) => Literal::Decimal(-value),
        }
    }
}

/// As PTX writes it.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Integer(value) => write!(f, "{value}"),
            Literal::Single(bits) => write!(f, "0f{bits:08X}"),
            Literal::Double(bits) => write!(f, "0d{bits:016X}"),
            // With its fraction: `1` would be an integer.
            Literal::Decimal(value) => write!(f, "{value:?}"),
        }
    }
}

/// Reads an integer of at most 64 bits, with or without the suffix `U`.
pub fn unsigned(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('U').unwrap_or(text);
    match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&digits[2..], 16).ok(),
        [b'0', b'b' | b'B', ..] => u64::from_str_radix(&digits[2..], 2).ok(),
        [b'0', _, ..] => u64::from_str_radix(digits, 8).ok(),
        _ => digits.parse().ok(),
    }
}
