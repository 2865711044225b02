//! DLPack's exchange table: C functions by which a framework describes a tensor and names its current stream, without
//! calls of Python methods (DLPack 1.3, `DLPackExchangeAPI`; PyTorch 2.10 and newer).

use std::{
    ffi::{CStr, c_int, c_void},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use norm_host::{Arg, MAX_RANK, Place};
use pyo3::{ffi, intern, prelude::*, types::PyCapsule};

use super::{Element, Streams, Tensor};

/// `DLPackExchangeAPI`, major version 1.
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

// SAFETY: a table is constant once its class has it, and its functions are called with the GIL.
unsafe impl Sync for Table {}

/// `DLTensor`. Shape and strides are borrowed from the tensor.
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

const CAPSULE: &CStr = c"dlpack_exchange_api";

/// A class of tensors and its table. The class is never freed, so that no other gets its address.
struct Known {
    class: AtomicPtr<ffi::PyTypeObject>,
    table: AtomicPtr<Table>,
}

/// The classes that have been seen: `torch.Tensor`, `torch.nn.Parameter`, and two more at most.
static KNOWN: [Known; 4] =
    [const { Known { class: AtomicPtr::new(ptr::null_mut()), table: AtomicPtr::new(ptr::null_mut()) } }; 4];

impl Table {
    /// The table of the object's class, if it is in [`KNOWN`].
    pub(super) fn known(object: &Bound<'_, PyAny>) -> Option<&'static Table> {
        let class = object.get_type_ptr();
        let known = KNOWN.iter().find(|known| known.class.load(Ordering::Acquire) == class)?;
        // SAFETY: `discover` has stored the table before the class, and it lives as long as the class, which is never freed.
        unsafe { known.table.load(Ordering::Relaxed).as_ref() }
    }

    /// The table of a class that is not in [`KNOWN`], which it is added to. `None` if the class has no table of version 1, or
    /// if there is no room for it.
    pub(super) fn discover(object: &Bound<'_, PyAny>) -> PyResult<Option<&'static Table>> {
        let class = object.get_type();
        let Some(capsule) = class.getattr_opt(intern!(object.py(), "__dlpack_c_exchange_api__"))? else {
            return Ok(None);
        };
        let Ok(capsule) = capsule.cast_into::<PyCapsule>() else { return Ok(None) };
        let Ok(table) = capsule.pointer_checked(Some(CAPSULE)) else { return Ok(None) };
        let table = table.cast::<Table>();
        // SAFETY: a capsule of this name holds a `DLPackExchangeAPI`, which begins with its version in every version.
        if unsafe { (*table.as_ptr()).version[0] } != 1 {
            return Ok(None);
        }
        let Some(free) = KNOWN.iter().find(|known| known.class.load(Ordering::Relaxed).is_null()) else {
            return Ok(None);
        };
        free.table.store(table.as_ptr(), Ordering::Relaxed);
        // `into_ptr` keeps a reference to the class for ever, and so its table.
        free.class.store(class.into_ptr().cast(), Ordering::Release);
        // SAFETY: the table has version 1, which was checked, and is never freed.
        Ok(Some(unsafe { table.as_ref() }))
    }

    /// Reads a tensor. `None` if the table cannot describe it, or if it is one that no operation takes: reading it by its
    /// methods then gives the error.
    #[inline]
    pub(super) fn read<E: Element>(
        &'static self,
        arg: Arg,
        object: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Tensor<E>>> {
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
        // SAFETY: the table is that of the object's class, and `described` has the layout of `DLTensor`.
        if unsafe { describe(object.as_ptr(), &mut described) } != 0 {
            drop(PyErr::take(object.py()));
            return Ok(None);
        }
        let place = match described.device_type {
            CPU | CUDA_HOST => Place::Host,
            CUDA => Place::Cuda(described.device_id.unsigned_abs()),
            _ => return Ok(None),
        };
        let dtype = match E::of_dlpack(described.code, described.bits) {
            Some(dtype) if described.lanes == 1 => dtype,
            _ => return Ok(None),
        };
        let rank = usize::try_from(described.rank).unwrap_or(0);
        if !(1..=MAX_RANK).contains(&rank) || described.shape.is_null() || described.strides.is_null() {
            return Ok(None);
        }
        // SAFETY: both have `rank` elements, which the tensor owns. Nothing changes them until they are copied, because the
        // GIL is held.
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
        // SAFETY: the function writes one handle of a stream to `stream`.
        if unsafe { current_stream(CUDA, ordinal as i32, &mut stream) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(stream as u64)
    }
}
