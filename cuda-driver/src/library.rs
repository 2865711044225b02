//! Finding and opening libcuda.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;

use libloading::Library;

/// The environment variable that names the library to open instead of `libcuda.so.1`.
pub const LIBRARY_VARIABLE: &str = "NORM_LIBCUDA";

/// The name under which every NVIDIA driver for Linux installs its library. The one without the
/// version is not tried: it comes with toolkits, where it may be a stub that only fails.
const DEFAULT: &str = "libcuda.so.1";

/// The driver's library could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDriver {
    /// What was tried: a path or a name.
    pub library: String,
    /// What the dynamic linker said.
    pub reason: String,
}

impl NoDriver {
    /// Whether the library does not exist, as on machines without an NVIDIA driver. Otherwise it exists and cannot be opened:
    /// it is for another architecture, say, or a library that it needs is missing.
    pub fn is_missing(&self) -> bool {
        // The dynamic linkers of glibc and musl both say so, with the name of the library that they did not find.
        self.reason.contains(&self.library) && self.reason.contains("No such file or directory")
    }
}

impl fmt::Display for NoDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no CUDA driver: {} cannot be opened ({})", self.library, self.reason)
    }
}

impl Error for NoDriver {}

pub(crate) fn open() -> Result<Library, NoDriver> {
    let name = std::env::var_os(LIBRARY_VARIABLE)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| OsString::from(DEFAULT));
    // SAFETY: opening a library runs its initializers. Those of the driver are made for being run by any program; a
    // library that the user names is the user's choice, as with `LD_PRELOAD`.
    unsafe { Library::new(&name) }
        .map_err(|error| NoDriver { library: name.to_string_lossy().into_owned(), reason: reason(&error) })
}

/// What the dynamic linker said. libloading keeps it in the source of its error, whose own text says only that `dlopen`
/// failed.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::NoDriver;

    #[test]
    fn a_missing_library_is_distinguished_from_one_that_cannot_be_opened() {
        let library = "libcuda.so.1";
        let is_missing =
            |reason: &str| NoDriver { library: library.to_owned(), reason: reason.to_owned() }.is_missing();
        let not_found = "cannot open shared object file: No such file or directory";
        assert!(is_missing(&format!("{library}: {not_found}")));
        assert!(is_missing(&format!("Error loading shared library {library}: No such file or directory")));
        assert!(!is_missing(&format!("libnvidia-ptxjitcompiler.so.1: {not_found}")));
        assert!(!is_missing(&format!("/usr/lib/{library}: file too short")));
        assert!(!is_missing(&format!("{library}: wrong ELF class: ELFCLASS32")));
    }
}
