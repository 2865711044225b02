//! A stand-in for libcuda whose devices have the host's memory. Launches are written down, and what
//! streams have is done when somebody waits for it (`queue.rs`): copies, sums, and kernels where a test
//! has said how kernels are run. `norm-testing`'s build script compiles it into a library, which tests open in the
//! driver's place, and in that of NCCL (`nccl.rs`).
//!
//! It checks what the driver would check and a test could get wrong: that a context is current,
//! that a stream belongs to it, that handles are its own, that a kernel may have the shared memory and the
//! clusters that it is launched with. It lacks most functions on purpose.
#![allow(non_snake_case, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

mod capture;
mod function;
mod interface;
mod settings;
mod queue;

use capture::{Capture, Place};
use function::Function;
use interface::{Allocation, DEVICES, Execution, Executor, Launch};
use queue::{Kernel, Mark, Queue, Task};
use settings::Settings;

const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const INVALID_DEVICE: u32 = 101;
const INVALID_CONTEXT: u32 = 201;
const INVALID_PTX: u32 = 218;
const INVALID_HANDLE: u32 = 400;
const NOT_FOUND: u32 = 500;
const CAPTURE_UNSUPPORTED: u32 = 900;
const CAPTURE_UNJOINED: u32 = 904;
const CAPTURE_ISOLATION: u32 = 905;
const INVALID_CLUSTER_SIZE: u32 = 912;
const UNKNOWN: u32 = 999;

/// Bytes of a device's memory.
const MEMORY: usize = 1 << 33;

/// `CU_STREAM_CAPTURE_MODE_GLOBAL`, that of every thread to begin with.
const GLOBAL: c_uint = 0;
/// `CU_STREAM_CAPTURE_MODE_RELAXED`.
const RELAXED: c_uint = 2;

#[derive(Default)]
struct State {
    initialized: bool,
    /// Retains of each device's primary context.
    retained: [usize; DEVICES],
    /// What each device fails with since a kernel of it has; 0 if none has.
    broken: [u32; DEVICES],
    allocations: HashMap<u64, (usize, usize)>,
    /// Those of them that are pinned memory of the host: where they start.
    pinned: HashSet<u64>,
    /// Which device may access whose memory.
    peers: HashSet<(usize, usize)>,
    /// Allocations that are open for other processes' devices, each as often as it is.
    opened: Vec<u64>,
    streams: HashMap<usize, Stream>,
    modules: HashMap<usize, (usize, Arc<str>)>,
    functions: HashMap<usize, Arc<Function>>,
    /// By the stream whose capture it is, while it lasts.
    captures: HashMap<usize, Capture>,
    graphs: HashMap<usize, Vec<Task>>,
    events: HashMap<usize, Event>,
    launches: Vec<Launch>,
    /// Which stream was told to wait for which.
    waits: Vec<[usize; 2]>,
    comms: nccl::Comms,
    executor: Option<Executor>,
    settings: Settings,
    handles: usize,
}

struct Stream {
    device: usize,
    queue: Queue,
    /// The stream whose capture it takes part in.
    capture: Option<usize>,
}

struct Event {
    device: usize,
    /// What it was last recorded behind.
    recorded: Mark,
    /// In whose capture, and where there.
    capture: Option<(usize, Place)>,
}

/// `CUipcMemHandle`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IpcHandle([u8; 64]);

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

/// Notes a launch and gives it to the stream, or to what that captures.
///
/// # Safety
/// `params` leads to the function's parameters.
unsafe fn launch(
    function: usize,
    [grid, block]: [[u32; 3]; 2],
    shared_bytes: u32,
    stream: usize,
    params: *const *const u8,
    (cluster, overlap): (u32, c_int),
) -> Result<(), u32> {
    let device = current().ok_or(INVALID_CONTEXT)?;
    with(|state| {
        let function = Arc::clone(state.functions.get(&function).ok_or(INVALID_HANDLE)?);
        if function.device != device || state.device_of(stream)? != device {
            return Err(INVALID_HANDLE);
        }
        state.sound(device)?;
        function.permits(shared_bytes, cluster)?;
        // SAFETY: the caller guarantees a pointer for each parameter of the kernel, to as many bytes as it has.
        let parameters = unsafe { function.packed(params) };
        let word = |index: usize| match function.parameters.get(index) {
            Some(8..) => {
                let start: usize = function.parameters[..index].iter().sum();
                u64::from_le_bytes(parameters[start..start + 8].try_into().expect("eight bytes"))
            }
            _ => 0,
        };
        let (first, second) = (word(0), word(1));
        let device = device as c_int;
        let captured = c_int::from(state.capture_of(stream).is_some());
        let launch = Launch {
            cluster,
            overlap,
            device,
            captured,
            stream,
            grid,
            block,
            shared_bytes,
            first,
            second,
            ..Launch::new(&function.name)
        };
        // What a graph has is noted when it is launched.
        if captured == 0 {
            state.launches.push(launch);
        }
        state.enqueue(stream, Task::Kernel(Arc::new(Kernel { launch, function, parameters })));
        Ok(())
    })
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    static CURRENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static CAPTURE_MODE: Cell<c_uint> = const { Cell::new(GLOBAL) };
}

fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    f(STATE.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert_default())
}

/// How often each device's primary context has been reset.
static RESETS: [AtomicUsize; DEVICES] = [const { AtomicUsize::new(0) }; DEVICES];

/// Device `d` has context `0x100 + d` until it is reset, then another; null is none.
fn context(device: usize) -> usize {
    0x100 + device + 0x10 * RESETS[device].load(SeqCst)
}

/// The device whose context is current on this thread, unless that has been reset meanwhile.
fn current() -> Option<usize> {
    let top = CURRENT.with_borrow(|stack| stack.last().copied())?;
    (0..DEVICES).find(|&device| context(device) == top)
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
            _ => self.streams.get(&stream).map(|stream| stream.device).ok_or(INVALID_HANDLE),
        }
    }

    /// What has been captured of the stream's work and that of others, while it captures.
    fn capture_of(&mut self, stream: usize) -> Option<&mut Capture> {
        self.captures.get_mut(&self.streams.get(&stream)?.capture?)
    }

    /// Whether this thread may make a call that is unsafe while streams capture, as an allocation is: not if a capture of
    /// its own is not relaxed, nor, while its mode is global, if one of another thread is (CUDA driver API,
    /// `cuThreadExchangeStreamCaptureMode`).
    fn may_be_unsafe(&self) -> Result<(), u32> {
        let mode = CAPTURE_MODE.get();
        let forbids = |capture: &Capture| match capture.is_of_this_thread() {
            true => capture.mode != RELAXED,
            false => mode == GLOBAL && capture.mode == GLOBAL,
        };
        if mode != RELAXED && self.captures.values().any(forbids) { Err(CAPTURE_UNSUPPORTED) } else { Ok(()) }
    }

    /// Whether the device's kernels have all gone well.
    fn sound(&self, device: usize) -> Result<(), u32> {
        match self.broken[device] {
            0 => Ok(()),
            code => Err(code),
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

/// A function of the driver. `fail` is asked first. A panic is a failed call: out of `extern "C"` it would abort the whole
/// test program, with the tests that are still to run.
macro_rules! cuda {
    ($($name:ident($($arg:ident: $type:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
            let failure = with(|state| {
                state.settings.failure(stringify!($name), current())
            });
            if let Some(code) = failure {
                return code;
            }
            #[allow(unused_unsafe)]
            let call = || -> Result<(), u32> { unsafe { $body } };
            let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(UNKNOWN));
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
    cuDriverGetVersion(version: *mut c_int) {
        let (major, minor) = with(|state| state.settings.cuda);
        version.write(1000 * major + 10 * minor);
        Ok(())
    }
    cuDeviceGetCount(count: *mut c_int) {
        if !with(|state| state.initialized) { return Err(3); }
        count.write(with(|state| state.settings.devices.len()) as c_int);
        Ok(())
    }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        let count = with(|state| state.settings.devices.len());
        if !(0..count as c_int).contains(&ordinal) { return Err(INVALID_DEVICE); }
        device.write(ordinal);
        Ok(())
    }
    cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        let text = format!("Mock device {device}\0");
        if text.len() > length as usize { return Err(INVALID_VALUE); }
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len());
        Ok(())
    }
    cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { bytes.write(MEMORY); Ok(()) }
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) {
        let capability = with(|state| state.settings.devices.get(device as usize).copied());
        let (major, minor) = capability.ok_or(INVALID_DEVICE)?;
        value.write(match attribute {
            75 => major,
            76 => minor,
            115 => 0,
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
        if !(0..DEVICES as c_int).contains(&device) { return Err(INVALID_DEVICE); }
        // No context is current yet that would name the device.
        if let Some(code) = with(|state| state.settings.failure("cuDevicePrimaryCtxRetain", Some(device as usize))) {
            return Err(code);
        }
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
        if !(0..DEVICES as c_int).contains(&device) { return Err(INVALID_DEVICE); }
        let device = device as usize;
        RESETS[device].fetch_add(1, SeqCst);
        with(|state| {
            state.allocations.retain(|_, (_, home)| *home != device);
            state.streams.retain(|_, stream| stream.device != device);
            state.modules.retain(|_, (home, _)| *home != device);
            state.functions.retain(|_, function| function.device != device);
            state.events.retain(|_, event| event.device != device);
            state.broken[device] = 0;
            state.peers.retain(|&(from, to)| from != device && to != device);
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
    cuCtxSynchronize() {
        let device = current().ok_or(INVALID_CONTEXT)?;
        with(|state| { state.finish_device(device); state.sound(device) })
    }

    cuMemAlloc_v2(out: *mut u64, bytes: usize) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        if bytes == 0 { return Err(INVALID_VALUE); }
        with(|state| state.may_be_unsafe())?;
        if bytes > MEMORY { return Err(OUT_OF_MEMORY); }
        let memory = Box::leak(vec![0_u128; bytes.div_ceil(16)].into_boxed_slice());
        let address = memory.as_mut_ptr() as u64;
        with(|state| state.allocations.insert(address, (bytes, device)));
        out.write(address);
        Ok(())
    }
    cuMemFree_v2(address: u64) {
        with(|state| {
            let (_, device) = *state.allocations.get(&address).ok_or(INVALID_VALUE)?;
            // The driver waits for the device before it takes memory from it.
            state.finish_device(device);
            state.allocations.remove(&address);
            Ok(())
        })
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
    cuMemsetD8_v2(to: u64, value: u8, bytes: usize) {
        current().ok_or(INVALID_CONTEXT)?;
        with(|state| {
            let (_, room) = state.holding(to).ok_or(INVALID_VALUE)?;
            if bytes as u64 > room { return Err(INVALID_VALUE); }
            std::ptr::write_bytes(to as *mut u8, value, bytes);
            Ok(())
        })
    }
    cuDeviceCanAccessPeer(out: *mut c_int, device: c_int, peer: c_int) {
        let apart = with(|state| state.settings.apart.contains(&(device, peer)));
        out.write(c_int::from(device != peer && !apart));
        Ok(())
    }
    cuCtxEnablePeerAccess(peer: usize, flags: c_uint) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        let peer = (0..DEVICES).find(|&device| context(device) == peer).ok_or(INVALID_CONTEXT)?;
        if flags != 0 { return Err(INVALID_VALUE); }
        with(|state| {
            if state.settings.apart.contains(&(device as c_int, peer as c_int)) { return Err(217); }
            if state.peers.insert((device, peer)) { Ok(()) } else { Err(704) }
        })
    }
    // The other processes are this one.
    cuIpcGetMemHandle(out: *mut [u8; 64], address: u64) {
        if !with(|state| state.allocations.contains_key(&address)) { return Err(INVALID_VALUE); }
        let mut handle = [0; 64];
        handle[..8].copy_from_slice(&address.to_le_bytes());
        out.write(handle);
        Ok(())
    }
    cuIpcOpenMemHandle_v2(out: *mut u64, handle: IpcHandle, flags: c_uint) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        if flags != 1 { return Err(INVALID_VALUE); }
        let address = u64::from_le_bytes(handle.0[..8].try_into().expect("eight bytes"));
        with(|state| {
            let (_, home) = *state.allocations.get(&address).ok_or(INVALID_VALUE)?;
            if state.settings.apart.contains(&(device as c_int, home as c_int)) { return Err(217); }
            state.peers.insert((device, home));
            state.opened.push(address);
            Ok::<_, u32>(())
        })?;
        out.write(address);
        Ok(())
    }
    cuIpcCloseMemHandle(address: u64) {
        current().ok_or(INVALID_CONTEXT)?;
        with(|state| {
            let at = state.opened.iter().position(|&opened| opened == address).ok_or(INVALID_VALUE)?;
            state.opened.swap_remove(at);
            Ok(())
        })
    }
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        current().ok_or(INVALID_CONTEXT)?;
        free.write(1 << 32);
        total.write(MEMORY);
        Ok(())
    }
    cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize) {
        current().ok_or(INVALID_CONTEXT)?;
        with(|state| {
            let (_, room) = state.holding(to).ok_or(INVALID_VALUE)?;
            if bytes as u64 > room { return Err(INVALID_VALUE); }
            std::ptr::copy_nonoverlapping(from, to as *mut u8, bytes);
            Ok(())
        })
    }
    cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        with(|state| {
            state.sound(device)?;
            let (_, room) = state.holding(from).ok_or(INVALID_VALUE)?;
            if bytes as u64 > room { return Err(INVALID_VALUE); }
            std::ptr::copy_nonoverlapping(from as *const u8, to, bytes);
            Ok(())
        })
    }
    // The host's memory is used before these return, as the driver may, so what is ahead of them in the stream is done.
    cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, stream: usize) {
        with(|state| state.device_of(stream).map(|_| state.finish(stream)))?;
        match cuMemcpyHtoD_v2(to, from, bytes) { 0 => Ok(()), code => Err(code) }
    }
    cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, stream: usize) {
        with(|state| state.device_of(stream).map(|_| state.finish(stream)))?;
        match cuMemcpyDtoH_v2(to, from, bytes) { 0 => Ok(()), code => Err(code) }
    }
    cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) {
        with(|state| {
            state.device_of(stream)?;
            let fits = |address| state.holding(address).is_some_and(|(_, room)| bytes as u64 <= room);
            if !(fits(to) && fits(from)) { return Err(INVALID_VALUE); }
            state.enqueue(stream, Task::Copy { to, from, bytes });
            Ok(())
        })
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
        with(|state| state.may_be_unsafe())?;
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
        if let Some(code) = with(|state| state.settings.refusal(&text, device)) {
            return Err(code);
        }
        out.write(with(|state| {
            let handle = state.handle();
            state.modules.insert(handle, (device, text.into()));
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
            let function = Function::new(*device, Arc::clone(text), name).ok_or(NOT_FOUND)?;
            let handle = state.handle();
            state.functions.insert(handle, Arc::new(function));
            Ok::<_, u32>(handle)
        })?);
        Ok(())
    }
    cuLaunchKernel(
        function: usize, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint,
        block_y: c_uint, block_z: c_uint, shared_bytes: c_uint, stream: usize,
        params: *const *const u8, _extra: *mut c_void
    ) {
        let geometry = [[grid_x, grid_y, grid_z], [block_x, block_y, block_z]];
        launch(function, geometry, shared_bytes, stream, params, (1, 0))
    }
    cuLaunchKernelEx(
        config: *const Config, function: usize, params: *const *const u8, _extra: *mut c_void
    ) {
        let Config { grid, block, shared_bytes, stream, attributes, attribute_count } = &*config;
        let (mut cluster, mut overlap) = (1, 0);
        let device = current().ok_or(INVALID_CONTEXT)?;
        let capability = with(|state| state.settings.devices.get(device).copied()).ok_or(INVALID_DEVICE)?;
        if *attribute_count > 0 && !function::takes_attributes(capability) { return Err(INVALID_VALUE); }
        for attribute in std::slice::from_raw_parts(*attributes, *attribute_count as usize) {
            match attribute.id {
                CLUSTER_DIMENSION => cluster = attribute.value[0],
                PROGRAMMATIC_SERIALIZATION => overlap = attribute.value[0] as c_int,
                _ => return Err(INVALID_VALUE),
            }
        }
        launch(function, [*grid, *block], *shared_bytes, *stream, params, (cluster, overlap))
    }
    cuFuncSetAttribute(function: usize, attribute: c_uint, value: c_int) {
        with(|state| {
            let function = state.functions.get_mut(&function).ok_or(INVALID_HANDLE)?;
            let capability = *state.settings.devices.get(function.device).ok_or(INVALID_DEVICE)?;
            Arc::make_mut(function).permit(attribute, value, capability)
        })
    }

    cuStreamCreateWithPriority(out: *mut usize, _flags: c_uint, _priority: c_int) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        out.write(with(|state| {
            let handle = state.handle();
            state.streams.insert(handle, Stream { device, queue: Queue::default(), capture: None });
            handle
        }));
        Ok(())
    }
    cuStreamDestroy_v2(stream: usize) {
        // Its work is done first.
        with(|state| { state.finish(stream); state.streams.remove(&stream) }).map(drop).ok_or(INVALID_HANDLE)
    }
    cuStreamSynchronize(stream: usize) {
        with(|state| {
            let device = state.device_of(stream)?;
            state.finish(stream);
            state.sound(device)
        })
    }
    // It may have done its work by the time it is asked.
    cuStreamQuery(stream: usize) { match cuStreamSynchronize(stream) { 0 => Ok(()), code => Err(code) } }
    cuStreamGetCtx(stream: usize, out: *mut usize) {
        out.write(context(with(|state| state.device_of(stream))?));
        Ok(())
    }
    cuStreamIsCapturing(stream: usize, out: *mut c_uint) {
        with(|state| state.device_of(stream))?;
        out.write(with(|state| state.capture_of(stream).is_some()) as c_uint);
        Ok(())
    }
    cuStreamBeginCapture_v2(stream: usize, mode: c_uint) {
        with(|state| match state.streams.get_mut(&stream) {
            Some(Stream { capture: capture @ None, .. }) => {
                *capture = Some(stream);
                state.captures.insert(stream, Capture::new(stream, mode));
                Ok(())
            }
            Some(_) => Err(401),
            None => Err(CAPTURE_UNSUPPORTED),
        })
    }
    cuStreamEndCapture(stream: usize, out: *mut usize) {
        out.write(with(|state| {
            let captured = state.captures.remove(&stream).ok_or(401_u32)?;
            for other in state.streams.values_mut().filter(|other| other.capture == Some(stream)) {
                other.capture = None;
            }
            let handle = state.handle();
            state.graphs.insert(handle, captured.end()?);
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
            let Event { recorded, capture, .. } = *state.events.get(&event).ok_or(INVALID_HANDLE)?;
            state.waits.push([stream, recorded.stream]);
            match (capture, state.capture_of(stream).is_some()) {
                (None, false) => state.enqueue(stream, Task::Wait(recorded)),
                (None, true) => return Err(CAPTURE_ISOLATION),
                // It takes part in the capture from here on, whose order is that of the calls.
                (Some((origin, place)), _) => {
                    state.streams.get_mut(&stream).ok_or(CAPTURE_UNSUPPORTED)?.capture = Some(origin);
                    let capture = state.captures.get_mut(&origin).ok_or(INVALID_VALUE)?;
                    capture.tie(recorded.stream, place);
                    capture.join(stream);
                }
            }
            Ok(())
        })
    }
    cuEventCreate(out: *mut usize, _flags: c_uint) {
        let device = current().ok_or(INVALID_CONTEXT)?;
        out.write(with(|state| {
            let handle = state.handle();
            let recorded = Mark { stream: 0, behind: 0 };
            state.events.insert(handle, Event { device, recorded, capture: None });
            handle
        }));
        Ok(())
    }
    cuEventRecord(event: usize, stream: usize) {
        with(|state| {
            let device = state.device_of(stream)?;
            let recorded = state.mark(stream);
            let origin = state.streams.get(&stream).and_then(|stream| stream.capture);
            let capture = origin.and_then(|origin| Some((origin, state.captures.get(&origin)?.place())));
            match state.events.get_mut(&event) {
                Some(event) if event.device == device => {
                    *event = Event { device, recorded, capture };
                    Ok(())
                }
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
            for task in &work {
                if let Task::Kernel(kernel) = task {
                    state.launches.push(Launch { stream, ..kernel.launch });
                }
            }
            work.into_iter().for_each(|task| state.enqueue(stream, task));
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
    with(|state| state.settings.fail(name, code));
}

/// Changes settings, which the text spells as `settings.rs` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mock_set(text: *const c_char) {
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    with(|state| state.settings.set(&text));
}

/// Has kernels run from now on.
#[unsafe(no_mangle)]
pub extern "C" fn mock_execute(executor: Executor) {
    with(|state| state.executor = Some(executor));
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
