//! What crates share, they share as crates: no file is compiled into two by `#[path]`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// The Rust files of a folder, without what is built and what is hidden.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "target" || name.starts_with('.') || path.is_symlink() {
            continue;
        }
        match path.is_dir() {
            true => sources(&path, found),
            false if name.ends_with(".rs") => found.push(path),
            false => {}
        }
    }
}

/// The path without its `..`.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, component| {
        match component {
            Component::ParentDir => drop(tidy.pop()),
            component => tidy.push(component),
        }
        tidy
    })
}

/// The folder of the crate that a file is in.
fn krate(file: &Path) -> &Path {
    file.ancestors().find(|folder| folder.join("Cargo.toml").is_file()).expect("each file is in a crate")
}

#[test]
fn no_crate_compiles_a_file_of_another() {
    let root = tidy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut crossing = BTreeSet::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let paths = text.lines().filter_map(|line| line.trim_start().strip_prefix("#[path = \""));
        for path in paths.filter_map(|rest| rest.split('"').next()) {
            let other = tidy(&file.parent().unwrap().join(path));
            assert!(other.is_file(), "{}: {path}", file.display());
            if krate(file) != krate(&other) {
                let [by, of] = [file, &other].map(|file| file.strip_prefix(&root).unwrap().to_owned());
                crossing.insert((by, of));
            }
        }
    }
    assert_eq!(crossing, BTreeSet::new());
}
