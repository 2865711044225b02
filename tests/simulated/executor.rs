//! Runs the stand-in's launches: the PTX it was given, in `ptx-sim`, on its devices' memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ptx_sim::{Argument, Kernel, Launch, Memory, Module, Stream, Together};

use norm_testing::mock::interface::{Allocation, Execution, GROUP};

/// `CUDA_ERROR_LAUNCH_FAILED`.
pub const LAUNCH_FAILED: u32 = 719;

/// Far more instructions than a warp of any kernel here takes.
const LIMIT: u64 = 1 << 22;

/// Runs launches, beside each other if they are several. What is wrong with them goes to stderr, and comes back as what a
/// device fails with.
///
/// # Safety
/// All that `executions` points to is there, and the memory is used by nobody else meanwhile.
pub unsafe extern "C" fn execute(executions: *const Execution, count: usize) -> u32 {
    // SAFETY: the caller guarantees so many.
    let executions = unsafe { std::slice::from_raw_parts(executions, count) };
    let result = match executions {
        // SAFETY: the caller guarantees what `simulate` requires, which is the same.
        [execution] if !is_of_group(execution) => unsafe { simulate(execution) },
        // SAFETY: the caller guarantees for each of them what `simulate_together` requires.
        _ => unsafe { simulate_together(executions) },
    };
    match result {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            LAUNCH_FAILED
        }
    }
}

/// # Safety
/// As [`execute`].
unsafe fn simulate(execution: &Execution) -> Result<(), String> {
    // SAFETY: the caller guarantees all that it points to.
    let (run, allocations) = unsafe { (prepare(execution)?, allocations(execution)) };
    let launch = execution.launch;
    // SAFETY: the caller guarantees that the allocations are there, and that nobody else uses them meanwhile.
    let mut simulated = unsafe { place(allocations)? };
    let counts = on_stream((launch.device, launch.stream), |stream| stream.run(&run, &mut simulated));
    let counts = counts.map_err(|error| error.to_string())?;
    for allocation in allocations {
        let is_written =
            counts.global.get(&name(allocation)).is_some_and(|traffic| traffic.stores.requests > 0);
        if is_written {
            // SAFETY: the caller guarantees that the allocation is writable, and that nothing else uses it meanwhile.
            unsafe { take_back(&simulated, allocation)? };
        }
    }
    Ok(())
}

/// Launches of the ranks of a group, in an order of turns that changes from one call to the next.
///
/// # Safety
/// As [`execute`].
unsafe fn simulate_together(executions: &[Execution]) -> Result<(), String> {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let mut streams = Vec::new();
    for execution in executions {
        // SAFETY: the caller guarantees all that it points to.
        streams.push(vec![unsafe { prepare(execution)? }]);
    }
    // SAFETY: the caller guarantees that the allocations are there, and that nobody else uses them meanwhile; each execution has
    // those of all.
    let (allocations, mut simulated) =
        unsafe { (allocations(&executions[0]), place(allocations(&executions[0]))?) };
    let together = Together::new(SEED.fetch_add(1, Relaxed)).run(&streams, &mut simulated);
    together.map_err(|error| error.to_string())?;
    // SAFETY: the caller guarantees that allocations are writable, and that nothing else uses them meanwhile.
    allocations.iter().try_for_each(|allocation| unsafe { take_back(&simulated, allocation) })
}

fn is_of_group(execution: &Execution) -> bool {
    execution.launch.kernel().starts_with(GROUP)
}

/// What a launch may access.
///
/// # Safety
/// As [`execute`].
unsafe fn allocations(execution: &Execution) -> &[Allocation] {
    // SAFETY: the caller guarantees that `execution` points to that many allocations.
    unsafe { std::slice::from_raw_parts(execution.memory, execution.allocations) }
}

/// The simulator's launch.
///
/// # Safety
/// As [`execute`].
unsafe fn prepare(execution: &Execution) -> Result<Launch, String> {
    let Execution { launch, text, text_bytes, parameters, parameter_bytes, .. } = *execution;
    // SAFETY: the caller guarantees that `execution` points to that many bytes of text and of parameters.
    let (text, mut parameters) = unsafe {
        (
            std::slice::from_raw_parts(text, text_bytes),
            std::slice::from_raw_parts(parameters, parameter_bytes),
        )
    };
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let kernel = kernel(text, launch.kernel())?;
    let mut run = Launch::new(&kernel)
        .grid(launch.grid)
        .block(launch.block)
        .cluster([launch.cluster, 1, 1])
        .dynamic_shared(launch.shared_bytes)
        .programmatic(launch.overlap != 0)
        .limit(LIMIT);
    for parameter in kernel.parameters() {
        let (bytes, rest) =
            parameters.split_at_checked(parameter.size as usize).ok_or("parameters are missing")?;
        run = run.arg(Argument::bytes(bytes, parameter.align));
        parameters = rest;
    }
    Ok(run)
}

