//! What is written for people: it can be read, and what it points to is there.

use std::fs;
use std::path::{Path, PathBuf};

/// The most words of a table's cell.
const MOST_WORDS: usize = 45;
/// The most numbers of a paragraph.
const MOST_NUMBERS: usize = 18;

/// Pages that a program writes: a test of their own holds them to their data.
const GENERATED: [&str; 3] = ["docs/MODELS.md", "docs/NUMERICS.md", "docs/TORTURE.md"];

/// A page that names files of other projects.
const OF_OTHERS: &str = "docs/DROP_IN.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page: its path from the root, and its text.
struct Page {
    path: String,
    text: String,
}

/// What a page is made of, as far as it is read.
enum Block {
    /// A cell of a table.
    Cell(String),
    /// A paragraph, or an entry of a list.
    Paragraph(String),
}

impl Page {
    fn read(path: &str) -> Page {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Page { path: path.to_owned(), text }
    }

    /// Those that are held to the limits: all in front of a newcomer, and all of `docs`.
    fn all() -> Vec<Page> {
        let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let docs = docs.filter(|path| path.extension() == Some("md".as_ref()));
        let mut docs: Vec<String> = docs
            .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned())
            .filter(|path| !GENERATED.contains(&path.as_str()))
            .collect();
        docs.sort();
        let first = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(str::to_owned);
        let folders =
            ["examples/own-kernel", "findings", "fuzz", "norm-kernels", "ptx-sim", "python", "rust-cuda"];
        let more = folders.map(|folder| format!("{folder}/README.md"));
        first.into_iter().chain(more).chain(docs).map(|path| Page::read(&path)).collect()
    }

    /// The lines outside of blocks of code; those inside are empty.
    fn lines(&self) -> Vec<&str> {
        let mut in_code = false;
        let lines = self.text.lines().map(|line| {
            let fence = line.trim_start().starts_with("```");
            in_code ^= fence;
            if in_code || fence { "" } else { line }
        });
        lines.collect()
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut paragraph = String::new();
        for line in self.lines().into_iter().chain([""]) {
            let line = line.trim();
            let item = line.starts_with("- ")
                || line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
            if (line.is_empty() || item || line.starts_with(['#', '|'])) && !paragraph.is_empty() {
                blocks.push(Block::Paragraph(std::mem::take(&mut paragraph)));
            }
            match line.strip_prefix('|') {
                Some(row) => {
                    let row = row.replace("\\|", "");
                    blocks.extend(row.split('|').map(|cell| Block::Cell(cell.trim().to_owned())));
                }
                None => paragraph.extend([line, " "].into_iter().filter(|_| !line.is_empty())),
            }
        }
        blocks
    }
}

/// The words outside of links' addresses.
fn words(text: &str) -> usize {
    without_addresses(text).split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

/// The numbers outside of code and links' addresses: a digit begins one unless it belongs to a word, as in f16.
fn numbers(text: &str) -> usize {
    let text: String = without_addresses(text).split('`').step_by(2).collect();
    let (mut count, mut before) = (0, ' ');
    let mut within = false;
    for character in text.chars() {
        let digit = character.is_ascii_digit();
        if digit && !within && !before.is_alphanumeric() && before != '_' {
            count += 1;
        }
        // Of one number are 1,024 and 0.5 and 2026-11-30.
        within = digit || within && ['.', ',', '-'].contains(&character);
        before = character;
    }
    count
}

fn without_addresses(text: &str) -> String {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_, rest)| rest))
}

#[test]
fn cells_are_short_and_paragraphs_are_no_lists_of_numbers() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        for block in page.blocks() {
            let (what, count, most, text) = match &block {
                Block::Cell(text) => ("words in a cell", words(text), MOST_WORDS, text),
                Block::Paragraph(text) => ("numbers in a paragraph", numbers(text), MOST_NUMBERS, text),
            };
            if count > most {
                let start: String = text.chars().take(60).collect();
                wrong.push(format!("{}: expected at most {most} {what}, given {count}: {start}…", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_and_what_a_contributor_needs_fit_a_page() {
    let map = Page::read("ARCHITECTURE.md");
    assert!(map.text.lines().count() <= 150, "ARCHITECTURE.md has {} lines", map.text.lines().count());
    let glossary = map.text.split_once("\n## Glossary\n").expect("it has a glossary").1;
    let glossary = glossary.split("\n## ").next().unwrap_or_default().trim().lines().count();
    assert!(glossary <= 30, "the glossary has {glossary} lines");
    let contributing = Page::read("CONTRIBUTING.md");
    let lines = contributing.text.lines().filter(|line| !line.is_empty()).count();
    assert!((7..=15).contains(&lines), "CONTRIBUTING.md has {lines} lines");
}

/// Every file and folder here, from the root, but what builds leave behind.
fn files() -> Vec<String> {
    fn walk(folder: &Path, files: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if [".git", "target", "__pycache__"].iter().any(|left_out| name == *left_out) {
                continue;
            }
            files.push(entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), files);
            }
        }
    }
    let mut files = Vec::new();
    walk(root(), &mut files);
    files
}

/// The addresses of a text's links, without what stands behind a `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let addresses = text.split("](").skip(1).filter_map(|part| Some(part.split_once(')')?.0));
    addresses.filter(|link| !link.contains("://")).map(|link| link.split('#').next().unwrap_or_default())
}

/// What stands in backticks and has the form of a path of this repository: `plan/ladders.rs`, `docs/`.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const EXTENSIONS: [&str; 6] = [".lock", ".md", ".py", ".rs", ".sh", ".toml"];
    let code = text.split('`').skip(1).step_by(2);
    code.filter(|code| {
        let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let path = EXTENSIONS.iter().any(|end| code.ends_with(end)) || code.contains('/');
        plain && path && !code.starts_with(['/', '-']) && !code.starts_with("target/")
    })
}

#[test]
fn what_papers_point_to_is_there() {
    let files = files();
    let mut missing = Vec::new();
    for page in Page::all() {
        let folder = root().join(&page.path).parent().map(PathBuf::from).unwrap();
        let text = page.lines().join("\n");
        for link in links(&text).filter(|link| !link.is_empty() && !folder.join(link).exists()) {
            missing.push(format!("{}: a link to {link}", page.path));
        }
        for path in paths(&text).filter(|_| page.path != OF_OTHERS) {
            // A page names a file by the end of its path, within the folder that it speaks of.
            let end = path.trim_start_matches("../").trim_end_matches('/');
            let there = |file: &String| file == end || file.ends_with(&format!("/{end}"));
            if !files.iter().any(there) {
                missing.push(format!("{}: `{path}`", page.path));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// What the limits count is what a reader would.
#[test]
fn words_and_numbers_are_counted_as_they_are_read() {
    assert_eq!(words("a [row](docs/a-b.md) of `dim` elements | – |"), 5);
    assert_eq!(numbers("f16 at 32768 × 4096 takes 1.0 to 2.5 µs on 2026-11-30, `2`, of an H200"), 5);
    assert_eq!(links("[a](b.md#c), [d](https://e.f)").collect::<Vec<_>>(), ["b.md"]);
    assert_eq!(
        paths("`plan/ladders.rs`, `a b.rs`, `norm::rs`, `x`").collect::<Vec<_>>(),
        ["plan/ladders.rs"]
    );
}
