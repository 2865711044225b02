//! A stand-in for libcuda with two devices whose memory is the host's. Kernels are not run, only
//! written down. Tests compile it into a library and have it opened in the driver's place, and in
//! that of NCCL (`nccl.rs`), whose sums it does run.
//!
//! It checks what the driver would check and a test could get wrong: that a context is current,
//! that a stream belongs to it, that handles are its own. It lacks most functions on purpose.
#![allow(non_snake_case, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const INVALID_VALUE: u32 = 1;
const INVALID_DEVICE: u32 = 101;
const INVALID_CONTEXT: u32 = 201;
const INVALID_PTX: u32 = 218;
const INVALID_HANDLE: u32 = 400;
const NOT_FOUND: u32 = 500;
const CAPTURE_UNSUPPORTED: u32 = 900;

/// `CU_STREAM_CAPTURE_MODE_RELAXED`.
const RELAXED: c_uint = 2;

/// One launch, as a test reads it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Launch {
    /// Blocks of a cluster along x, and whether it may start before the one in front has ended.
    pub cluster: u32,
    pub overlap: c_int,
    pub device: c_int,
    pub captured: c_int,
    pub stream: usize,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub kernel: [u8; 64],
    /// The first eight bytes of the first parameter, and of the second where there is one.
    pub first: u64,
    pub second: u64,
}

#[derive(Default)]
struct State {
    initialized: bool,
    /// Retains of each device's primary context.
    retained: [usize; 2],
    allocations: HashMap<u64, (usize, usize)>,
    /// Those of them that are pinned memory of the host: where they start.
    pinned: HashSet<u64>,
    /// Stream to device, and what it captures.
    streams: HashMap<usize, (usize, Option<Vec<Launch>>)>,
    modules: HashMap<usize, (usize, String)>,
    /// Function to device, name and number of parameters.
    functions: HashMap<usize, (usize, String, usize)>,
    graphs: HashMap<usize, Vec<Launch>>,
    /// Event to device, and the stream it was last recorded on.
    events: HashMap<usize, (usize, usize)>,
    launches: Vec<Launch>,
    /// Which stream was told to wait for which.
    waits: Vec<[usize; 2]>,
    comms: nccl::Comms,
    /// What a function is to return instead of doing its work; `name` or `name@device`.
    failures: HashMap<String, u32>,
    handles: usize,
}

/// `CUlaunchConfig` and `CUlaunchAttribute`, as the driver's header has them.
#[repr(C)]
struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    stream: usize,
    attributes: *const Attribute,
    attribute_count: u32,
}

#[repr(C)]
struct Attribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

const CLUSTER_DIMENSION: u32 = 4;
const PROGRAMMATIC_SERIALIZATION: u32 = 6;

/// Notes a launch, on the stream or in what it captures.
fn launch(
    function: usize,
    [grid, block]: [[u32; 3]; 2],
    shared_bytes: u32,
    stream: usize,
    params: *const *const u64,
    (cluster, overlap): (u32, c_int),
) -> Result<(), u32> {
    let device = current().ok_or(INVALID_CONTEXT)?;
    with(|state| {
        let (home, name, count) = state.functions.get(&function).ok_or(INVALID_HANDLE)?;
        let param = |index: usize| if index < *count { unsafe { **params.add(index) } } else { 0 };
        let (first, second) = (param(0), param(1));
        if *home != device || state.device_of(stream)? != device {
            return Err(INVALID_HANDLE);
        }
        let mut kernel = [0; 64];
        kernel[..name.len()].copy_from_slice(name.as_bytes());
        let device = device as c_int;
        let captured = 0;
        let mut launch =
            Launch { cluster, overlap, device, captured, stream, kernel, shared_bytes, grid, block, first, second };
        match state.streams.get_mut(&stream) {
            Some((_, Some(list))) => {
                launch.captured = 1;
                list.push(launch);
            }
            _ => state.launches.push(launch),
        }
        Ok(())
    })
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    static CURRENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static CAPTURE_MODE: Cell<c_uint> = const { Cell::new(0) };
}

fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    f(STATE.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert_default())
}

