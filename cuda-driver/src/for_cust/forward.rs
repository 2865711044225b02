//! The functions that cust 0.3.2 calls, under the names it links to.
//!
//! The list was taken from cust's sources, and the compiler checks it against cust_raw 0.11.3: functions that cust alone
//! calls have cust_raw's types, and those that this crate calls, too (`functions.rs`), have as many arguments as in
//! cust_raw's declaration, each of the same size.

use super::code::fold;
use crate::sys::{CUDA_ERROR_NO_DEVICE, CUDA_ERROR_NOT_SUPPORTED};
use std::os::raw::{c_char, c_int, c_uchar, c_uint, c_void};

/// Defines, for each function in a list, the symbol of that name that cust links to, and forwards it to the driver.
///
/// Without a driver these functions return `CUDA_ERROR_NO_DEVICE`; if the driver lacks the function,
/// `CUDA_ERROR_NOT_SUPPORTED`. They return only numbers that cust's enum has.
macro_rules! forward {
    ($table:ident; $($name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {
        $(
            // SAFETY: libcuda is not linked, so this is the only definition of the name.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($arg: $type),*) -> c_uint {
                match $table().map(|table| table.$name) {
                    // SAFETY: cust calls this function with arguments that are valid for the driver's function of this
                    // name and type, which gets the same ones.
                    Some(Some(function)) => fold(unsafe { function($($arg),*) }),
                    Some(None) => CUDA_ERROR_NOT_SUPPORTED,
                    None => CUDA_ERROR_NO_DEVICE,
                }
            }
        )*
    };
}

/// The functions that this crate calls, too.
mod common {
    use super::*;
    use crate::{
        driver::opened,
        functions::{Common, common},
        sys::*,
    };

    fn table() -> Option<&'static Common> {
        opened().ok().map(|driver| &driver.common)
    }

    common! { forward!, table; }

    /// The sizes in bytes of a function's arguments and, last, of its result.
    trait Shape: Copy {
        const SIZES: &'static [usize];
    }

    macro_rules! shape {
        ($($arg:ident)*) => {
            impl<$($arg,)* Result> Shape for unsafe extern "C" fn($($arg),*) -> Result {
                const SIZES: &'static [usize] = &[$(size_of::<$arg>(),)* size_of::<Result>()];
            }
        };
    }

    shape! {}
    shape! { A }
    shape! { A B }
    shape! { A B C }
    shape! { A B C D }
    shape! { A B C D E }
    shape! { A B C D E F G H I J K }

    const fn expect_one_shape<A: Shape, B: Shape>(_: A, _: B) {
        assert!(A::SIZES.len() == B::SIZES.len());
        let mut index = 0;
        while index < A::SIZES.len() {
            assert!(A::SIZES[index] == B::SIZES[index]);
            index += 1;
        }
    }

    /// A type to be inferred, in the place of each.
    macro_rules! any {
        ($type:ty) => {
            _
        };
    }

    macro_rules! check {
        ($($name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {
            $(const _: () = expect_one_shape(
                $name as unsafe extern "C" fn($(any!($type)),*) -> _,
                cust_raw::$name as unsafe extern "C" fn($(any!($type)),*) -> _,
            );)*
        };
    }

    common! { check!, }
}

/// What cust alone calls.
mod own {
    use super::*;
    use crate::{driver::opened, table::functions};
    use cust_raw::*;
    use std::{
        os::raw::{c_uchar, c_ushort},
        sync::OnceLock,
    };

    /// Looked up when cust first calls one of them.
    fn table() -> Option<&'static Own> {
        static TABLE: OnceLock<Option<Own>> = OnceLock::new();
        // SAFETY: the signatures are those of cuda.h, and the library stays open, as `driver` keeps it.
        TABLE.get_or_init(|| opened().ok().map(|driver| unsafe { Own::load(&driver.library) })).as_ref()
    }

    /// Asserts, when compiled, that each function has the type that cust_raw declares.
    macro_rules! check {
        ($($name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {
            $(const _: unsafe extern "C" fn($($type),*) -> CUresult = cust_raw::$name;)*
        };
    }

    /// Calls a macro with the list.
    macro_rules! own {
        ($define:ident!, $($in_front:tt)*) => {
            $define! {
                $($in_front)*

                // Contexts.
                cuCtxCreate_v2(pctx: *mut CUcontext, flags: c_uint, dev: CUdevice);
                cuCtxDestroy_v2(ctx: CUcontext);
                cuCtxGetApiVersion(ctx: CUcontext, version: *mut c_uint);
                cuCtxGetCacheConfig(pconfig: *mut CUfunc_cache);
                cuCtxGetFlags(flags: *mut c_uint);
                cuCtxGetLimit(pvalue: *mut usize, limit: CUlimit);
                cuCtxGetSharedMemConfig(config: *mut CUsharedconfig);
                cuCtxGetStreamPriorityRange(least_priority: *mut c_int, greatest_priority: *mut c_int);
                cuCtxSetCacheConfig(config: CUfunc_cache);
                cuCtxSetLimit(limit: CUlimit, value: usize);
                cuCtxSetSharedMemConfig(config: CUsharedconfig);
                cuDevicePrimaryCtxSetFlags_v2(dev: CUdevice, flags: c_uint);

                // Modules, linking and functions.
                cuFuncSetCacheConfig(hfunc: CUfunction, config: CUfunc_cache);
                cuFuncSetSharedMemConfig(hfunc: CUfunction, config: CUsharedconfig);
                cuLinkAddData_v2(
                    state: CUlinkState, kind: CUjitInputType, data: *mut c_void, size: usize,
                    name: *const c_char, num_options: c_uint, options: *mut CUjit_option,
                    option_values: *mut *mut c_void
                );
                cuLinkComplete(state: CUlinkState, cubin_out: *mut *mut c_void, size_out: *mut usize);
                cuLinkCreate_v2(
                    num_options: c_uint, options: *mut CUjit_option, option_values: *mut *mut c_void,
                    state_out: *mut CUlinkState
                );
                cuLinkDestroy(state: CUlinkState);
                cuModuleGetGlobal_v2(
                    dptr: *mut CUdeviceptr, bytes: *mut usize, hmod: CUmodule, name: *const c_char
                );
                cuModuleLoad(module: *mut CUmodule, fname: *const c_char);
                cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
                cuOccupancyAvailableDynamicSMemPerBlock(
                    dynamic_smem_size: *mut usize, func: CUfunction, num_blocks: c_int, block_size: c_int
                );
                cuOccupancyMaxActiveBlocksPerMultiprocessor(
                    num_blocks: *mut c_int, func: CUfunction, block_size: c_int, dynamic_smem_size: usize
                );
                cuOccupancyMaxPotentialBlockSize(
                    min_grid_size: *mut c_int, block_size: *mut c_int, func: CUfunction,
                    block_size_to_dynamic_smem_size: CUoccupancyB2DSize, dynamic_smem_size: usize,
                    block_size_limit: c_int
                );

                // Launches, streams and events.
                cuEventQuery(event: CUevent);
                cuLaunchHostFunc(stream: CUstream, func: CUhostFn, user_data: *mut c_void);
                cuStreamGetFlags(stream: CUstream, flags: *mut c_uint);
                cuStreamGetPriority(stream: CUstream, priority: *mut c_int);

                // Memory.
                cuMemAdvise(dev_ptr: CUdeviceptr, count: usize, advice: CUmem_advise, device: CUdevice);
                cuMemAllocAsync(dptr: *mut CUdeviceptr, bytesize: usize, stream: CUstream);
                cuMemAllocManaged(dptr: *mut CUdeviceptr, bytesize: usize, flags: c_uint);
                cuMemFreeAsync(dptr: CUdeviceptr, stream: CUstream);
                cuMemPrefetchAsync(dev_ptr: CUdeviceptr, count: usize, dst_device: CUdevice, stream: CUstream);
                cuMemcpy2D_v2(copy: *const CUDA_MEMCPY2D);
                cuMemcpyAtoH_v2(
                    dst_host: *mut c_void, src_array: CUarray, src_offset: usize, byte_count: usize
                );
                cuMemcpyDtoD_v2(dst_device: CUdeviceptr, src_device: CUdeviceptr, byte_count: usize);
                cuMemcpyDtoH_v2(dst_host: *mut c_void, src_device: CUdeviceptr, byte_count: usize);
                cuMemcpyHtoA_v2(
                    dst_array: CUarray, dst_offset: usize, src_host: *const c_void, byte_count: usize
                );
                cuMemcpyHtoD_v2(dst_device: CUdeviceptr, src_host: *const c_void, byte_count: usize);
                cuMemsetD16Async(dst_device: CUdeviceptr, value: c_ushort, count: usize, stream: CUstream);
                cuMemsetD16_v2(dst_device: CUdeviceptr, value: c_ushort, count: usize);
                cuMemsetD32Async(dst_device: CUdeviceptr, value: c_uint, count: usize, stream: CUstream);
                cuMemsetD32_v2(dst_device: CUdeviceptr, value: c_uint, count: usize);
                cuMemsetD8Async(dst_device: CUdeviceptr, value: c_uchar, count: usize, stream: CUstream);

                // Arrays, textures and surfaces.
                cuArray3DCreate_v2(handle: *mut CUarray, allocate_array: *const CUDA_ARRAY3D_DESCRIPTOR);
                cuArray3DGetDescriptor_v2(array_descriptor: *mut CUDA_ARRAY3D_DESCRIPTOR, array: CUarray);
                cuArrayDestroy(array: CUarray);
                cuSurfObjectCreate(surf_object: *mut CUsurfObject, res_desc: *const CUDA_RESOURCE_DESC);
                cuSurfObjectDestroy(surf_object: CUsurfObject);
                cuSurfObjectGetResourceDesc(res_desc: *mut CUDA_RESOURCE_DESC, surf_object: CUsurfObject);
                cuTexObjectCreate(
                    tex_object: *mut CUtexObject, res_desc: *const CUDA_RESOURCE_DESC,
                    tex_desc: *const CUDA_TEXTURE_DESC, res_view_desc: *const CUDA_RESOURCE_VIEW_DESC
                );
                cuTexObjectDestroy(tex_object: CUtexObject);
                cuTexObjectGetResourceDesc(res_desc: *mut CUDA_RESOURCE_DESC, tex_object: CUtexObject);
                cuTexObjectGetResourceViewDesc(
                    res_view_desc: *mut CUDA_RESOURCE_VIEW_DESC, tex_object: CUtexObject
                );

                // Memory of other APIs.
                cuDestroyExternalMemory(ext_mem: CUexternalMemory);
                cuExternalMemoryGetMappedBuffer(
                    dev_ptr: *mut CUdeviceptr, ext_mem: CUexternalMemory,
                    buffer_desc: *const CUDA_EXTERNAL_MEMORY_BUFFER_DESC
                );
                cuImportExternalMemory(
                    ext_mem_out: *mut CUexternalMemory,
                    mem_handle_desc: *const CUDA_EXTERNAL_MEMORY_HANDLE_DESC
                );

                // Graphs.
                cuGraphAddKernelNode(
                    graph_node: *mut CUgraphNode, graph: CUgraph, dependencies: *const CUgraphNode,
                    num_dependencies: usize, node_params: *const CUDA_KERNEL_NODE_PARAMS
                );
                cuGraphCreate(graph: *mut CUgraph, flags: c_uint);
                cuGraphDebugDotPrint(graph: CUgraph, path: *const c_char, flags: c_uint);
                cuGraphGetEdges(
                    graph: CUgraph, from: *mut CUgraphNode, to: *mut CUgraphNode, num_edges: *mut usize
                );
                cuGraphGetNodes(graph: CUgraph, nodes: *mut CUgraphNode, num_nodes: *mut usize);
                cuGraphKernelNodeGetParams(node: CUgraphNode, node_params: *mut CUDA_KERNEL_NODE_PARAMS);
                cuGraphNodeGetType(node: CUgraphNode, kind: *mut CUgraphNodeType);
            }
        };
    }

    own! { functions!, struct Own; }
    own! { forward!, table; }
    own! { check!, }
}
