//! Finding and opening libcuda.

use libloading::Library;
use std::ffi::OsString;
use std::fmt;

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

impl fmt::Display for NoDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no CUDA driver: {} cannot be opened ({})", self.library, self.reason)
    }
}

impl std::error::Error for NoDriver {}

pub(crate) fn open() -> Result<Library, NoDriver> {
    let name = std::env::var_os(LIBRARY_VARIABLE)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| OsString::from(DEFAULT));
    // SAFETY: opening a library runs its initializers. The driver's are meant to be run so by any
    // program; a library named by the user is the user's choice, as with `LD_PRELOAD`.
    unsafe { Library::new(&name) }
        .map_err(|error| NoDriver { library: name.to_string_lossy().into_owned(), reason: error.to_string() })
}