/// How often each device's primary context has been reset.
static RESETS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Device `d` has context `0x100 + d` until it is reset, then another; null is none.
fn context(device: usize) -> usize {
    0x100 + device + 0x10 * RESETS[device].load(SeqCst)
}

/// The device whose context is current on this thread, unless that has been reset meanwhile.
fn current() -> Option<usize> {
    let top = CURRENT.with_borrow(|stack| stack.last().copied())?;
    (0..2).find(|&device| context(device) == top)
}

impl State {
    fn handle(&mut self) -> usize {
        self.handles += 0x10;
        0x10000 + self.handles
    }

    /// The device of a stream. Null and the two other default streams (1 for the one that waits for all,
    /// 2 for the thread's own) are of the current context's.
    fn device_of(&self, stream: usize) -> Result<usize, u32> {
        match stream {
            0..=2 => current().ok_or(INVALID_CONTEXT),
            _ => self.streams.get(&stream).map(|stream| stream.0).ok_or(INVALID_HANDLE),
        }
    }

    fn holding(&self, address: u64) -> Option<(usize, u64)> {
        let holds = |start: u64, bytes: usize| (start..start + bytes as u64).contains(&address);
        self.allocations
            .iter()
            .find(|(start, (bytes, _))| holds(**start, *bytes))
            .map(|(start, (bytes, device))| (*device, start + *bytes as u64 - address))
    }
}

