//! DLPack's exchange table: a few C functions by which a framework gives a tensor's numbers, and its current stream,
//! without Python's calls (DLPack 1.3, `DLPackExchangeAPI`; PyTorch has it from 2.10 on).

use std::{
    ffi::{CStr, c_int, c_void},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use norm_host::{Arg, DType, MAX_RANK, Place};
use pyo3::{ffi, intern, prelude::*, types::PyCapsule};

use super::{Streams, Tensor};

/// `DLPackExchangeAPI`, of which the version of the header is 1.
#[repr(C)]
pub(super) struct Table {
    version: [u32; 2],
    previous: *const c_void,
    allocate: *const c_void,
    export: *const c_void,
    import: *const c_void,
    describe: Option<unsafe extern "C" fn(*mut ffi::PyObject, *mut Described) -> c_int>,
    current_stream: Option<unsafe extern "C" fn(i32, i32, *mut *mut c_void) -> c_int>,
}

// SAFETY: nothing writes a table once a class has it, and its functions are those of a framework, called with the GIL.
unsafe impl Sync for Table {}

/// `DLTensor`: lent until the call that was given the tensor returns.
#[repr(C)]
struct Described {
    data: *mut c_void,
    /// `kDLCPU` and the like.
    device_type: i32,
    device_id: i32,
    rank: i32,
    /// `kDLFloat` and the like.
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    /// In elements.
    strides: *const i64,
    byte_offset: u64,
}

const CPU: i32 = 1;
const CUDA: i32 = 2;
const CUDA_HOST: i32 = 3;
const FLOAT: u8 = 2;
const BFLOAT: u8 = 4;

const CAPSULE: &CStr = c"dlpack_exchange_api";

/// A class of tensors and its table. The class is never freed, so that its address stays its own.
struct Known {
    class: AtomicPtr<ffi::PyTypeObject>,
    table: AtomicPtr<Table>,
}

/// Those that were met: `torch.Tensor`, `torch.nn.Parameter` and two more at most.
static KNOWN: [Known; 4] =
    [const { Known { class: AtomicPtr::new(ptr::null_mut()), table: AtomicPtr::new(ptr::null_mut()) } }; 4];

impl Table {
    /// The table of a class that was met before.
    pub(super) fn known(object: &Bound<'_, PyAny>) -> Option<&'static Table> {
        let class = object.get_type_ptr();
        let known = KNOWN.iter().find(|known| known.class.load(Ordering::Acquire) == class)?;
        // SAFETY: stored before the class was, by `discover`, and lives as long as the class.
        unsafe { known.table.load(Ordering::Relaxed).as_ref() }
    }

    /// The table of a class that was not met before. `None` if it has none that is understood, or if there is no room to
    /// keep it.
    pub(super) fn discover(object: &Bound<'_, PyAny>) -> PyResult<Option<&'static Table>> {
        let class = object.get_type();
        let Some(capsule) = class.getattr_opt(intern!(object.py(), "__dlpack_c_exchange_api__"))? else {
            return Ok(None);
        };
        let Ok(capsule) = capsule.cast_into::<PyCapsule>() else { return Ok(None) };
        let Ok(table) = capsule.pointer_checked(Some(CAPSULE)) else { return Ok(None) };
        let table = table.cast::<Table>();
        // SAFETY: a capsule of this name holds such a table, which starts with its version, as long as the class lives.
        if unsafe { (*table.as_ptr()).version[0] } != 1 {
            return Ok(None);
        }
        let Some(free) = KNOWN.iter().find(|known| known.class.load(Ordering::Relaxed).is_null()) else {
            return Ok(None);
        };
        free.table.store(table.as_ptr(), Ordering::Relaxed);
        // Kept for ever, and the table with it.
        free.class.store(class.into_ptr().cast(), Ordering::Release);
        // SAFETY: of version 1, as seen, and it is never freed.
        Ok(Some(unsafe { table.as_ref() }))
    }

    /// The tensor's numbers. `None` if the table cannot give them, or gives what no operation takes: the methods of the
    /// tensor then say what it is.
    #[inline]
    pub(super) fn read(&'static self, arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Option<Tensor>> {
        let Some(describe) = self.describe else { return Ok(None) };
        let mut described = Described {
            data: ptr::null_mut(),
            device_type: 0,
            device_id: 0,
            rank: 0,
            code: 0,
            bits: 0,
            lanes: 0,
            shape: ptr::null(),
            strides: ptr::null(),
            byte_offset: 0,
        };
        // SAFETY: the object is of the class that the table is of, and `described` a `DLTensor`.
        if unsafe { describe(object.as_ptr(), &mut described) } != 0 {
            drop(PyErr::take(object.py()));
            return Ok(None);
        }
        let place = match described.device_type {
            CPU | CUDA_HOST => Place::Host,
            CUDA => Place::Cuda(described.device_id.unsigned_abs()),
            _ => return Ok(None),
        };
        let dtype = match (described.code, described.bits, described.lanes) {
            (FLOAT, 16, 1) => DType::F16,
            (BFLOAT, 16, 1) => DType::BF16,
            (FLOAT, 32, 1) => DType::F32,
            _ => return Ok(None),
        };
        let rank = usize::try_from(described.rank).unwrap_or(0);
        if !(1..=MAX_RANK).contains(&rank) || described.shape.is_null() || described.strides.is_null() {
            return Ok(None);
        }
        // SAFETY: as many of each as the rank says, lent by the tensor, which nothing changes until they are copied.
        let (shape, strides) = unsafe {
            (
                std::slice::from_raw_parts(described.shape, rank),
                std::slice::from_raw_parts(described.strides, rank),
            )
        };
        let address = described.data as u64 + described.byte_offset;
        Tensor::new(arg, (place, address, dtype), (shape, strides), Streams::Table(self)).map(Some)
    }

    /// The framework's current stream of a CUDA device.
    pub(super) fn current_stream(&self, py: Python<'_>, ordinal: u32) -> PyResult<u64> {
        let Some(current_stream) = self.current_stream else {
            return super::methods::current_stream(py, ordinal);
        };
        let mut stream = ptr::null_mut();
        // SAFETY: it writes the stream.
        if unsafe { current_stream(CUDA, ordinal as i32, &mut stream) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(stream as u64)
    }
}
