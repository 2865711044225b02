//! `rms_norm_sharded` captured into CUDA graphs, with sums by a kernel of the engine's own or by NCCL.

use std::ffi::c_void;

use cuda_driver::{Launch, driver, sys::CUfunction};
use libtest_mimic::Failed;
use norm_host::{
    AllReduce, DType, Device, DeviceSums, Error, NcclGroup, NormKind, RowSums, Shard, Stream, TpContext,
    rms_norm_sharded,
};

use super::shards::{Part, group, upload, whole};
use crate::{case::Case, cases::plain};

/// `p_total[i] += p_other[i]` below `p_count`.
const ADD: &std::ffi::CStr = c".version 8.0
.target sm_80
.address_size 64
.visible .entry add_sums(.param .u64 p_total, .param .u64 p_other, .param .u32 p_count)
{
    .reg .pred %p0;
    .reg .b32 %r<5>;
    .reg .b64 %a<3>;
    .reg .f32 %f<2>;
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %ntid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.u32 %r3, %r0, %r1, %r2;
    ld.param.u32 %r4, [p_count];
    setp.ge.u32 %p0, %r3, %r4;
    @%p0 bra $end;
    mul.wide.u32 %a0, %r3, 4;
    ld.param.u64 %a1, [p_total];
    ld.param.u64 %a2, [p_other];
    add.u64 %a1, %a1, %a0;
    add.u64 %a2, %a2, %a0;
    ld.global.f32 %f0, [%a1];
    ld.global.f32 %f1, [%a2];
    add.rn.f32 %f0, %f0, %f1;
    st.global.f32 [%a1], %f0;
$end:
    ret;
}
";

/// A reduction over streams of one device as an engine might have it: everything is enqueued, so that a
/// graph can capture it.
fn on_the_device(device: Device) -> Result<impl AllReduce, Failed> {
    let add = {
        let _current = device.enter()?;
        let module = driver()?.module_load(ADD)?;
        // SAFETY: the module has just been loaded in the current context, and is never unloaded.
        unsafe { driver()?.module_function(module, c"add_sums") }?
    };
    Ok(move |sums: &RowSums<'_>| {
        let _current = device.enter()?;
        let Some(total) = sums.iter().next() else { return Ok(()) };
        for other in sums.iter().skip(1) {
            total.stream.wait(other.stream)?;
            // SAFETY: both have so many numbers on this device, and nobody else uses them until the
            // stream of the total, which has waited for the other, is done.
            unsafe { enqueue_sum(add, total, other) }?;
        }
        for other in sums.iter().skip(1) {
            other.stream.wait(total.stream)?;
            let (bytes, stream) = (4 * other.rows, other.stream.as_raw().cast());
            // SAFETY: both have `rows` numbers on this device. The stream that writes the other's waits for the one
            // that computed the total, and nothing else uses them until both are done.
            unsafe { driver()?.copy_async(other.address, total.address, bytes, stream) }?;
        }
        Ok(())
    })
}

/// # Safety
/// `add` is that kernel, loaded in the current context, which both streams are of; the numbers are there,
/// and nobody else uses them until the total's stream has done this.
unsafe fn enqueue_sum(
    add: CUfunction,
    total: DeviceSums<'_>,
    other: DeviceSums<'_>,
) -> norm_host::Result<()> {
    let too_many = |_| Error::Reduction { reason: "too many rows".into() };
    let mut count = u32::try_from(total.rows).map_err(too_many)?;
    let (mut to, mut from) = (total.address, other.address);
    let mut params =
        [(&raw mut to).cast::<c_void>(), (&raw mut from).cast::<c_void>(), (&raw mut count).cast::<c_void>()];
    let launch = Launch {
        grid: (count.div_ceil(128), 1, 1),
        block: (128, 1, 1),
        shared_bytes: 0,
        stream: total.stream.as_raw().cast(),
    };
    // SAFETY: the caller guarantees that `add` is the kernel `add_sums`, loaded in the current context, which has these
    // three parameters, and that nothing else uses the numbers until the stream is done.
    Ok(unsafe { driver()?.launch_kernel(add, &launch, &mut params) }?)
}

/// Three streams of one device, each captured by events from one of the caller's.
pub fn over_streams(device: Device) -> Result<(), Failed> {
    replays(&group(&[device; 3])?, &on_the_device(device)?)
}

/// Two devices, sums by NCCL, in one graph.
pub fn over_two_devices() -> Result<(), Failed> {
    let tp = TpContext::on_devices(&[0, 1])?;
    replays(&tp, &NcclGroup::new(&tp)?)
}

/// A graph that holds the call gives the bits of a call by itself, each time with the rows that are there
/// by then; capturing it runs nothing.
fn replays(tp: &TpContext, reduce: &impl AllReduce) -> Result<(), Failed> {
    let main = Stream::new(tp.streams()[0].device())?;
    for (dtype, rows, dim) in [(DType::F16, 37, 4096), (DType::F32, 2, 12_291)] {
        let case = plain(NormKind::Rms, [dtype; 3], rows, dim);
        let first = case.tensors();
        let mut parts = upload(tp, &case, &first)?;
        let call = |parts: &mut [Part]| {
            let mut list: Vec<Shard<'_>> = parts.iter_mut().map(Part::shard).collect();
            rms_norm_sharded(&mut list, case.eps, dim, tp, reduce)
        };
        // NCCL connects when it is called first.
        call(&mut parts)?;
        tp.synchronize()?;
        parts.iter_mut().try_for_each(|part| part.write(&first.x, &first.y, dim))?;
        let graph = main.capture(|main| {
            tp.wait(main)?;
            call(&mut parts)?;
            tp.join(main)
        })?;
        main.synchronize()?;
        tp.synchronize()?;
        assert_eq!(whole(&parts, &case)?.bits(), first.y.bits(), "{case:?}: ran while captured");
        let mut seen = Vec::new();
        for seed in [case.seed, 7, 8] {
            let x = Case { seed, ..case.clone() }.tensors().x;
            parts.iter_mut().try_for_each(|part| part.write(&x, &first.y, dim))?;
            // SAFETY: the parts are alive, and nothing else uses them.
            unsafe { graph.launch(&main) }?;
            main.synchronize()?;
            let replayed = whole(&parts, &case)?.bits();
            parts.iter_mut().try_for_each(|part| part.write(&x, &first.y, dim))?;
            call(&mut parts)?;
            tp.synchronize()?;
            assert_eq!(replayed, whole(&parts, &case)?.bits(), "{case:?}, x of seed {seed}");
            assert!(!seen.contains(&replayed), "other rows, the same bits");
            seen.push(replayed);
        }
    }
    Ok(())
}
