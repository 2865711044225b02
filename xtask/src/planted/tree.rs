//! A copy of the repository, in which files can be changed without harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::Error;

/// Makes `to` a copy of what `from` has and git does not ignore, but for files that have other contents. What is the same already
/// keeps its date, so that cargo does not compile it again; what `from` no longer has is removed.
pub fn copy(from: &Path, to: &Path, others: &BTreeMap<&Path, String>) -> Result<(), Error> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()?;
    if !listed.status.success() {
        return Err("`git ls-files` failed".into());
    }
    let names = String::from_utf8(listed.stdout)?;
    // Files that are removed but not yet for git are still listed.
    let names = names.split_terminator('\0').filter(|name| from.join(name).is_file());
    let files: BTreeSet<PathBuf> = names.map(|name| to.join(name)).collect();
    fs::create_dir_all(to)?;
    remove_others(to, &files)?;
    for file in &files {
        let name = file.strip_prefix(to)?;
        let contents = match others.get(name) {
            Some(other) => other.clone().into_bytes(),
            None => fs::read(from.join(name))?,
        };
        if fs::read(file).is_ok_and(|there| there == contents) {
            continue;
        }
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(file, contents)?;
        // Scripts can be run.
        fs::set_permissions(file, fs::metadata(from.join(name))?.permissions())?;
    }
    Ok(())
}

/// Removes the files below `folder` that are none of `files`.
fn remove_others(folder: &Path, files: &BTreeSet<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
