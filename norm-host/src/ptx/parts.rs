//! A PTX text, divided at its entry points. Lists of kernels and the modules for driver and simulator are all made from
//! these parts, so that they agree on which kernels there are.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use norm_kernels::abi::is_of_libnvvm;

use super::{scanner::Scanner, specialize::PREFIX};

/// The parts of a PTX text.
pub(super) struct Parts<'a> {
    /// The argument of `.version`.
    pub(super) version: Option<&'a str>,
    /// The first argument of `.target`.
    pub(super) target: Option<&'a str>,
    /// The hash of the kernels that it was compiled from, from the comments at its top, if it has them as a
    /// [bundle](super::bundle)'s text does.
    pub(super) kernels: Option<&'a str>,
    /// Whether libNVVM made it, by the same comments.
    pub(super) is_of_libnvvm: bool,
    /// A name that several entry points have, if there is one.
    pub(super) duplicate: Option<&'a str>,
    /// The opcode of a pseudo-instruction outside of entry points, where nothing expands it, if there is one.
    pub(super) stray: Option<String>,
    /// The text outside of entry points, in order: every module begins with it. It lacks debugging information, which
    /// refers to labels of all entry points.
    pub(super) header: String,
    /// The names of entry points and their texts, from `.visible` to the closing brace, in the order of the text.
    pub(super) entries: Vec<(&'a str, &'a str)>,
}

/// The parts of all texts that have been divided so far. Texts live until the process ends, and so do their parts.
static CUT: Mutex<Vec<(&'static str, &'static Parts<'static>)>> = Mutex::new(Vec::new());

impl Parts<'static> {
    /// The parts of a text, which is divided on first use: that takes 1.3 ms for the 3 MB of a target's templates.
    pub(super) fn of(text: &'static str) -> &'static Parts<'static> {
        let mut cut = CUT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, parts)) = cut.iter().find(|(known, _)| std::ptr::eq(*known, text)) {
            return parts;
        }
        let parts = Box::leak(Box::new(Parts::cut(text)));
        cut.push((text, parts));
        parts
    }
}

