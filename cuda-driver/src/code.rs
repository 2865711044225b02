//! Result codes: from the number a driver returns to the enum that cust knows.

use crate::sys::CUresult;
use std::cell::Cell;

thread_local! {
    static UNKNOWN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The last code that was handed to cust as `CUDA_ERROR_UNKNOWN` on this thread because its enum
/// lacks it; asking clears it.
///
/// Ask right after a call into cust failed with `CudaError::UnknownError`: the code tells what
/// the driver meant.
pub fn take_unknown_code() -> Option<u32> {
    UNKNOWN.take()
}

macro_rules! known {
    ($code:expr; $($name:ident)*) => {
        match $code {
            $(code if code == CUresult::$name as u32 => Some(CUresult::$name),)*
            _ => None,
        }
    };
}

/// The enum's value for a code, `CUDA_ERROR_UNKNOWN` for those it lacks; such a code is kept for
/// [`take_unknown_code`].
pub(crate) fn fold(code: u32) -> CUresult {
    known(code).unwrap_or_else(|| {
        UNKNOWN.set(Some(code));
        CUresult::CUDA_ERROR_UNKNOWN
    })
}

/// The enum's value for a code that it has.
pub(crate) fn known(code: u32) -> Option<CUresult> {
    known! { code;
        CUDA_SUCCESS CUDA_ERROR_INVALID_VALUE CUDA_ERROR_OUT_OF_MEMORY CUDA_ERROR_NOT_INITIALIZED
        CUDA_ERROR_DEINITIALIZED CUDA_ERROR_PROFILER_DISABLED CUDA_ERROR_PROFILER_NOT_INITIALIZED
        CUDA_ERROR_PROFILER_ALREADY_STARTED CUDA_ERROR_PROFILER_ALREADY_STOPPED
        CUDA_ERROR_STUB_LIBRARY CUDA_ERROR_NO_DEVICE CUDA_ERROR_INVALID_DEVICE
        CUDA_ERROR_DEVICE_NOT_LICENSED CUDA_ERROR_INVALID_IMAGE CUDA_ERROR_INVALID_CONTEXT
        CUDA_ERROR_CONTEXT_ALREADY_CURRENT CUDA_ERROR_MAP_FAILED CUDA_ERROR_UNMAP_FAILED
        CUDA_ERROR_ARRAY_IS_MAPPED CUDA_ERROR_ALREADY_MAPPED CUDA_ERROR_NO_BINARY_FOR_GPU
        CUDA_ERROR_ALREADY_ACQUIRED CUDA_ERROR_NOT_MAPPED CUDA_ERROR_NOT_MAPPED_AS_ARRAY
        CUDA_ERROR_NOT_MAPPED_AS_POINTER CUDA_ERROR_ECC_UNCORRECTABLE CUDA_ERROR_UNSUPPORTED_LIMIT
        CUDA_ERROR_CONTEXT_ALREADY_IN_USE CUDA_ERROR_PEER_ACCESS_UNSUPPORTED
        CUDA_ERROR_INVALID_PTX CUDA_ERROR_INVALID_GRAPHICS_CONTEXT CUDA_ERROR_NVLINK_UNCORRECTABLE
        CUDA_ERROR_JIT_COMPILER_NOT_FOUND CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        CUDA_ERROR_JIT_COMPILATION_DISABLED CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY
        CUDA_ERROR_INVALID_SOURCE CUDA_ERROR_FILE_NOT_FOUND
        CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND CUDA_ERROR_SHARED_OBJECT_INIT_FAILED
        CUDA_ERROR_OPERATING_SYSTEM CUDA_ERROR_INVALID_HANDLE CUDA_ERROR_ILLEGAL_STATE
        CUDA_ERROR_NOT_FOUND CUDA_ERROR_NOT_READY CUDA_ERROR_ILLEGAL_ADDRESS
        CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES CUDA_ERROR_LAUNCH_TIMEOUT
        CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
        CUDA_ERROR_PEER_ACCESS_NOT_ENABLED CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE
        CUDA_ERROR_CONTEXT_IS_DESTROYED CUDA_ERROR_ASSERT CUDA_ERROR_TOO_MANY_PEERS
        CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED
        CUDA_ERROR_HARDWARE_STACK_ERROR CUDA_ERROR_ILLEGAL_INSTRUCTION
        CUDA_ERROR_MISALIGNED_ADDRESS CUDA_ERROR_INVALID_ADDRESS_SPACE CUDA_ERROR_INVALID_PC
        CUDA_ERROR_LAUNCH_FAILED CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE CUDA_ERROR_NOT_PERMITTED
        CUDA_ERROR_NOT_SUPPORTED CUDA_ERROR_SYSTEM_NOT_READY CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE CUDA_ERROR_MPS_CONNECTION_FAILED
        CUDA_ERROR_MPS_RPC_FAILURE CUDA_ERROR_MPS_SERVER_NOT_READY
        CUDA_ERROR_MPS_MAX_CLIENTS_REACHED CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
        CUDA_ERROR_STREAM_CAPTURE_MERGE CUDA_ERROR_STREAM_CAPTURE_UNMATCHED
        CUDA_ERROR_STREAM_CAPTURE_UNJOINED CUDA_ERROR_STREAM_CAPTURE_ISOLATION
        CUDA_ERROR_STREAM_CAPTURE_IMPLICIT CUDA_ERROR_CAPTURED_EVENT
        CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD CUDA_ERROR_TIMEOUT
        CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE CUDA_ERROR_EXTERNAL_DEVICE CUDA_ERROR_UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes_stay_and_leave_nothing_behind() {
        assert_eq!(fold(0), CUresult::CUDA_SUCCESS);
        assert_eq!(fold(2), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        assert_eq!(fold(911), CUresult::CUDA_ERROR_EXTERNAL_DEVICE);
        assert_eq!(fold(999), CUresult::CUDA_ERROR_UNKNOWN);
        assert_eq!(take_unknown_code(), None);
    }

    #[test]
    fn unknown_codes_are_folded_and_kept_once() {
        // CUDA_ERROR_INVALID_CLUSTER_SIZE, of CUDA 12: cust's enum is older.
        assert_eq!(fold(912), CUresult::CUDA_ERROR_UNKNOWN);
        assert_eq!(take_unknown_code(), Some(912));
        assert_eq!(take_unknown_code(), None);
    }

    #[test]
    fn every_value_keeps_its_number() {
        for code in 0..2000 {
            if let Some(value) = known(code) {
                assert_eq!(value as u32, code);
            }
        }
    }
}
