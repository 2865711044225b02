//! docs/DROP_IN.md: what its tables name is in the snippet below them, which the documentation tests compile.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/DROP_IN.md");

/// The sections that have a table: title and text.
fn sections() -> Vec<(&'static str, &'static str)> {
    let sections = PAGE.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.filter(|(_, text)| text.contains("\n|---|---|---|---|")).collect()
}

/// The cells of the rows below a table's head.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names of a piece of code that are called: what stands in front of a parenthesis.
fn calls(code: &str) -> impl Iterator<Item = &str> {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let in_front = code.match_indices('(').map(|(at, _)| &code[..at]);
    let calls = in_front.map(move |text| &text[text.trim_end_matches(name).len()..]);
    calls.filter(|call| !call.is_empty())
}

/// The section's snippet without its comments, whose names nothing would compile.
fn snippet(section: &str) -> String {
    let block =
        section.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    block.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_engine_has_a_table() {
    let titles: Vec<_> = sections().into_iter().map(|(title, _)| title).collect();
    let expected = [
        "candle-nn",
        "candle-layer-norm",
        "mistral.rs",
        "text-embeddings-inference",
        "Crane",
        "ferrum",
        "openinfer",
    ];
    assert_eq!(titles, expected);
}

#[test]
fn every_call_in_a_table_is_compiled_in_its_snippet() {
    for (title, section) in sections() {
        let snippet = snippet(section);
        let compiled: BTreeSet<_> = calls(&snippet).collect();
        let rows = rows(section);
        assert!(rows.len() >= 4, "{title}");
        for row in rows {
            assert_eq!(row.len(), 4, "{title}: {row:?}");
            let named: Vec<_> = code(row[2]).flat_map(calls).collect();
            let refers = row[2].starts_with("the same");
            assert!(refers || !named.is_empty(), "{title}: no call for {}", row[0]);
            for call in named {
                assert!(compiled.contains(call), "{title}: `{call}` is in no snippet");
            }
        }
    }
}

/// A table says of which sources it is.
#[test]
fn every_table_names_what_was_read() {
    for (title, section) in sections() {
        let head = section.split("\n| ").next().unwrap_or_default();
        let commit = |word: &str| word.len() == 7 && word.chars().all(|c| c.is_ascii_hexdigit());
        assert!(head.split(|c: char| !c.is_alphanumeric()).any(commit), "{title} names no commit");
        assert!(head.contains("https://github.com/"), "{title} names no repository");
    }
}