/// The simulator's memory, with what allocations hold.
///
/// # Safety
/// The allocations are readable, and nothing else uses them meanwhile.
unsafe fn place(allocations: &[Allocation]) -> Result<Memory, String> {
    let mut simulated = Memory::new();
    for allocation in allocations {
        // SAFETY: the caller guarantees that each allocation is readable, and that nothing else uses it meanwhile.
        let contents = unsafe { std::slice::from_raw_parts(pointer(allocation), allocation.bytes) };
        let placed = simulated.place(
            allocation.address,
            &name(allocation),
            contents.len() as u64,
            Some(contents),
            false,
        );
        placed.map_err(|error| error.to_string())?;
    }
    Ok(simulated)
}

/// Copies what the simulator's memory holds back to an allocation.
///
/// # Safety
/// The allocation is writable, and nothing else uses it meanwhile.
unsafe fn take_back(simulated: &Memory, allocation: &Allocation) -> Result<(), String> {
    let bytes = simulated.read(allocation.address, allocation.bytes as u64);
    let bytes = bytes.map_err(|error| error.to_string())?;
    // SAFETY: the caller guarantees that the allocation is writable, and that nothing else uses it meanwhile. `bytes` is a
    // separate copy of the same length.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(allocation), bytes.len()) };
    Ok(())
}

/// Does something on a stream of a device, with what its earlier launches may still be doing.
fn on_stream<T>(handle: (i32, usize), work: impl FnOnce(&mut Stream) -> T) -> T {
    static STREAMS: Mutex<BTreeMap<(i32, usize), Stream>> = Mutex::new(BTreeMap::new());
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    work(streams.entry(handle).or_default())
}

/// The kernel of this name, decoded when its text is first seen.
fn kernel(text: &str, name: &str) -> Result<Arc<Kernel>, String> {
    static KERNELS: Mutex<Option<HashMap<String, Arc<Kernel>>>> = Mutex::new(None);
    let mut kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    let kernels = kernels.get_or_insert_default();
    if let Some(kernel) = kernels.get(text) {
        return Ok(Arc::clone(kernel));
    }
    let kernel =
        Module::parse(text).and_then(|module| module.kernel(name)).map_err(|error| error.to_string())?;
    kernels.insert(text.to_owned(), Arc::clone(&kernel));
    Ok(kernel)
}

fn name(allocation: &Allocation) -> String {
    format!("the allocation at {:#x}", allocation.address)
}

fn pointer(allocation: &Allocation) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(allocation.address as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::interface::Launch;

    /// `p_address[0] = 1`, and something in front of that.
    fn store(in_front: &str) -> String {
        format!(
            ".version 8.0
.target sm_90
.address_size 64
.visible .entry store(.param .u64 p_address)
{{
    .reg .b64 %a;
    ld.param.u64 %a, [p_address];
    {in_front}
    st.global.u32 [%a], 1;
    ret;
}}
"
        )
    }

    /// What a device says to a launch that stores at an offset into four bytes that it has.
    fn run(bytes: &mut [u8; 4], offset: u64, launch: Launch, in_front: &str) -> u32 {
        let text = store(in_front);
        let allocation = Allocation { address: bytes.as_mut_ptr().expose_provenance() as u64, bytes: 4 };
        let parameters = (allocation.address + offset).to_le_bytes();
        let execution = Execution {
            launch,
            text: text.as_ptr(),
            text_bytes: text.len(),
            parameters: parameters.as_ptr(),
            parameter_bytes: parameters.len(),
            memory: &raw const allocation,
            allocations: 1,
        };
        // SAFETY: all that it points to is here, and the four bytes are borrowed for this.
        unsafe { execute(&raw const execution, 1) }
    }

    #[test]
    fn a_kernel_reaches_what_is_allocated_and_no_more() {
        for (offset, code, stored) in [(0, 0, [1, 0, 0, 0]), (4, LAUNCH_FAILED, [0; 4])] {
            let mut bytes = [0; 4];
            assert_eq!((run(&mut bytes, offset, Launch::new("store"), ""), bytes), (code, stored));
        }
    }

    #[test]
    fn a_kernel_waits_for_the_launch_in_front_of_it_in_its_stream() {
        let bytes = &mut [0; 4];
        // Streams of no other test.
        let [one, other] = [usize::MAX, usize::MAX - 1];
        let on = |stream, overlap| Launch { stream, overlap, ..Launch::new("store") };
        let waits = "griddepcontrol.wait;";
        assert_eq!(run(bytes, 0, on(one, 1), waits), 0);
        assert_eq!(run(bytes, 0, on(one, 1), waits), 0);
        assert_eq!(run(bytes, 0, on(one, 0), ""), 0, "one that may not overlap needs no wait");
        assert_eq!(run(bytes, 0, on(other, 1), ""), 0, "nothing is in front of it in its stream");
        assert_eq!(run(bytes, 0, on(one, 1), ""), LAUNCH_FAILED);
    }
}
