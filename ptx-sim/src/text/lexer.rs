//! PTX text as tokens (PTX ISA, "Syntax").

use crate::error::LoadError;

/// A token, with the line it begins on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub line: u32,
    pub kind: Kind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A name, directive or opcode with everything that dots and `::` join to it.
    Word(&'a str),
    /// A literal that begins with a digit; signs are tokens of their own.
    Number(&'a str),
    /// What stands between double quotes.
    Text(&'a str),
    /// Any other character.
    Mark(u8),
    /// The end of the text.
    End,
}

impl Kind<'_> {
    /// How a message names it.
    pub fn shown(&self) -> String {
        match self {
            Kind::Word(text) | Kind::Number(text) => format!("'{text}'"),
            Kind::Text(text) => format!("\"{text}\""),
            Kind::Mark(mark) => format!("'{}'", char::from(*mark)),
            Kind::End => "the end of the text".to_owned(),
        }
    }
}

/// A place in a text.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    /// Begins at byte `at`, which is on `line`.
    pub fn new(text: &'a str, at: usize, line: u32) -> Self {
        Lexer { text, at, line }
    }

    /// The byte and the line of the place reached.
    pub fn place(&self) -> (usize, u32) {
        (self.at, self.line)
    }

    /// The next token, left in place.
    pub fn peek(&self) -> Result<Token<'a>, LoadError> {
        self.clone().next()
    }

    /// The next token, taken.
    pub fn next(&mut self) -> Result<Token<'a>, LoadError> {
        self.skip_blank();
        let line = self.line;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let Some(&first) = bytes.get(start) else { return Ok(Token { line, kind: Kind::End }) };
        let kind = if first.is_ascii_digit() {
            self.at = start + number_length(&bytes[start..]);
            Kind::Number(&self.text[start..self.at])
        } else if is_word(first) {
            self.at = start + word_length(&bytes[start..]);
            Kind::Word(&self.text[start..self.at])
        } else if first == b'"' {
            let Some(length) = bytes[start + 1..].iter().position(|&byte| byte == b'"') else {
                return Err(LoadError::Syntax { line, expected: "a closing \"", found: Kind::End.shown() });
            };
            self.at = start + length + 2;
            let text = &self.text[start + 1..start + 1 + length];
            self.line += newlines(text.as_bytes());
            Kind::Text(text)
        } else if first.is_ascii() {
            self.at += 1;
            Kind::Mark(first)
        } else {
            let found = self.text[start..].chars().take(1).collect();
            return Err(LoadError::Syntax { line, expected: "an ASCII character", found });
        };
        Ok(Token { line, kind })
    }

    /// Takes the mark, or says what was `expected`.
    pub fn mark(&mut self, mark: u8, expected: &'static str) -> Result<(), LoadError> {
        let token = self.next()?;
        match token.kind {
            Kind::Mark(found) if found == mark => Ok(()),
            found => Err(LoadError::Syntax { line: token.line, expected, found: found.shown() }),
        }
    }

    /// Takes a word, or says what was `expected`.
    pub fn word(&mut self, expected: &'static str) -> Result<&'a str, LoadError> {
        let token = self.next()?;
        match token.kind {
            Kind::Word(word) => Ok(word),
            found => Err(LoadError::Syntax { line: token.line, expected, found: found.shown() }),
        }
    }

    /// Takes an unsigned integer, or says what was `expected`.
    pub fn integer(&mut self, expected: &'static str) -> Result<u64, LoadError> {
        let token = self.next()?;
        let value = match token.kind {
            Kind::Number(text) => super::literal::unsigned(text),
            _ => None,
        };
        value.ok_or_else(|| LoadError::Syntax { line: token.line, expected, found: token.kind.shown() })
    }

    /// Takes the mark if it is next.
    pub fn takes(&mut self, mark: u8) -> Result<bool, LoadError> {
        let takes = self.peek()?.kind == Kind::Mark(mark);
        if takes {
            self.next()?;
        }
        Ok(takes)
    }

    /// Skips past the brace that closes the one just taken, without reading what is between.
    pub fn skip_block(&mut self) -> Result<(), LoadError> {
        let opened = self.line;
        let mut depth = 1;
        while depth > 0 {
            // Everything else than these is skipped a run at a time: a module is mostly bodies.
            let rest = &self.text.as_bytes()[self.at..];
            let run = rest.iter().position(|byte| matches!(byte, b'{' | b'}' | b'"' | b'/' | b'\n'));
            self.at += run.unwrap_or(rest.len());
            match self.text.as_bytes().get(self.at) {
                None => {
                    let found = Kind::End.shown();
                    return Err(LoadError::Syntax { line: opened, expected: "a closing '}'", found });
                }
                Some(b'{') => depth += 1,
                Some(b'}') => depth -= 1,
                Some(b'"') => {
                    self.next()?;
                    continue;
                }
                Some(b'/') if self.comment_length().is_some() => {
                    self.skip_blank();
                    continue;
                }
                Some(b'\n') => self.line += 1,
                Some(_) => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The length of the comment that begins here, if one does.
    fn comment_length(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        if rest.starts_with("//") {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else {
            // The slash that opens it closes nothing: `/*/` goes on.
            let comment = rest.strip_prefix("/*")?;
            Some(comment.find("*/").map_or(rest.len(), |end| end + 4))
        }
    }

    fn skip_blank(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if byte == b'\n' {
                self.line += 1;
                self.at += 1;
            } else if byte.is_ascii_whitespace() || byte == 0 {
                self.at += 1;
            } else if byte == b'/'
                && let Some(length) = self.comment_length()
            {
                self.line += newlines(&bytes[self.at..self.at + length]);
                self.at += length;
            } else {
                break;
            }
        }
    }
}

fn newlines(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u32
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

fn word_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    loop {
        match bytes[length..] {
            [byte, ..] if is_word(byte) => length += 1,
            // `L1::no_allocate` is one word, `label:` is not.
            [b':', b':', ..] => length += 2,
            _ => return length,
        }
    }
}

fn number_length(bytes: &[u8]) -> usize {
    let decimal = !matches!(bytes, [b'0', b'x' | b'X' | b'f' | b'F' | b'd' | b'D', ..]);
    let mut length = 0;
    while let Some(&byte) = bytes.get(length) {
        let signed_exponent =
            decimal && matches!(byte, b'+' | b'-') && matches!(bytes[length - 1], b'e' | b'E');
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || signed_exponent) {
            break;
        }
        length += 1;
    }
    length
}
