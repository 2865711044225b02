//! NCCL's library, opened at run time.

use std::{
    ffi::{CStr, OsString, c_char, c_int, c_void},
    sync::OnceLock,
};

use libloading::Library;

use crate::error::{Error, Result};

/// The environment variable that names the library to open instead of `libnccl.so.2`.
const VARIABLE: &str = "NORM_LIBNCCL";

/// The name under which every NCCL 2 is installed. Where the process has it open already, as PyTorch
/// has, the dynamic linker finds that one.
const DEFAULT: &str = "libnccl.so.2";

/// `ncclFloat32` and `ncclSum`.
const FLOAT32: c_int = 7;
const SUM: c_int = 0;

/// `ncclComm_t`.
pub(super) type Comm = *mut c_void;

/// `ncclUniqueId`, which is passed by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

macro_rules! functions {
    ($($name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {
        /// Its functions, with the signatures of `nccl.h`. Results are plain numbers: newer versions
        /// have more.
        #[allow(non_snake_case)]
        pub(super) struct Nccl {
            $(pub(super) $name: unsafe extern "C" fn($($type),*) -> c_int,)*
            ncclGetErrorString: unsafe extern "C" fn(c_int) -> *const c_char,
            /// Keeps the functions where they are.
            _library: Library,
        }

        impl Nccl {
            /// # Safety
            /// The library is NCCL 2.
            unsafe fn load(library: Library) -> std::result::Result<Nccl, libloading::Error> {
                Ok(Nccl {
                    // SAFETY: the caller vouches for the types; the library is kept beside them.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?,)*
                    // SAFETY: as above.
                    ncclGetErrorString: *unsafe { library.get(b"ncclGetErrorString\0") }?,
                    _library: library,
                })
            }
        }
    };
}

functions! {
    ncclAllReduce(
        from: *const c_void, to: *mut c_void, count: usize, dtype: c_int, op: c_int, comm: Comm,
        stream: *mut c_void
    );
    ncclCommAbort(comm: Comm);
    ncclCommCuDevice(comm: Comm, device: *mut c_int);
    ncclCommDestroy(comm: Comm);
    ncclCommGetAsyncError(comm: Comm, error: *mut c_int);
    ncclCommInitRank(comm: *mut Comm, ranks: c_int, id: UniqueId, rank: c_int);
    ncclGetUniqueId(id: *mut UniqueId);
    ncclGroupEnd();
    ncclGroupStart();
}

/// The library, opened by the first call and kept until the process ends.
///
/// # Errors
///
/// [`NoNccl`](Error::NoNccl). It is not tried again.
pub(super) fn nccl() -> Result<&'static Nccl> {
    static NCCL: OnceLock<Result<Nccl>> = OnceLock::new();
    NCCL.get_or_init(open).as_ref().map_err(Clone::clone)
}

fn open() -> Result<Nccl> {
    let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| OsString::from(DEFAULT));
    // SAFETY: opening a library runs its initializers. NCCL's are meant to be run so by any program;
    // a library named by the user is the user's choice, as with `LD_PRELOAD`.
    let opened = unsafe { Library::new(&name).and_then(|library| Nccl::load(library)) };
    let reason = |error| format!("{} cannot be used ({error})", name.to_string_lossy());
    opened.map_err(|error| Error::NoNccl { reason: reason(error) })
}

impl Nccl {
    /// The error for a result that `call` returned, if it is one.
    pub(super) fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: any number may be asked about; the text is never freed.
        let text = unsafe {
            let text = (self.ncclGetErrorString)(code);
            if text.is_null() { c"no description" } else { CStr::from_ptr(text) }
        };
        Err(Error::Nccl { call, code, name: text.to_string_lossy().into_owned() })
    }

    /// Enqueues the sum of `count` `f32` over all ranks, in place.
    ///
    /// # Safety
    ///
    /// The communicator and the stream are alive and of one device, and nobody else uses the numbers
    /// until the stream has done this.
    pub(super) unsafe fn sum(
        &self,
        comm: Comm,
        address: u64,
        count: usize,
        stream: *mut c_void,
    ) -> Result<()> {
        let numbers = std::ptr::without_provenance_mut::<c_void>(address as usize);
        // SAFETY: the caller's promise.
        let code = unsafe { (self.ncclAllReduce)(numbers, numbers, count, FLOAT32, SUM, comm, stream) };
        self.check("ncclAllReduce", code)
    }

    /// Calls `work`, and lets NCCL treat its calls as one: without, a thread that serves several
    /// devices would wait for a second call before it has made it.
    pub(super) fn grouped<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // SAFETY: takes nothing.
        self.check("ncclGroupStart", unsafe { (self.ncclGroupStart)() })?;
        let done = work();
        // SAFETY: as above. A group that has been started is to be ended.
        let ended = self.check("ncclGroupEnd", unsafe { (self.ncclGroupEnd)() });
        let done = done?;
        ended.map(|()| done)
    }
}
