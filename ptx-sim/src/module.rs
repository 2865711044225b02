//! Modules: an index of a PTX text, whose kernels are decoded on first use.

use std::sync::{Arc, OnceLock};

use crate::error::LoadError;
use crate::kernel::{Kernel, Limits, compile};
use crate::text::body::body;
use crate::text::lexer::{Kind, Lexer};
use crate::text::variable::{self, Variable, VariableSpace};

/// A PTX module.
#[derive(Debug)]
pub struct Module {
    text: String,
    /// `90` for `sm_90`; absent where the text names no target.
    target: Option<u32>,
    variables: Vec<Variable>,
    entries: Vec<Entry>,
}

/// A kernel's header, and where its body begins.
#[derive(Debug)]
struct Entry {
    name: String,
    parameters: Vec<Variable>,
    limits: Limits,
    body: (usize, u32),
    kernel: OnceLock<Result<Arc<Kernel>, LoadError>>,
}

impl Module {
    /// Finds a module's kernels and variables. Bodies are not read yet, so this takes little
    /// time for any module.
    ///
    /// # Errors
    /// [`LoadError`] for what stands outside of bodies.
    pub fn parse(text: impl Into<String>) -> Result<Module, LoadError> {
        let text = text.into();
        let mut lexer = Lexer::new(&text, 0, 1);
        let (mut variables, mut entries) = (Vec::new(), Vec::<Entry>::new());
        let mut target = None;
        loop {
            let token = lexer.next()?;
            let line = token.line;
            match token.kind {
                Kind::End => break,
                Kind::Word(".version") => {
                    lexer.next()?;
                }
                Kind::Word(".target") => {
                    let named = lexer.word("a target")?;
                    // `sm_90a` and `sm_100f` have at least what `sm_90` and `sm_100` have.
                    target = named
                        .strip_prefix("sm_")
                        .and_then(|number| number.trim_end_matches(['a', 'f']).parse().ok());
                    while lexer.takes(b',')? {
                        lexer.word("a target's option")?;
                    }
                }
                Kind::Word(".address_size") => match lexer.integer("an address size")? {
                    64 => {}
                    other => {
                        return Err(LoadError::Directive {
                            line,
                            directive: format!(".address_size {other}"),
                        });
                    }
                },
                Kind::Word(".visible" | ".extern" | ".weak" | ".common") => {}
                Kind::Word(".file") => {
                    while lexer.peek()?.line == line && lexer.peek()?.kind != Kind::End {
                        lexer.next()?;
                    }
                }
                Kind::Word(".section") => {
                    lexer.word("a section's name")?;
                    lexer.mark(b'{', "'{'")?;
                    lexer.skip_block()?;
                }
                Kind::Word(".entry") => {
                    let entry = header(&mut lexer)?;
                    if entries.iter().any(|known| known.name == entry.name) {
                        return Err(LoadError::Redeclared { line, name: entry.name });
                    }
                    lexer.skip_block()?;
                    entries.push(entry);
                }
                Kind::Word(word) => match variable::space(word) {
                    Some(space) => {
                        variables.push(variable::declaration(&mut lexer, space)?);
                        lexer.mark(b';', "';'")?;
                    }
                    None => return Err(LoadError::Directive { line, directive: word.to_owned() }),
                },
                found => {
                    return Err(LoadError::Syntax { line, expected: "a directive", found: found.shown() });
                }
            }
        }
        Ok(Module { text, target, variables, entries })
    }

    /// The names of its kernels, in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// A kernel, decoded on first use.
    ///
    /// # Errors
    /// [`LoadError`]: there is none of that name, or its body has something that is unknown.
    pub fn kernel(&self, name: &str) -> Result<Arc<Kernel>, LoadError> {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| LoadError::NoKernel { name: name.to_owned() })?;
        entry.kernel.get_or_init(|| self.load(entry).map(Arc::new)).clone()
    }

    fn load(&self, entry: &Entry) -> Result<Kernel, LoadError> {
        let (at, line) = entry.body;
        let body = body(&mut Lexer::new(&self.text, at, line))?;
        compile(&entry.name, &entry.parameters, entry.limits, self.target, &self.variables, body)
    }
}

/// Reads an entry's name, parameters and directives, and its opening brace.
fn header(lexer: &mut Lexer<'_>) -> Result<Entry, LoadError> {
    let name = lexer.word("a kernel's name")?.to_owned();
    let mut parameters = Vec::new();
    if lexer.takes(b'(')? && !lexer.takes(b')')? {
        loop {
            let line = lexer.peek()?.line;
            match lexer.word("a parameter")? {
                ".param" => parameters.push(variable::declaration(lexer, VariableSpace::Param)?),
                other => return Err(LoadError::Directive { line, directive: other.to_owned() }),
            }
            if !lexer.takes(b',')? {
                lexer.mark(b')', "',' or ')'")?;
                break;
            }
        }
    }
    if let Some(open) = parameters.iter().find(|parameter| parameter.size.is_none()) {
        let found = format!("'{}'", open.name);
        return Err(LoadError::Syntax { line: open.line, expected: "a parameter's size", found });
    }
    let mut limits = Limits::default();
    loop {
        let token = lexer.next()?;
        match token.kind {
            Kind::Mark(b'{') => break,
            Kind::Word(".maxntid") => limits.most_threads = Some(extents(lexer)?),
            Kind::Word(".reqntid") => limits.threads = Some(extents(lexer)?),
            Kind::Word(".reqnctapercluster") => limits.cluster = Some(extents(lexer)?),
            Kind::Word(".maxclusterrank") => {
                limits.most_blocks =
                    Some(u32::try_from(lexer.integer("a number of blocks")?).unwrap_or(u32::MAX));
            }
            Kind::Word(".explicitcluster") => {}
            // These direct the register allocator, and change no result.
            Kind::Word(".minnctapersm" | ".maxnctapersm" | ".maxnreg") => {
                lexer.integer("a number")?;
            }
            Kind::Word(".pragma") => {
                lexer.next()?;
                lexer.mark(b';', "';'")?;
            }
            Kind::Word(other) => {
                return Err(LoadError::Directive { line: token.line, directive: other.to_owned() });
            }
            found => {
                return Err(LoadError::Syntax { line: token.line, expected: "'{'", found: found.shown() });
            }
        }
    }
    Ok(Entry { name, parameters, limits, body: lexer.place(), kernel: OnceLock::new() })
}

/// One to three extents; those left out are 1.
fn extents(lexer: &mut Lexer<'_>) -> Result<[u32; 3], LoadError> {
    let mut extents = [1; 3];
    for (at, extent) in extents.iter_mut().enumerate() {
        if at > 0 && !lexer.takes(b',')? {
            break;
        }
        *extent = u32::try_from(lexer.integer("an extent")?).unwrap_or(u32::MAX);
    }
    Ok(extents)
}
