//! The section of a lock file that has the hashes of the compiled text, part by part.
//!
//! The bundle that a lock file belongs to is compressed; the lock file is text, so that a reviewer sees which kernels a
//! change affects. Its sections begin with a line in brackets; comments begin with `#`.

use std::collections::BTreeMap;

use crate::text::Text;

/// The section that has a line for each part of the compiled text: a name and a hash.
pub const COMPILED: &str = "[compiled]";

/// The lines of a section, without comments.
pub fn section<'a>(lock: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = lock.lines().skip_while(move |line| *line != name).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Compares a text with the hashes in a lock file.
///
/// # Errors
/// The names of the parts that differ, are new, or are gone.
pub fn compare(lock: &str, fresh: &Text) -> Result<(), String> {
    let kept = section(lock, COMPILED).filter_map(|line| line.split_once(' '));
    let mut kept: BTreeMap<&str, &str> = kept.map(|(name, hash)| (name, hash.trim())).collect();
    let mut differing = Vec::new();
    for (name, hash) in fresh.hashes() {
        match kept.remove(name.as_str()) {
            Some(kept) if kept == hash => {}
            Some(_) => differing.push(name),
            None => differing.push(format!("{name} (new)")),
        }
    }
    differing.extend(kept.keys().map(|name| format!("{name} (gone)")));
    if differing.is_empty() { Ok(()) } else { Err(differing.join(", ")) }
}
