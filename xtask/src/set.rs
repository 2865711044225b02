//! Where the compiled kernels of each compiler are in the source tree.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::bundle::{self, Unpacked};
use norm_build::text::{TARGETS, Text, hash};

/// The compiled kernels of a compiler: a folder with a bundle and a lock file for each target, and for stock rustc a
/// dictionary for both bundles.
#[derive(Clone, Debug)]
pub struct Set {
    folder: PathBuf,
}

impl Set {
    /// The set of stock rustc.
    pub fn stock(root: &Path) -> Set {
        Set { folder: root.join("norm-host/ptx") }
    }

    /// The set of rust-cuda.
    pub fn rust_cuda(root: &Path) -> Set {
        Set { folder: root.join("norm-ptx-rust-cuda") }
    }

    /// The bundle of a target.
    pub fn bundle(&self, target: &str) -> PathBuf {
        self.folder.join(format!("{target}.ptx.zst"))
    }

    /// The dictionary of its bundles, which only the set of stock rustc has.
    pub fn dictionary(&self) -> PathBuf {
        self.folder.join("dictionary")
    }

    /// The lock file of a target.
    pub fn lock(&self, target: &str) -> PathBuf {
        self.folder.join(format!("{target}.lock"))
    }

    /// Unpacks its bundles.
    ///
    /// # Errors
    /// A file that cannot be read, or is no bundle.
    pub fn unpack(&self) -> io::Result<[Unpacked; 2]> {
        let dictionary = match fs::read(self.dictionary()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            dictionary => dictionary?,
        };
        each_target(|target| {
            let file = self.bundle(target);
            let unpacked = fs::read(&file).and_then(|bytes| bundle::unpack(&bytes, &dictionary));
            unpacked.map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
        })
    }
}

/// What `make` gives for each target.
///
/// # Errors
/// The first error of `make`.
pub fn each_target<T, E>(make: impl FnMut(&'static str) -> Result<T, E>) -> Result<[T; 2], E> {
    let [sm_80, sm_90] = TARGETS.map(make);
    Ok([sm_80?, sm_90?])
}

/// The hash of the kernels, which bundles carry: the hash of the hashes of all parts of stock rustc's texts, one a line.
/// Comments and names in the kernels' source do not change it.
pub fn kernels(texts: [&Text; 2]) -> String {
    let lines = TARGETS.iter().zip(texts).flat_map(|(target, text)| {
        text.hashes().into_iter().map(move |(name, hash)| format!("{target} {name} {hash}\n"))
    });
    hash(&lines.collect::<String>())
}
