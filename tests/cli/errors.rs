//! docs/ERRORS.md has what the command line says of files and of shapes.

const DOCUMENT: &str = include_str!("../../docs/ERRORS.md");
const FILES: [&str; 2] =
    [include_str!("../../src/apply/input/error.rs"), include_str!("../../src/apply/sink/error.rs")];
const SHAPES: [&str; 1] = [include_str!("../../src/apply/argument.rs")];

/// The messages of the first enum of a source, as they are written there.
fn messages(source: &str) -> Vec<String> {
    let body = source.split_once("Error {\n").expect("an enum").1;
    let body = body.split_once("\n}\n").expect("its end").0;
    // A text may go on behind a backslash.
    let lines: Vec<&str> = body.lines().map(str::trim).collect();
    let body = lines.join("\n").replace("\\\n", "");
    body.split("#[error(")
        .skip(1)
        .map(|variant| variant.split_once(")]\n").expect("its end").0.to_owned())
        .collect()
}

/// The first column of a section's table.
fn documented(section: &str) -> Vec<&'static str> {
    let table = DOCUMENT.split_once(section).expect("the section").1;
    let table = table.split("\n## ").next().expect("the section's text");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    rows.map(|row| row.split(" |").next().expect("a column")).collect()
}

#[test]
fn every_message_about_files_is_explained_by_a_row_of_its_own() {
    explained(&FILES, "## Files on the command line", 20);
}

#[test]
fn every_message_about_shapes_is_explained_by_a_row_of_its_own() {
    explained(&SHAPES, "## Shapes on the command line", 3);
}

fn explained(sources: &[&str], section: &str, more_than: usize) {
    let messages: Vec<String> = sources.iter().flat_map(|source| messages(source)).collect();
    assert!(messages.len() > more_than, "{messages:?}");
    let documented = documented(section);
    for message in &messages {
        let rows: Vec<_> = documented.iter().filter(|part| message.contains(**part)).collect();
        assert!(!rows.is_empty(), "docs/ERRORS.md lacks {message}");
    }
    for part in &documented {
        assert!(messages.iter().any(|message| message.contains(part)), "docs/ERRORS.md has {part:?}");
    }
    assert_eq!(messages.len(), documented.len());
}
