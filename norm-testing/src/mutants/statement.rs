//! The statements of a kernel's text, each with the place where it stands.

use std::ops::Range;

/// One instruction with its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its bytes in the module's text, from the guard to the semicolon.
    pub span: Range<usize>,
    /// Its line in the module's text, counted from 1.
    pub line: usize,
    /// `@%p1` or `@!%p1`.
    pub guard: Option<String>,
    /// The opcode with its modifiers, such as `add.rn.f32`.
    pub opcode: String,
    pub operands: Vec<String>,
    /// Statements between two labels or branches have the same number.
    pub block: usize,
}

impl Statement {
    /// The text of the statement with other operands or another opcode.
    pub fn text(&self, guard: Option<&str>, opcode: &str, operands: &[String]) -> String {
        let guard = guard.map_or(String::new(), |guard| format!("{guard} "));
        let space = if operands.is_empty() { "" } else { " " };
        format!("{guard}{opcode}{space}{};", operands.join(", "))
    }

    pub fn with_opcode(&self, opcode: &str) -> String {
        self.text(self.guard.as_deref(), opcode, &self.operands)
    }

    pub fn with_operands(&self, operands: &[String]) -> String {
        self.text(self.guard.as_deref(), &self.opcode, operands)
    }

    /// The same statement with another operand at that place.
    pub fn with_operand(&self, at: usize, operand: String) -> String {
        let mut operands = self.operands.clone();
        operands[at] = operand;
        self.with_operands(&operands)
    }

    /// The opcode's parts: `add`, `rn`, `f32`.
    pub fn parts(&self) -> Vec<&str> {
        self.opcode.split('.').collect()
    }

    /// What the opcode begins with, up to the first dot.
    pub fn base(&self) -> &str {
        self.opcode.split('.').next().unwrap_or_default()
    }

    pub fn is_branch(&self) -> bool {
        matches!(self.base(), "bra" | "ret" | "exit")
    }

    /// Whether it accesses memory other than parameters, or other threads' registers.
    pub fn is_access(&self) -> bool {
        match self.base() {
            "ld" => !self.opcode.starts_with("ld.param"),
            "st" | "cp" | "shfl" | "mbarrier" => true,
            _ => false,
        }
    }

    /// Whether its first operand is the one register that it writes, and it does nothing else.
    pub fn is_computation(&self) -> bool {
        let computes = !self.is_branch() && !matches!(self.base(), "st" | "bar" | "barrier" | "cp" | "fence");
        let no_effect = !self.opcode.starts_with("mbarrier") && !self.opcode.starts_with("griddepcontrol");
        computes && no_effect && self.operands.len() > 1 && is_register(&self.operands[0])
    }
}

/// Whether an operand is a register that a kernel declares: `%r1`, not `%tid.x`.
pub fn is_register(operand: &str) -> bool {
    prefix(operand).is_some()
}

/// The letters of a numbered register, which tell its type: `%rd` of `%rd12`.
pub fn prefix(operand: &str) -> Option<&str> {
    let letters = operand.trim_end_matches(|character: char| character.is_ascii_digit());
    (["%r", "%rd", "%rs", "%p"].contains(&letters) && letters.len() < operand.len()).then_some(letters)
}

/// The statements of the kernel of that name in a module, without declarations. Empty if it is not there.
pub fn statements(module: &str, name: &str) -> Vec<Statement> {
    let Some(entry) = module.find(&format!(".entry {name}(")) else { return Vec::new() };
    let Some(open) = module[entry..].find("\n{") else { return Vec::new() };
    let mut at = entry + open + 2;
    let (mut found, mut block, mut depth) = (Vec::new(), 0, 1);
    while depth > 0 && at < module.len() {
        let rest = &module[at..];
        let character = rest.chars().next().unwrap_or_default();
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if character.is_whitespace() {
            at += character.len_utf8();
        } else if character == '{' || character == '}' {
            depth = if character == '{' { depth + 1 } else { depth - 1 };
            at += 1;
        } else {
            let end = rest.find([';', ':']).unwrap_or(rest.len() - 1);
            // Of `shared::cluster` there are two, of a label one.
            let is_label = rest[end..].starts_with(':') && !rest[end..].starts_with("::");
            if is_label {
                (at, block) = (at + end + 1, block + 1);
                continue;
            }
            let end = rest.find(';').unwrap_or(rest.len() - 1) + 1;
            let span = at..at + end;
            at = span.end;
            let line = 1 + module[..span.start].matches('\n').count();
            let Some(statement) = statement(module, span, line, block) else { continue };
            block += usize::from(statement.is_branch());
            found.push(statement);
        }
    }
    found
}

/// One statement, unless it is a declaration.
fn statement(module: &str, span: Range<usize>, line: usize, block: usize) -> Option<Statement> {
    let mut text = module[span.clone()].trim_end_matches(';').trim();
    if text.starts_with('.') || text.is_empty() {
        return None;
    }
    let mut guard = None;
    if text.starts_with('@') {
        let (first, rest) = text.split_once(char::is_whitespace)?;
        (guard, text) = (Some(first.to_owned()), rest.trim());
    }
    let (opcode, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let operands = split(operands);
    Some(Statement { span, line, guard, opcode: opcode.to_owned(), operands, block })
}

/// Operands, of which vectors and addresses hold commas of their own.
fn split(text: &str) -> Vec<String> {
    let (mut operands, mut depth, mut current) = (Vec::new(), 0, String::new());
    for character in text.chars() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        if character == ',' && depth == 0 {
            operands.push(current.trim().to_owned());
            current.clear();
        } else {
            current.push(character);
        }
    }
    if !current.trim().is_empty() {
        operands.push(current.trim().to_owned());
    }
    operands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_found_in_scopes_and_behind_labels() {
        let text = ".visible .entry k(.param .u64 x)\n{\n\t.reg .b32 %r<9>;\n$L_1:\n\t{ .reg .pred %q; \
                    setp.ne.b32 %q, %r1, 0; // a; comment\n@!%q st.async.shared::cluster.v2.f32 [%r2], {%r3, %r4}; }\n\
                    \tbra.uni $L_1;\n\tret;\n}\n.visible .entry other()\n{\n\tret;\n}\n";
        let found = statements(text, "k");
        let shown: Vec<_> = found.iter().map(|s| s.with_opcode(&s.opcode)).collect();
        let store = "@!%q st.async.shared::cluster.v2.f32 [%r2], {%r3, %r4};";
        assert_eq!(shown, ["setp.ne.b32 %q, %r1, 0;", store, "bra.uni $L_1;", "ret;"]);
        assert_eq!(
            found.iter().map(|s| (s.line, s.block)).collect::<Vec<_>>(),
            [(5, 1), (6, 1), (7, 1), (8, 2)]
        );
        assert_eq!(found[1].operands, ["[%r2]", "{%r3, %r4}"]);
        assert_eq!(&text[found[1].span.clone()], store);
        assert_eq!(statements(text, "absent"), []);
        assert_eq!((prefix("%rd12"), prefix("%tid.x"), prefix("%p1")), (Some("%rd"), None, Some("%p")));
    }
}
