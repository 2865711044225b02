//! The functions that cust lacks, or that are called here with plain numbers for its enums.

use crate::launch::{LaunchAttribute, LaunchConfig};
use crate::sys::*;
use crate::table::functions;
use std::os::raw::{c_char, c_int, c_uint, c_ulonglong, c_void};

functions! {
    /// What cust does not call.
    struct Extra;
    // Errors.
    cuGetErrorName(error: u32, text: *mut *const c_char);
    cuGetErrorString(error: u32, text: *mut *const c_char);

    // Launches.
    cuFuncSetAttribute(func: CUfunction, attribute: c_uint, value: c_int);
    cuLaunchKernelEx(
        config: *const LaunchConfig, func: CUfunction, kernel_params: *mut *mut c_void,
        extra: *mut *mut c_void
    );

    // Streams.
    cuStreamBeginCapture_v2(stream: CUstream, mode: c_uint);
    cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph);
    cuStreamGetCtx(stream: CUstream, ctx: *mut CUcontext);
    cuStreamIsCapturing(stream: CUstream, status: *mut c_uint);
    cuStreamQuery(stream: CUstream);
    cuThreadExchangeStreamCaptureMode(mode: *mut c_uint);

    // Graphs.
    cuGraphExecDestroy(graph_exec: CUgraphExec);
    cuGraphInstantiateWithFlags(graph_exec: *mut CUgraphExec, graph: CUgraph, flags: c_ulonglong);
    cuGraphLaunch(graph_exec: CUgraphExec, stream: CUstream);

    // Memory.
    cuPointerGetAttribute(data: *mut c_void, attribute: c_uint, address: CUdeviceptr);
}

// The driver reads the attributes as an array of 72-byte elements, aligned like pointers.
const _: () = assert!(size_of::<LaunchAttribute>() == 72 && align_of::<LaunchAttribute>() == 8);
