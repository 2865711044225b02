//! NCCL's library, opened at run time.

use std::{
    ffi::{CStr, OsString, c_char, c_int, c_void},
    sync::OnceLock,
};

use libloading::Library;

use crate::{
    DType,
    error::{Error, Result},
};

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
        /// NCCL's functions, with the signatures of `nccl.h`. Results are plain numbers, because newer
        /// versions have more of them.
        #[allow(non_snake_case)]
        pub(super) struct Nccl {
            $(pub(super) $name: unsafe extern "C" fn($($type),*) -> c_int,)*
            ncclGetErrorString: unsafe extern "C" fn(c_int) -> *const c_char,
            /// Keeps the library loaded, in which the functions are.
            _library: Library,
        }

        impl Nccl {
            /// # Safety
            /// The library is NCCL 2.
            unsafe fn load(library: Library) -> std::result::Result<Nccl, libloading::Error> {
                Ok(Nccl {
                    // SAFETY: the caller guarantees NCCL 2, whose header has these types; the functions stay
                    // valid as long as `_library`.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?,)*
                    // SAFETY: the caller guarantees NCCL 2, whose header has this type; the function stays valid as
                    // long as `_library`.
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
/// [`NoNccl`](Error::NoNccl), also from every later call: opening is not tried again.
pub(super) fn nccl() -> Result<&'static Nccl> {
    static NCCL: OnceLock<Result<Nccl>> = OnceLock::new();
    NCCL.get_or_init(open).as_ref().map_err(Clone::clone)
}

fn open() -> Result<Nccl> {
    let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| OsString::from(DEFAULT));
    // SAFETY: opening a library runs its initializers. Those of NCCL may run in any program; a library that the user
    // names in the variable is the user's choice, as with `LD_PRELOAD`.
    let opened = unsafe { Library::new(&name).and_then(|library| Nccl::load(library)) };
    // What the dynamic linker said is the source of libloading's error, whose own text says only which call failed.
    opened.map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::NoNccl { reason: format!("{} cannot be used ({why})", name.to_string_lossy()) }
    })
}

impl Nccl {
    /// Converts the result code of `call`, with NCCL's description if it is an error.
    pub(super) fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the function accepts any number, and returns a static text or null.
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
    /// The communicator and the stream are alive and of one device. `address` is that of `count` `f32` on that device,
    /// which nothing else uses until the stream has done this.
    pub(super) unsafe fn sum(
        &self,
        comm: Comm,
        address: u64,
        count: usize,
        stream: *mut c_void,
    ) -> Result<()> {
        let numbers = std::ptr::without_provenance_mut::<c_void>(address as usize);
        // SAFETY: the caller guarantees communicator, stream and memory; NCCL takes the same address as input and output for
        // a reduction in place.
        let code = unsafe { (self.ncclAllReduce)(numbers, numbers, count, FLOAT32, SUM, comm, stream) };
        self.check("ncclAllReduce", code)
    }

    /// Enqueues the sum of `count` elements over all ranks, from one address to another, which may be the same.
    ///
    /// # Safety
    ///
    /// The communicator and the stream are alive and of one device. The addresses are those of `count` elements of that type on
    /// that device, which nothing else uses until the stream has done this.
    pub(super) unsafe fn sum_of(
        &self,
        comm: Comm,
        [from, to]: [u64; 2],
        (count, dtype): (usize, DType),
        stream: *mut c_void,
    ) -> Result<()> {
        let [from, to] =
            [from, to].map(|address| std::ptr::without_provenance_mut::<c_void>(address as usize));
        // `ncclFloat16`, `ncclBfloat16`.
        let dtype = match dtype {
            DType::F16 => 6,
            DType::BF16 => 9,
            DType::F32 => FLOAT32,
        };
        // SAFETY: the caller guarantees communicator, stream and memory.
        let code = unsafe { (self.ncclAllReduce)(from, to, count, dtype, SUM, comm, stream) };
        self.check("ncclAllReduce", code)
    }

    /// Calls `work` as one group of NCCL calls. Without a group, a thread that serves several devices would block in the
    /// call for the first of them, which waits for that of the second.
    pub(super) fn grouped<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // SAFETY: the function has no arguments and no preconditions.
        self.check("ncclGroupStart", unsafe { (self.ncclGroupStart)() })?;
        let done = work();
        // A group that was started must be ended, also after an error.
        // SAFETY: the function has no arguments; a group was started on this thread just above.
        let ended = self.check("ncclGroupEnd", unsafe { (self.ncclGroupEnd)() });
        let done = done?;
        ended.map(|()| done)
    }
}