/// A function of the driver. `fail` is asked first.
macro_rules! cuda {
    ($($name:ident($($arg:ident: $type:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
            let failure = with(|state| {
                let here = current().and_then(|device| {
                    state.failures.get(&format!("{}@{device}", stringify!($name)))
                });
                here.or(state.failures.get(stringify!($name))).copied()
            });
            if let Some(code) = failure {
                return code;
            }
            #[allow(unused_unsafe)]
            let result: Result<(), u32> = (|| unsafe { $body })();
            result.err().unwrap_or(0)
        }
    )*};
}

mod nccl;

cuda! {
    cuInit(flags: c_uint) {
        if flags != 0 { return Err(INVALID_VALUE); }
        with(|state| state.initialized = true);
        Ok(())
    }
    cuDriverGetVersion(version: *mut c_int) { version.write(13000); Ok(()) }
    cuDeviceGetCount(count: *mut c_int) {
        if !with(|state| state.initialized) { return Err(3); }
        count.write(2);
        Ok(())
    }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        if !(0..2).contains(&ordinal) { return Err(INVALID_DEVICE); }
        device.write(ordinal);
        Ok(())
    }
    cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        let text = format!("Mock device {device}\0");
        if text.len() > length as usize { return Err(INVALID_VALUE); }
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len());
        Ok(())
    }
    cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { bytes.write(1 << 33); Ok(()) }
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) {
        value.write(match attribute {
            75 => 9,
            76 | 115 => 0,
            // An H200's multiprocessors, their clock, its memory's clock and bus.
            16 => 132,
            13 => 1_980_000,
            36 => 3_201_000,
            37 => 6144,
            _ => return Err(INVALID_VALUE),
        });
        Ok(())
    }

    cuDevicePrimaryCtxRetain(out: *mut usize, device: c_int) {
        if !(0..2).contains(&device) { return Err(INVALID_DEVICE); }
        with(|state| state.retained[device as usize] += 1);
        out.write(context(device as usize));
        Ok(())
    }
    cuDevicePrimaryCtxRelease_v2(device: c_int) {
        with(|state| match state.retained[device as usize] {
            0 => Err(INVALID_CONTEXT),
            _ => { state.retained[device as usize] -= 1; Ok(()) }
        })
    }
    cuDevicePrimaryCtxReset_v2(device: c_int) {
        if !(0..2).contains(&device) { return Err(INVALID_DEVICE); }
        let device = device as usize;
        RESETS[device].fetch_add(1, SeqCst);
        with(|state| {
            state.allocations.retain(|_, (_, home)| *home != device);
            state.streams.retain(|_, (home, _)| *home != device);
            state.modules.retain(|_, (home, _)| *home != device);
            state.functions.retain(|_, (home, ..)| *home != device);
            state.events.retain(|_, (home, _)| *home != device);
        });
        Ok(())
    }
    cuCtxGetCurrent(out: *mut usize) {
        out.write(CURRENT.with_borrow(|stack| stack.last().copied()).unwrap_or(0));
        Ok(())
    }
    cuCtxSetCurrent(new: usize) {
        CURRENT.with_borrow_mut(|stack| {
            stack.pop();
            if new != 0 { stack.push(new); }
        });
        Ok(())
    }
    cuCtxPushCurrent_v2(new: usize) {
        if new == 0 { return Err(INVALID_CONTEXT); }
        CURRENT.with_borrow_mut(|stack| stack.push(new));
        Ok(())
    }
    cuCtxPopCurrent_v2(out: *mut usize) {
        out.write(CURRENT.with_borrow_mut(|stack| stack.pop()).ok_or(INVALID_CONTEXT)?);
        Ok(())
    }
    cuCtxGetDevice(out: *mut c_int) {
        out.write(current().ok_or(INVALID_CONTEXT)? as c_int);
        Ok(())
    }
    cuCtxSynchronize() { current().map(drop).ok_or(INVALID_CONTEXT) }

    cuMemAlloc_v2(out: *mut u64, bytes: usize) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        if bytes == 0 { return Err(INVALID_VALUE); }
        let memory = Box::leak(vec![0_u128; bytes.div_ceil(16)].into_boxed_slice());
        let address = memory.as_mut_ptr() as u64;
        with(|state| state.allocations.insert(address, (bytes, device)));
        out.write(address);
        Ok(())
    }
    cuMemFree_v2(address: u64) {
        with(|state| state.allocations.remove(&address)).map(drop).ok_or(INVALID_VALUE)
    }
    cuMemAllocHost_v2(out: *mut u64, bytes: usize) {
        let code = cuMemAlloc_v2(out, bytes);
        if code != 0 { return Err(code); }
        with(|state| state.pinned.insert(*out));
        Ok(())
    }
    cuMemFreeHost(address: u64) {
        if !with(|state| state.pinned.remove(&address)) { return Err(INVALID_VALUE); }
        with(|state| state.allocations.remove(&address)).map(drop).ok_or(INVALID_VALUE)
    }
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        current().ok_or(INVALID_CONTEXT)?;
        free.write(1 << 32);
        total.write(1 << 33);
        Ok(())
    }
    cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize) {
        current().ok_or(INVALID_CONTEXT)?;
        let (_, room) = with(|state| state.holding(to)).ok_or(INVALID_VALUE)?;
        if bytes as u64 > room { return Err(INVALID_VALUE); }
        std::ptr::copy_nonoverlapping(from, to as *mut u8, bytes);
        Ok(())
    }
    cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) {
        current().ok_or(INVALID_CONTEXT)?;
        let (_, room) = with(|state| state.holding(from)).ok_or(INVALID_VALUE)?;
        if bytes as u64 > room { return Err(INVALID_VALUE); }
        std::ptr::copy_nonoverlapping(from as *const u8, to, bytes);
        Ok(())
    }
    cuPointerGetAttribute(out: *mut c_void, attribute: c_uint, address: u64) {
        let (device, room) = with(|state| state.holding(address)).ok_or(INVALID_VALUE)?;
        let pinned = with(|state| {
            let start = state.allocations.iter().find(|(start, (bytes, _))| **start + *bytes as u64 == address + room);
            start.is_some_and(|(start, _)| state.pinned.contains(start))
        });
        match attribute {
            1 => out.cast::<usize>().write(context(device)),
            // `CU_MEMORYTYPE_HOST`, `CU_MEMORYTYPE_DEVICE`.
            2 => out.cast::<c_uint>().write(if pinned { 1 } else { 2 }),
            // Managed?
            8 => out.cast::<c_uint>().write(0),
            9 => out.cast::<c_int>().write(device as c_int),
            _ => return Err(INVALID_VALUE),
        }
        Ok(())
    }

    cuModuleLoadDataEx(
        out: *mut usize, image: *const c_char, count: c_uint, options: *const c_uint,
        values: *const *mut c_void
    ) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        let capturing = with(|state| state.streams.values().any(|stream| stream.1.is_some()));
        if capturing && CAPTURE_MODE.get() != RELAXED { return Err(CAPTURE_UNSUPPORTED); }
        let text = CStr::from_ptr(image).to_string_lossy().into_owned();
        if !text.contains(".entry") {
            let option = |wanted| (0..count as usize).find(|&i| *options.add(i) == wanted)
                .map(|i| *values.add(i));
            if let (Some(log), Some(room)) = (option(5), option(6)) {
                let message = b"ptxas error : no entry in sight\0";
                let length = message.len().min(room as usize);
                std::ptr::copy_nonoverlapping(message.as_ptr(), log.cast(), length);
            }
            return Err(INVALID_PTX);
        }
        out.write(with(|state| {
            let handle = state.handle();
            state.modules.insert(handle, (device, text));
            handle
        }));
        Ok(())
    }
    cuModuleUnload(module: usize) {
        with(|state| state.modules.remove(&module)).map(drop).ok_or(INVALID_HANDLE)
    }
    cuModuleGetFunction(out: *mut usize, module: usize, name: *const c_char) {
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        out.write(with(|state| {
            let (device, text) = state.modules.get(&module).ok_or(INVALID_HANDLE)?;
            let device = *device;
            let header = text.split_once(&format!(".entry {name}(")).ok_or(NOT_FOUND)?.1;
            let params = header.split(')').next().unwrap_or_default().matches(".param").count();
            let handle = state.handle();
            state.functions.insert(handle, (device, name, params));
            Ok::<_, u32>(handle)
        })?);
        Ok(())
    }
    cuLaunchKernel(
        function: usize, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, shared_bytes: c_uint, stream: usize,
        params: *const *const u64, _extra: *mut c_void
    ) {
        let geometry = [[grid_x, grid_y, grid_z], [block_x, block_y, block_z]];
        launch(function, geometry, shared_bytes, stream, params, (1, 0))
    }
    cuLaunchKernelEx(
        config: *const Config, function: usize, params: *const *const u64, _extra: *mut c_void
    ) {
        let Config { grid, block, shared_bytes, stream, attributes, attribute_count } = &*config;
        let (mut cluster, mut overlap) = (1, 0);
        for attribute in std::slice::from_raw_parts(*attributes, *attribute_count as usize) {
            match attribute.id {
                CLUSTER_DIMENSION => cluster = attribute.value[0],
                PROGRAMMATIC_SERIALIZATION => overlap = attribute.value[0] as c_int,
                _ => return Err(INVALID_VALUE),
            }
        }
        launch(function, [*grid, *block], *shared_bytes, *stream, params, (cluster, overlap))
    }
    cuFuncSetAttribute(function: usize, _attribute: c_uint, _value: c_int) {
        with(|state| state.functions.get(&function).map(drop)).ok_or(INVALID_HANDLE)
    }

    cuStreamCreateWithPriority(out: *mut usize, _flags: c_uint, _priority: c_int) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        out.write(with(|state| {
            let handle = state.handle();
            state.streams.insert(handle, (device, None));
            handle
        }));
        Ok(())
    }
    cuStreamDestroy_v2(stream: usize) {
        with(|state| state.streams.remove(&stream)).map(drop).ok_or(INVALID_HANDLE)
    }
    cuStreamSynchronize(stream: usize) { with(|state| state.device_of(stream)).map(drop) }
    cuStreamQuery(stream: usize) { with(|state| state.device_of(stream)).map(drop) }
    cuStreamGetCtx(stream: usize, out: *mut usize) {
        out.write(context(with(|state| state.device_of(stream))?));
        Ok(())
    }
    cuStreamIsCapturing(stream: usize, out: *mut c_uint) {
        with(|state| state.device_of(stream))?;
        let capturing = with(|state| matches!(state.streams.get(&stream), Some((_, Some(_)))));
        out.write(capturing as c_uint);
        Ok(())
    }
    cuStreamBeginCapture_v2(stream: usize, _mode: c_uint) {
        with(|state| match state.streams.get_mut(&stream) {
            Some((_, capture @ None)) => { *capture = Some(Vec::new()); Ok(()) }
            Some(_) => Err(401),
            None => Err(900),
        })
    }
    cuStreamEndCapture(stream: usize, out: *mut usize) {
        out.write(with(|state| {
            let captured = state.streams.get_mut(&stream).ok_or(INVALID_HANDLE)?.1.take();
            let handle = state.handle();
            state.graphs.insert(handle, captured.ok_or(401_u32)?);
            Ok::<_, u32>(handle)
        })?);
        Ok(())
    }
    cuThreadExchangeStreamCaptureMode(mode: *mut c_uint) {
        mode.write(CAPTURE_MODE.replace(mode.read()));
        Ok(())
    }
    cuStreamWaitEvent(stream: usize, event: usize, _flags: c_uint) {
        with(|state| {
            state.device_of(stream)?;
            let (_, recorded) = *state.events.get(&event).ok_or(INVALID_HANDLE)?;
            state.waits.push([stream, recorded]);
            Ok(())
        })
    }
    cuEventCreate(out: *mut usize, _flags: c_uint) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        out.write(with(|state| {
            let handle = state.handle();
            state.events.insert(handle, (device, 0));
            handle
        }));
        Ok(())
    }
    cuEventRecord(event: usize, stream: usize) {
        with(|state| {
            let device = state.device_of(stream)?;
            match state.events.get_mut(&event) {
                Some((home, recorded)) if *home == device => { *recorded = stream; Ok(()) }
                _ => Err(INVALID_HANDLE),
            }
        })
    }
    cuEventDestroy_v2(event: usize) {
        with(|state| state.events.remove(&event)).map(drop).ok_or(INVALID_HANDLE)
    }

    cuGraphInstantiateWithFlags(out: *mut usize, graph: usize, _flags: u64) {
        out.write(with(|state| {
            let work = state.graphs.get(&graph).ok_or(INVALID_HANDLE)?.clone();
            let handle = state.handle();
            state.graphs.insert(handle, work);
            Ok::<_, u32>(handle)
        })?);
        Ok(())
    }
    cuGraphLaunch(graph: usize, stream: usize) {
        with(|state| {
            state.device_of(stream)?;
            let work = state.graphs.get(&graph).ok_or(INVALID_HANDLE)?.clone();
            state.launches.extend(work.into_iter().map(|launch| Launch { stream, ..launch }));
            Ok(())
        })
    }
    cuGraphDestroy(graph: usize) {
        with(|state| state.graphs.remove(&graph)).map(drop).ok_or(INVALID_HANDLE)
    }
    cuGraphExecDestroy(graph: usize) {
        with(|state| state.graphs.remove(&graph)).map(drop).ok_or(INVALID_HANDLE)
    }

    cuGetErrorName(code: c_uint, out: *mut *const c_char) {
        out.write(match code {
            1 => c"CUDA_ERROR_INVALID_VALUE",
            912 => c"CUDA_ERROR_INVALID_CLUSTER_SIZE",
            _ => return Err(INVALID_VALUE),
        }.as_ptr());
        Ok(())
    }
    cuGetErrorString(code: c_uint, out: *mut *const c_char) {
        out.write(match code {
            1 => c"invalid argument",
            912 => c"invalid cluster size",
            _ => return Err(INVALID_VALUE),
        }.as_ptr());
        Ok(())
    }
}

/// Lets a function (`name` or `name@device`) fail with a code from now on; 0 ends that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_fail(name: *const c_char, code: u32) {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    with(|state| match code {
        0 => drop(state.failures.remove(&name)),
        _ => drop(state.failures.insert(name, code)),
    });
}

/// Takes the oldest launch that has been written down; false if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_launch(out: *mut Launch) -> bool {
    with(|state| {
        if state.launches.is_empty() {
            return false;
        }
        unsafe { out.write(state.launches.remove(0)) };
        true
    })
}

/// Takes the oldest wait: the stream that waits, and the one that it waits for; false if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_wait(out: *mut [usize; 2]) -> bool {
    with(|state| {
        if state.waits.is_empty() {
            return false;
        }
        unsafe { out.write(state.waits.remove(0)) };
        true
    })
}

/// What is alive: contexts retained, allocations, streams, modules, graphs, events, communicators.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_alive(out: *mut [usize; 7]) {
    with(|state| unsafe {
        out.write([
            state.retained.iter().sum(),
            state.allocations.len(),
            state.streams.len(),
            state.modules.len(),
            state.graphs.len(),
            state.events.len(),
            state.comms.alive.len(),
        ]);
    });
}
