//! The types and numbers of `cuda.h` that this crate's functions need.
//!
//! Handles are pointers that only the driver dereferences. The driver's enums are plain numbers here, because newer drivers
//! return values that an older header does not have.

use std::os::raw::{c_int, c_ulonglong, c_void};

/// The handle of a device.
pub type CUdevice = c_int;
/// An address in a device's memory.
pub type CUdeviceptr = c_ulonglong;

/// Names a device's memory for other processes (`CUipcMemHandle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CUipcMemHandle {
    /// Bytes that only the driver reads.
    pub reserved: [u8; 64],
}

/// Defines handles, each with a type of its own.
macro_rules! handles {
    ($($(#[$meta:meta])* $name:ident = *mut $opaque:ident;)*) => {
        $(
            #[doc(hidden)]
            #[derive(Debug)]
            #[repr(C)]
            pub struct $opaque {
                _private: [*mut c_void; 0],
            }

            $(#[$meta])*
            pub type $name = *mut $opaque;
        )*
    };
}

handles! {
    /// A context.
    CUcontext = *mut CUctx_st;
    /// An event.
    CUevent = *mut CUevent_st;
    /// A kernel, or another function of a module.
    CUfunction = *mut CUfunc_st;
    /// A graph of captured work.
    CUgraph = *mut CUgraph_st;
    /// A graph that is ready to be launched.
    CUgraphExec = *mut CUgraphExec_st;
    /// A module.
    CUmodule = *mut CUmod_st;
    /// A stream.
    CUstream = *mut CUstream_st;
}

/// Calls a macro with the list of results (`CUresult`): all that cust's enum has, which are those of CUDA 11.
macro_rules! codes {
    ($define:ident!) => {
        $define! {
            CUDA_SUCCESS = 0
            CUDA_ERROR_INVALID_VALUE = 1
            CUDA_ERROR_OUT_OF_MEMORY = 2
            CUDA_ERROR_NOT_INITIALIZED = 3
            CUDA_ERROR_DEINITIALIZED = 4
            CUDA_ERROR_PROFILER_DISABLED = 5
            CUDA_ERROR_PROFILER_NOT_INITIALIZED = 6
            CUDA_ERROR_PROFILER_ALREADY_STARTED = 7
            CUDA_ERROR_PROFILER_ALREADY_STOPPED = 8
            CUDA_ERROR_STUB_LIBRARY = 34
            CUDA_ERROR_NO_DEVICE = 100
            CUDA_ERROR_INVALID_DEVICE = 101
            CUDA_ERROR_DEVICE_NOT_LICENSED = 102
            CUDA_ERROR_INVALID_IMAGE = 200
            CUDA_ERROR_INVALID_CONTEXT = 201
            CUDA_ERROR_CONTEXT_ALREADY_CURRENT = 202
            CUDA_ERROR_MAP_FAILED = 205
            CUDA_ERROR_UNMAP_FAILED = 206
            CUDA_ERROR_ARRAY_IS_MAPPED = 207
            CUDA_ERROR_ALREADY_MAPPED = 208
            CUDA_ERROR_NO_BINARY_FOR_GPU = 209
            CUDA_ERROR_ALREADY_ACQUIRED = 210
            CUDA_ERROR_NOT_MAPPED = 211
            CUDA_ERROR_NOT_MAPPED_AS_ARRAY = 212
            CUDA_ERROR_NOT_MAPPED_AS_POINTER = 213
            CUDA_ERROR_ECC_UNCORRECTABLE = 214
            CUDA_ERROR_UNSUPPORTED_LIMIT = 215
            CUDA_ERROR_CONTEXT_ALREADY_IN_USE = 216
            CUDA_ERROR_PEER_ACCESS_UNSUPPORTED = 217
            CUDA_ERROR_INVALID_PTX = 218
            CUDA_ERROR_INVALID_GRAPHICS_CONTEXT = 219
            CUDA_ERROR_NVLINK_UNCORRECTABLE = 220
            CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221
            CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222
            CUDA_ERROR_JIT_COMPILATION_DISABLED = 223
            CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY = 224
            CUDA_ERROR_INVALID_SOURCE = 300
            CUDA_ERROR_FILE_NOT_FOUND = 301
            CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND = 302
            CUDA_ERROR_SHARED_OBJECT_INIT_FAILED = 303
            CUDA_ERROR_OPERATING_SYSTEM = 304
            CUDA_ERROR_INVALID_HANDLE = 400
            CUDA_ERROR_ILLEGAL_STATE = 401
            CUDA_ERROR_NOT_FOUND = 500
            CUDA_ERROR_NOT_READY = 600
            CUDA_ERROR_ILLEGAL_ADDRESS = 700
            CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701
            CUDA_ERROR_LAUNCH_TIMEOUT = 702
            CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING = 703
            CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704
            CUDA_ERROR_PEER_ACCESS_NOT_ENABLED = 705
            CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708
            CUDA_ERROR_CONTEXT_IS_DESTROYED = 709
            CUDA_ERROR_ASSERT = 710
            CUDA_ERROR_TOO_MANY_PEERS = 711
            CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712
            CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = 713
            CUDA_ERROR_HARDWARE_STACK_ERROR = 714
            CUDA_ERROR_ILLEGAL_INSTRUCTION = 715
            CUDA_ERROR_MISALIGNED_ADDRESS = 716
            CUDA_ERROR_INVALID_ADDRESS_SPACE = 717
            CUDA_ERROR_INVALID_PC = 718
            CUDA_ERROR_LAUNCH_FAILED = 719
            CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720
            CUDA_ERROR_NOT_PERMITTED = 800
            CUDA_ERROR_NOT_SUPPORTED = 801
            CUDA_ERROR_SYSTEM_NOT_READY = 802
            CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803
            CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804
            CUDA_ERROR_MPS_CONNECTION_FAILED = 805
            CUDA_ERROR_MPS_RPC_FAILURE = 806
            CUDA_ERROR_MPS_SERVER_NOT_READY = 807
            CUDA_ERROR_MPS_MAX_CLIENTS_REACHED = 808
            CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED = 809
            CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
            CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
            CUDA_ERROR_STREAM_CAPTURE_MERGE = 902
            CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903
            CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904
            CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905
            CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906
            CUDA_ERROR_CAPTURED_EVENT = 907
            CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908
            CUDA_ERROR_TIMEOUT = 909
            CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE = 910
            CUDA_ERROR_EXTERNAL_DEVICE = 911
            CUDA_ERROR_UNKNOWN = 999
        }
    };
}

#[cfg(feature = "cust")]
pub(crate) use codes;

macro_rules! define {
    ($($name:ident = $code:literal)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`, a result (`CUresult`).")]
            pub const $name: u32 = $code;
        )*

        /// The name of a result, of those that are declared here.
        pub(crate) fn name_of(code: u32) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

codes! { define! }

/// Attributes, and options of the compiler.
macro_rules! attributes {
    ($($(#[$meta:meta])* $name:ident = $number:literal of $kind:ident;)*) => {
        $(
            $(#[$meta])*
            pub const $name: u32 = $number;
        )*

        /// Asserts, when compiled, that each has the same number in cust_raw.
        #[cfg(feature = "cust")]
        const _: () = {
            $(assert!(cust_raw::$kind::$name as u32 == $name);)*
        };
    };
}

attributes! {
    /// Of a device: its clock rate in kHz.
    CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13 of CUdevice_attribute;
    /// Of a device: the number of its multiprocessors.
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16 of CUdevice_attribute;
    /// Of a device: its memory's clock rate in kHz.
    CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE = 36 of CUdevice_attribute;
    /// Of a device: the width of its memory bus in bits.
    CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37 of CUdevice_attribute;
    /// Of a device: the major number of its compute capability.
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75 of CUdevice_attribute;
    /// Of a device: the minor number of its compute capability.
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76 of CUdevice_attribute;
    /// Of an address: the context in which the memory was allocated.
    CU_POINTER_ATTRIBUTE_CONTEXT = 1 of CUpointer_attribute;
    /// Of an address: the kind of memory, the host's or a device's.
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2 of CUpointer_attribute;
    /// Of an address: whether it is of managed memory.
    CU_POINTER_ATTRIBUTE_IS_MANAGED = 8 of CUpointer_attribute;
    /// Of an address: the ordinal of the device.
    CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9 of CUpointer_attribute;
    /// The buffer to which the compiler writes its errors.
    CU_JIT_ERROR_LOG_BUFFER = 5 of CUjit_option;
    /// The size of that buffer in bytes.
    CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6 of CUjit_option;
}