impl<'a> Parts<'a> {
    pub(super) fn cut(text: &'a str) -> Parts<'a> {
        let mut parts = Parts {
            version: None,
            target: None,
            kernels: kernels(text),
            is_of_libnvvm: is_of_libnvvm(text),
            duplicate: None,
            stray: None,
            header: String::new(),
            entries: Vec::new(),
        };
        let mut scanner = Scanner::new(text);
        // The start of the current stretch outside of entry points, and whether it has any words so far.
        let (mut outside, mut occupied) = (0, false);
        // The start of the linkage directives in front of the current word.
        let mut linkage = None;
        while let Some((start, word)) = scanner.next() {
            match word {
                ".visible" | ".weak" | ".extern" | ".common" => {
                    linkage.get_or_insert((start, occupied));
                    occupied = true;
                    continue;
                }
                ".entry" | ".section" => {
                    let (start, occupied_before) = linkage.unwrap_or((start, occupied));
                    if occupied_before {
                        parts.add_to_header(&text[outside..start]);
                    }
                    let name = scanner.next().map_or("", |(_, name)| name);
                    scanner.skip_to_brace();
                    scanner.skip_block();
                    outside = scanner.place();
                    occupied = false;
                    if word == ".entry" {
                        parts.entries.push((name, &text[start..outside]));
                    }
                }
                ".version" | ".target" => {
                    let kept = if word == ".version" { &mut parts.version } else { &mut parts.target };
                    let value = scanner.next().map(|(_, value)| value);
                    *kept = kept.or(value);
                    occupied = true;
                }
                "{" => {
                    scanner.skip_block();
                    occupied = true;
                }
                _ => occupied = true,
            }
            linkage = None;
        }
        if occupied {
            parts.add_to_header(&text[outside..]);
        }
        let mut names = HashSet::new();
        parts.duplicate = parts.entries.iter().map(|(name, _)| *name).find(|name| !names.insert(*name));
        // Almost always there is none: a search of the bytes finds that out faster than the scanner.
        if parts.header.contains(PREFIX) {
            let mut scanner = Scanner::new(&parts.header);
            let mut words = std::iter::from_fn(|| scanner.next());
            parts.stray = words.find(|(_, word)| word.starts_with(PREFIX)).map(|(_, word)| word.to_owned());
        }
        parts
    }

    /// The text of the entry point with this name.
    pub(super) fn entry(&self, name: &str) -> Option<&'a str> {
        self.entries.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    fn add_to_header(&mut self, stretch: &str) {
        let stretch = stretch.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        // Modules that stand one behind the other, as `norm ptx show` prints them, each begin with the same header.
        if self.header.trim_end() != stretch {
            self.header.push_str(stretch);
            self.header.push_str("\n\n");
        }
    }
}

/// The hash of the kernels in the comments at a text's top.
fn kernels(text: &str) -> Option<&str> {
    let comments = text.lines().map_while(|line| line.strip_prefix("// "));
    comments.filter_map(|comment| comment.strip_prefix("kernels ")).next().map(str::trim_ascii_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";
    const BODY: &str = "()\n{\n\tret;\n}\n";

    fn names(text: &str) -> Vec<&'static str> {
        let parts = Parts::of(format!("{HEAD}{text}").leak());
        parts.entries.iter().map(|(name, _)| *name).collect()
    }

    /// How an entry point may be spelled, and what looks like one (PTX ISA, "Syntax", "Kernel and Function Directives").
    #[test]
    fn an_entry_begins_with_its_directive_wherever_that_stands() {
        let found = [
            ("at the start of a line", format!(".visible .entry k{BODY}")),
            ("behind spaces", format!("   .visible .entry k{BODY}")),
            ("behind a tab", format!("\t.visible\t.entry\tk{BODY}")),
            ("behind zeros", format!("\0\0.visible .entry k{BODY}")),
            ("over lines", format!(".visible\n.entry\nk\n{BODY}")),
            ("without linkage", format!(".entry k{BODY}")),
            ("weak", format!(".weak .entry k{BODY}")),
            ("behind a comment", format!("/* the kernel */ .visible .entry k{BODY}")),
            ("around a comment", format!(".visible /* {{ */ .entry // }}\nk{BODY}")),
            ("behind a variable", format!(".global .b32 v; .visible .entry k{BODY}")),
            ("behind a closing brace", format!(".func f{BODY}.visible .entry k{BODY}")),
        ];
        for (how, text) in found {
            assert_eq!(names(&text), ["k"], "{how}");
        }
        let none = [
            ("nothing", String::new()),
            ("in a comment", format!("/*\n.visible .entry k{BODY}*/")),
            ("in a line's comment", "// .visible .entry k() { ret; }\n".to_owned()),
            ("in text", ".file 1 \".visible .entry k() { }\"\n".to_owned()),
            ("in a function", ".func f()\n{\n.visible .entry k\n}\n".to_owned()),
            ("part of a word", format!(".func .entry_k{BODY}")),
        ];
        for (how, text) in none {
            assert_eq!(names(&text), [""; 0], "{how}");
        }
    }

    #[test]
    fn what_stands_between_entries_is_in_every_module() {
        let text = ".global .b32 before;\n\n.visible .entry a()\n{ // }\n\tret;\n}\n.extern .global .b32 between;\n\
                    .visible .entry b() .pragma \"{\";\n{{ ret; }}\n.func after()\n{\nret;\n}\n\
                    .section .debug_info\n{\n.b64 $L__a\n}\n";
        let parts = Parts::of(format!("{HEAD}{text}").leak());
        let texts: Vec<_> = parts.entries.iter().map(|(_, text)| *text).collect();
        let expected =
            [".visible .entry a()\n{ // }\n\tret;\n}", ".visible .entry b() .pragma \"{\";\n{{ ret; }}"];
        assert_eq!(texts, expected);
        let header = format!(
            "{HEAD}.global .b32 before;\n\n.extern .global .b32 between;\n\n.func after()\n{{\nret;\n}}\n\n"
        );
        assert_eq!(parts.header, header);
    }

    #[test]
    fn modules_of_one_header_may_stand_one_behind_the_other() {
        let module = |name: &str| format!("{HEAD}.extern .shared .b8 row[];\n\n.visible .entry {name}{BODY}");
        let parts = Parts::of(["a", "b", "c"].map(module).concat().leak());
        assert_eq!(parts.header, format!("{HEAD}.extern .shared .b8 row[];\n\n"));
        assert_eq!(parts.entries.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_text_that_breaks_off_ends_there() {
        for text in
            [".visible .entry k(", ".visible .entry k() { {", ".visible .entry k() { \"", ".entry k() { /*"]
        {
            assert_eq!(names(text), ["k"], "{text}");
        }
        assert_eq!(names(".visible .entry"), [""]);
        assert_eq!((names(".visible"), names("{ {"), names("/* ")), (vec![], vec![], vec![]));
    }

    #[test]
    fn a_text_is_cut_once() {
        let text = format!("{HEAD}.entry k{BODY}").leak();
        assert!(std::ptr::eq(Parts::of(text), Parts::of(text)));
    }
}
