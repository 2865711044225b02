//! The driver's functions that [`Driver`](crate::Driver) calls, each declared once.

use crate::launch_config::LaunchConfig;
use crate::sys::*;
use crate::table::functions;
use std::os::raw::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};

/// Calls a macro with the list of the functions that cust calls, too.
macro_rules! common {
    ($define:ident!, $($in_front:tt)*) => {
        $define! {
            $($in_front)*

            // The library and its devices.
            cuDeviceGet(device: *mut CUdevice, ordinal: c_int);
            cuDeviceGetAttribute(pi: *mut c_int, attrib: c_uint, dev: CUdevice);
            cuDeviceGetCount(count: *mut c_int);
            cuDeviceGetName(name: *mut c_char, len: c_int, dev: CUdevice);
            cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice);
            cuDriverGetVersion(driver_version: *mut c_int);
            cuInit(flags: c_uint);

            // Contexts.
            cuCtxGetCurrent(pctx: *mut CUcontext);
            cuCtxGetDevice(device: *mut CUdevice);
            cuCtxPopCurrent_v2(pctx: *mut CUcontext);
            cuCtxPushCurrent_v2(ctx: CUcontext);
            cuCtxSetCurrent(ctx: CUcontext);
            cuCtxSynchronize();
            cuDevicePrimaryCtxRelease_v2(dev: CUdevice);
            cuDevicePrimaryCtxReset_v2(dev: CUdevice);
            cuDevicePrimaryCtxRetain(pctx: *mut CUcontext, dev: CUdevice);

            // Modules, linking and functions.
            cuFuncGetAttribute(pi: *mut c_int, attrib: c_uint, hfunc: CUfunction);
            cuModuleGetFunction(hfunc: *mut CUfunction, hmod: CUmodule, name: *const c_char);
            cuModuleLoadDataEx(
                module: *mut CUmodule, image: *const c_void, num_options: c_uint,
                options: *mut c_uint, option_values: *mut *mut c_void
            );
            cuModuleUnload(hmod: CUmodule);

            // Launches, streams and events.
            cuEventCreate(event: *mut CUevent, flags: c_uint);
            cuEventDestroy_v2(event: CUevent);
            cuEventElapsedTime(milliseconds: *mut f32, start: CUevent, end: CUevent);
            cuEventRecord(event: CUevent, stream: CUstream);
            cuEventSynchronize(event: CUevent);
            cuLaunchKernel(
                func: CUfunction, grid_dim_x: c_uint, grid_dim_y: c_uint, grid_dim_z: c_uint,
                block_dim_x: c_uint, block_dim_y: c_uint, block_dim_z: c_uint, shared_mem_bytes: c_uint,
                stream: CUstream, kernel_params: *mut *mut c_void, extra: *mut *mut c_void
            );
            cuStreamCreateWithPriority(stream: *mut CUstream, flags: c_uint, priority: c_int);
            cuStreamDestroy_v2(stream: CUstream);
            cuStreamSynchronize(stream: CUstream);
            cuStreamWaitEvent(stream: CUstream, event: CUevent, flags: c_uint);

            // Memory.
            cuMemAllocHost_v2(p: *mut *mut c_void, bytesize: usize);
            cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytesize: usize);
            cuMemFreeHost(p: *mut c_void);
            cuMemFree_v2(dptr: CUdeviceptr);
            cuMemsetD8_v2(dst_device: CUdeviceptr, value: c_uchar, count: usize);
            cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
            cuMemcpyDtoDAsync_v2(
                dst_device: CUdeviceptr, src_device: CUdeviceptr, byte_count: usize, stream: CUstream
            );
            cuMemcpyDtoHAsync_v2(
                dst_host: *mut c_void, src_device: CUdeviceptr, byte_count: usize, stream: CUstream
            );
            cuMemcpyHtoDAsync_v2(
                dst_device: CUdeviceptr, src_host: *const c_void, byte_count: usize, stream: CUstream
            );

            // Graphs.
            cuGraphDestroy(graph: CUgraph);
        }
    };
}

#[cfg(feature = "cust")]
pub(crate) use common;

common! { functions!,
    /// Functions that cust calls, too.
    struct Common;
}

functions! {
    /// Functions that cust does not call, or calls with other types.
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

    // Peers.
    cuCtxEnablePeerAccess(peer_context: CUcontext, flags: c_uint);
    cuDeviceCanAccessPeer(can_access: *mut c_int, dev: CUdevice, peer_dev: CUdevice);
    cuIpcCloseMemHandle(dptr: CUdeviceptr);
    cuIpcGetMemHandle(handle: *mut CUipcMemHandle, dptr: CUdeviceptr);
    cuIpcOpenMemHandle_v2(pdptr: *mut CUdeviceptr, handle: CUipcMemHandle, flags: c_uint);

    // Memory.
    cuPointerGetAttribute(data: *mut c_void, attribute: c_uint, address: CUdeviceptr);
}
