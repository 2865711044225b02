//! The errors of malformed templates.

/// Why a template's text cannot be specialized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel {kernel}, line {line} of template {template}: expected {expected}, given {given}")]
#[non_exhaustive]
pub struct TemplateError {
    /// The kernel that was to be made.
    pub kernel: String,
    /// The template that it was to be made from.
    pub template: String,
    /// The line, from 1: of the text that [`specialize`](super::specialize()) was given, or, where the text comes from a
    /// [`Ptx`](crate::ptx::Ptx), of the module that `norm ptx show` prints for the template.
    pub line: u32,
    /// What is wrong with it.
    pub malformed: Malformed,
    /// What was expected there.
    pub expected: String,
    /// The beginning of what was given there, in quotes and escaped, or `nothing`.
    pub given: String,
}

/// What is wrong with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// There is no such pseudo-instruction.
    Operation,
    /// The operation does not apply to that tensor: the kernel has no tensor of that name, or not of 16-bit elements.
    Role,
    /// The operation does not take vectors of that length, or not of the tensor's type.
    Vector,
    /// There are more operands than the operation has, fewer, or others in braces and brackets.
    Operands,
    /// An operand is not valid in its place: it is no register, or it is an output and also another operand.
    Operand,
    /// The statement does not end where its line does.
    End,
    /// A pseudo-instruction is outside of the body, or behind something else on its line, such as a predicate or a
    /// comment.
    Place,
    /// The text has launch bounds already.
    Bounds,
    /// The entry has no line `{`, in front of which launch bounds could be written.
    Body,
    /// The numbers of opening and closing braces differ: the body may be truncated.
    Braces,
}

/// A fault whose place is not yet known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) malformed: Malformed,
    expected: String,
    given: String,
}

impl Fault {
    pub(super) fn new(malformed: Malformed, expected: String, given: &str) -> Fault {
        Fault { malformed, expected, given: shown(given) }
    }

    pub(super) fn at(self, kernel: &str, template: &str, line: u32) -> TemplateError {
        let Fault { malformed, expected, given } = self;
        let (kernel, template) = (kernel.to_owned(), template.to_owned());
        TemplateError { kernel, template, line, malformed, expected, given }
    }
}

/// The beginning of a text in quotes. Control characters are escaped, because a terminal would obey them.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    // Quotes need no escape to be told from those around the text.
    let shown = shown.replace("\\'", "'").replace("\\\"", "\"");
    if text.chars().nth(MOST).is_some() { format!("'{shown}…'") } else { format!("'{shown}'") }
}
