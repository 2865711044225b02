//! Rows added up over the ranks of a group, on several devices or several streams of one.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use norm_host::{
    Cpu, DType, Device, NcclGroup, Norm, NormKind, PeerOptions, ReduceGroup, Stream, TpContext, View,
    ViewMut, all_reduce,
};
use proptest::prelude::*;

use super::memory::Memory;
use crate::{buffer::Buffer, values::Random};

/// One call, as all ranks make it.
#[derive(Clone, Debug)]
pub struct Reduction {
    /// The norm; `None` for the sum alone.
    pub kind: Option<NormKind>,
    pub x: DType,
    pub w: Option<DType>,
    pub biases: bool,
    pub residual: bool,
    pub rows: usize,
    pub dim: usize,
    /// Elements between rows of `x`.
    pub gap: usize,
    /// Elements by which tensors are off an address that suits vectors.
    pub shift: usize,
    /// Whether `y` is `x`.
    pub in_place: bool,
    pub seed: u64,
}

impl Reduction {
    /// RMSNorm with a residual, of dense rows.
    pub fn plain(x: DType, rows: usize, dim: usize) -> Reduction {
        Reduction {
            kind: Some(NormKind::Rms),
            x,
            w: Some(x),
            biases: false,
            residual: true,
            rows,
            dim,
            gap: 0,
            shift: 0,
            in_place: false,
            seed: 1,
        }
    }

    /// Any call of up to so many rows and elements a row.
    pub fn any(rows: usize, dim: usize) -> impl Strategy<Value = Reduction> {
        let kind = prop_oneof![
            1 => Just(None), 2 => Just(Some(NormKind::Rms)), 2 => Just(Some(NormKind::Layer))
        ];
        let x = prop_oneof![Just(DType::F16), Just(DType::BF16)];
        let shape = (1..=rows, prop_oneof![1..=dim, (1..=dim / 8).prop_map(|vectors| 8 * vectors)]);
        let place = (
            prop_oneof![3 => Just(0_usize), 1 => 1..9_usize],
            prop_oneof![3 => Just(0_usize), 1 => 1..3_usize],
        );
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u8);
        (kind, x, shape, place, flags, any::<u64>()).prop_map(
            |(kind, x, (rows, dim), (gap, shift), (biases, residual, in_place, w), seed)| Reduction {
                kind,
                // A sum may be of any type.
                x: if kind.is_none() && w == 0 { DType::F32 } else { x },
                w: [None, Some(x), Some(DType::F32)][usize::from(w)],
                biases,
                residual: residual && kind.is_some(),
                rows,
                dim,
                gap,
                shift,
                in_place,
                seed,
            },
        )
    }

    fn strides(&self) -> [usize; 2] {
        [self.dim + self.gap, 1]
    }

    fn random(&self, dtype: DType, elements: usize, stream: u64) -> Buffer {
        let mut random = Random(self.seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let values: Vec<f64> = (0..elements).map(|_| random.signed(3.0)).collect();
        Buffer::new(dtype, &values)
    }

    /// `x` of a rank.
    pub fn x(&self, rank: usize) -> Buffer {
        self.random(self.x, self.rows * (self.dim + self.gap), 1 + rank as u64)
    }

    fn r(&self) -> Buffer {
        self.random(self.x, self.rows * self.dim, 101)
    }

    fn params(&self) -> [Option<Buffer>; 2] {
        let has_norm = self.kind.is_some();
        let w = self.w.filter(|_| has_norm).map(|dtype| self.random(dtype, self.dim, 102));
        let of = self.w.unwrap_or(self.x);
        [w, (self.biases && has_norm).then(|| self.random(of, self.dim, 103))]
    }
}

/// A call's tensors on every rank.
pub struct Ranks {
    pub call: Reduction,
    pub x: Vec<Memory>,
    pub r: Vec<Memory>,
    w: Vec<Memory>,
    b: Vec<Memory>,
    pub y: Vec<Memory>,
}

impl Ranks {
    /// The tensors for streams of these devices, of which the first has number `first`.
    pub fn upload(devices: &[Device], first: usize, call: &Reduction) -> Result<Ranks, Failed> {
        let [w, b] = call.params();
        let zeros = Buffer::new(call.x, &vec![0.0; call.rows * (call.dim + call.gap)]);
        let each = |buffer: &dyn Fn(usize) -> Option<Buffer>| -> Result<Vec<Memory>, Failed> {
            let mut memory = Vec::new();
            for (rank, device) in devices.iter().enumerate() {
                if let Some(buffer) = buffer(first + rank) {
                    memory.push(Memory::upload(*device, &buffer, call.shift)?);
                }
            }
            Ok(memory)
        };
        Ok(Ranks {
            call: call.clone(),
            x: each(&|rank| Some(call.x(rank)))?,
            r: each(&|_| call.residual.then(|| call.r()))?,
            w: each(&|_| w.clone())?,
            b: each(&|_| b.clone())?,
            y: each(&|_| Some(zeros.clone()))?,
        })
    }

    /// Enqueues the call.
    pub fn enqueue(&mut self, tp: &TpContext, group: &ReduceGroup) -> norm_host::Result<()> {
        let Ranks { call, x, r, w, b, y } = self;
        let (shape, strides) = ([call.rows, call.dim], call.strides());
        let x_views: Vec<View<'_>> = x.iter().map(|x| x.view(&shape, &strides)).collect();
        let [w, b] = [w, b].map(|list| -> Vec<View<'_>> {
            list.iter().map(|memory| memory.view(&[call.dim], &[1])).collect()
        });
        let [w, b] = [&w, &b].map(|list| (!list.is_empty()).then_some(&list[..]));
        let mut r: Vec<ViewMut<'_>> = r.iter_mut().map(|r| r.view_mut(&shape, &[call.dim, 1])).collect();
        let mut y_views = Vec::new();
        for (x, y) in x_views.iter().zip(y) {
            y_views.push(if call.in_place {
                // SAFETY: the memory of `x`; the operation may write what it reads, and nothing else uses it meanwhile.
                let y = unsafe { ViewMut::from_raw_parts(x.place(), x.address(), call.x, &shape) };
                y?.with_strides(&strides)?
            } else {
                y.view_mut(&shape, &strides)
            });
        }
        match call.kind {
            None => all_reduce(&x_views, &mut y_views, tp, group),
            Some(kind) => {
                let norm = Norm::new(kind, 1e-6);
                if call.residual {
                    norm.all_reduce_then_add(&x_views, &mut r, w, b, &mut y_views, tp, group)
                } else {
                    norm.all_reduce_rows(&x_views, w, b, &mut y_views, tp, group)
                }
            }
        }
    }

    /// What the ranks have in `y`, row by row.
    pub fn outputs(&self) -> Result<Vec<Vec<u32>>, Failed> {
        let at = if self.call.in_place { &self.x } else { &self.y };
        let [stride, _] = self.call.strides();
        let rows = |bits: Vec<u32>| {
            let row = |row: usize| bits[row * stride..][..self.call.dim].to_vec();
            (0..self.call.rows).flat_map(row).collect()
        };
        at.iter().map(|memory| Ok(rows(memory.download()?.bits()))).collect()
    }

    /// Compares what all ranks have with what the CPU makes of the sum, and the first device of a plain call.
    pub fn check(&self, device: Device, ranks: usize) -> Result<(), Failed> {
        let call = &self.call;
        let (shape, strides) = ([call.rows, call.dim], call.strides());
        let x: Vec<Buffer> = (0..ranks).map(|rank| call.x(rank)).collect();
        let views: Vec<View<'_>> = x.iter().map(|x| x.view(&shape, &strides)).collect();
        let mut sum = Buffer::new(call.x, &vec![0.0; call.rows * call.dim]);
        Cpu.all_reduce(&views, &mut sum.view_mut(&shape, &[call.dim, 1]))?;

        let outputs = self.outputs()?;
        for (rank, output) in outputs.iter().enumerate() {
            if *output != outputs[0] {
                return Err(format!("{call:?}: rank {rank} has other bits than the first").into());
            }
        }
        let Some(kind) = call.kind else {
            return equal(call, "the sum", &outputs[0], &sum.bits());
        };
        // The residual has the CPU's bits, and `y` those of a plain call for the sum.
        let mut on_device = [Some(&sum), call.residual.then(|| call.r()).as_ref(), Some(&sum)]
            .into_iter()
            .flatten()
            .map(|buffer| Memory::upload(device, buffer, call.shift))
            .collect::<Result<Vec<_>, _>>()?;
        let params = call.params();
        let params = params
            .iter()
            .map(|param| param.as_ref().map(|param| Memory::upload(device, param, call.shift)).transpose());
        let params = params.collect::<Result<Vec<_>, _>>()?;
        let mut views = params.iter().map(|param| param.as_ref().map(|param| param.view(&[call.dim], &[1])));
        let norm = Norm::new(kind, 1e-6).weight(views.next().flatten()).bias(views.next().flatten());
        let stream = Stream::new(&device)?;
        let (y, rest) = on_device.split_last_mut().expect("there are two or three");
        let y_view = &mut y.view_mut(&shape, &[call.dim, 1]);
        match rest {
            [x, r] => {
                let mut host = call.r();
                let mut unused = sum.clone();
                Norm::rms(1e-6).add_then_norm(
                    sum.view(&shape, &[call.dim, 1]),
                    &mut host.view_mut(&shape, &[call.dim, 1]),
                    &mut unused.view_mut(&shape, &[call.dim, 1]),
                    &Cpu,
                )?;
                for r in &self.r {
                    equal(call, "the residual", &r.download()?.bits(), &host.bits())?;
                }
                let r = &mut r.view_mut(&shape, &[call.dim, 1]);
                norm.add_then_norm(x.view(&shape, &[call.dim, 1]), r, y_view, &stream)?;
            }
            [x] => norm.rows(x.view(&shape, &[call.dim, 1]), y_view, &stream)?,
            _ => unreachable!("an input, and perhaps a residual"),
        }
        stream.synchronize()?;
        equal(call, "the norm of the sum", &outputs[0], &y.download()?.bits())
    }
}

fn equal(call: &Reduction, what: &str, given: &[u32], expected: &[u32]) -> Result<(), Failed> {
    match given.iter().zip(expected).position(|(given, expected)| given != expected) {
        None if given.len() == expected.len() => Ok(()),
        at => Err(format!("{call:?}: {what} has other bits, first at {at:?}").into()),
    }
}

/// A group of a stream on each of these devices, of which several may be one.
pub fn group(devices: &[Device], options: PeerOptions) -> Result<(TpContext, ReduceGroup), Failed> {
    let streams = devices.iter().map(Stream::new).collect::<norm_host::Result<Vec<_>>>()?;
    let tp = TpContext::sharing_devices(streams)?;
    let group = ReduceGroup::new(&tp, options)?;
    Ok((tp, group))
}

/// A call gives the CPU's sum and residual, and the bits of a plain norm of it, on every rank; twice, so that both buffers are used.
pub fn holds(
    devices: &[Device],
    (tp, group): (&TpContext, &ReduceGroup),
    call: &Reduction,
) -> Result<(), Failed> {
    for seed in [call.seed, call.seed ^ 1] {
        let mut ranks = Ranks::upload(devices, 0, &Reduction { seed, ..call.clone() })?;
        ranks.enqueue(tp, group)?;
        tp.synchronize()?;
        group.status()?;
        ranks.check(devices[0], devices.len())?;
    }
    Ok(())
}

/// A graph that holds a call gives the bits of the call by itself, each time with the rows that are there by then.
pub fn replays(devices: &[Device], options: PeerOptions) -> Result<(), Failed> {
    let (tp, group) = group(devices, options)?;
    let main = Stream::new(&devices[0])?;
    let call = Reduction::plain(DType::F16, 5, 520);
    let mut ranks = Ranks::upload(devices, 0, &call)?;
    // Kernels are loaded before.
    ranks.enqueue(&tp, &group)?;
    tp.synchronize()?;
    let graph = main.capture(|main| {
        tp.wait(main)?;
        ranks.enqueue(&tp, &group)?;
        tp.join(main)
    })?;
    for seed in [7, 8, 9] {
        ranks.call = Reduction { seed, ..call.clone() };
        for rank in 0..devices.len() {
            ranks.x[rank].write(&ranks.call.x(rank))?;
            ranks.r[rank].write(&ranks.call.r())?;
        }
        // The weights are those of the first call.
        // SAFETY: the tensors and the group are alive, and nothing else uses them.
        unsafe { graph.launch(&main) }?;
        main.synchronize()?;
        group.status()?;
        let outputs = ranks.outputs()?;
        let residuals: Vec<Vec<u32>> =
            ranks.r.iter().map(|r| Ok(r.download()?.bits())).collect::<Result<_, Failed>>()?;
        for rank in 0..devices.len() {
            ranks.r[rank].write(&ranks.call.r())?;
        }
        ranks.enqueue(&tp, &group)?;
        tp.synchronize()?;
        assert_eq!(outputs, ranks.outputs()?, "seed {seed}");
        for (r, replayed) in ranks.r.iter().zip(&residuals) {
            assert_eq!(r.download()?.bits(), *replayed, "seed {seed}");
        }
    }
    Ok(())
}

/// Seconds of random calls, as the variable says; 5 unless it is set.
fn seconds() -> u64 {
    number("SECONDS_OF_SUMS").unwrap_or(5)
}

/// What a variable says, if that is a number.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Blocks of which so many ranks are resident on each device.
fn sharing(devices: &[Device]) -> Option<u32> {
    let same = devices.iter().filter(|device| device.place() == devices[0].place()).count();
    (same > 1).then(|| 96 / same as u32)
}

/// Random calls of random groups of the first of these devices, for a while: each has the CPU's sum, and a plain norm's bits. The
/// variable `SEED_OF_SUMS` says which, by default another number each time.
pub fn random(devices: &[Device]) -> Result<(), Failed> {
    let until = Instant::now() + Duration::from_secs(seconds());
    let seed = number("SEED_OF_SUMS").unwrap_or_else(|| u64::from(std::process::id()));
    println!("report: random all-reduces of seed {seed}");
    let mut random = Random(seed);
    let (mut groups, mut calls) = (0, 0);
    while Instant::now() < until {
        let ranks = 2 + random.below(devices.len() - 1);
        let devices = &devices[..ranks];
        let options = PeerOptions {
            buffer_bytes: 1 << (14 + random.below(9)),
            blocks: Some(1 + random.below(sharing(devices).unwrap_or(128) as usize) as u32),
            one_shot_bytes: [None, Some(0), Some(u64::MAX)][random.below(3)],
            packet_bytes: [None, Some(0), Some(u64::MAX)][random.below(3)],
            ..PeerOptions::default()
        };
        let (tp, group) = group(devices, options)?;
        groups += 1;
        for _ in 0..20 {
            let call = any_of(&mut random, options.buffer_bytes);
            holds(devices, (&tp, &group), &call).map_err(|failed| {
                Failed::from(format!("{options:?}, {ranks} ranks: {}", failed.message().unwrap_or_default()))
            })?;
            calls += 1;
        }
    }
    let devices = devices.len();
    println!(
        "report: {calls} random all-reduces of seed {seed}, each twice, of {groups} groups of up to {devices} ranks: no wrong bit"
    );
    Ok(())
}

/// Elements up to which rows of 16 bits are added up in the same order by a group and by a plain norm: longer ones have clusters there.
const MOST_ALIKE: usize = 16_384;

/// A random call whose rows fit a buffer.
fn any_of(random: &mut Random, buffer: usize) -> Reduction {
    let types = [DType::F16, DType::BF16];
    let x = types[random.below(2)];
    let kind = [None, Some(NormKind::Rms), Some(NormKind::Layer)][random.below(3)];
    let dim = 1 + random.below((buffer / 4).min(MOST_ALIKE));
    let dim = if random.below(3) > 0 { dim.next_multiple_of(8) } else { dim };
    let rows = 1 + random.below((1 << 20) / dim);
    Reduction {
        kind,
        x: if kind.is_none() && random.below(3) == 0 { DType::F32 } else { x },
        w: [None, Some(x), Some(DType::F32)][random.below(3)],
        biases: random.below(2) == 0,
        residual: kind.is_some() && random.below(3) > 0,
        rows,
        dim: dim.min(buffer / 4),
        gap: if random.below(4) == 0 { random.below(9) } else { 0 },
        shift: if random.below(4) == 0 { random.below(3) } else { 0 },
        in_place: random.below(2) == 0,
        seed: random.word(),
    }
}

/// Bytes up to which rows are packets, and up to which they are one-shot, so that they go one way: as packets, one-shot, two-shot.
const WAYS: [[u64; 2]; 3] = [[u64::MAX; 2], [0, u64::MAX], [0; 2]];

/// Every kernel once, small enough for compute-sanitizer, on two streams of one device or two devices.
pub fn each_kernel_once(devices: &[Device]) -> Result<(), Failed> {
    for [packet_bytes, one_shot_bytes] in WAYS {
        let options = PeerOptions {
            // Room for all rows as packets; else several launches for the longest.
            buffer_bytes: if packet_bytes > 0 { 1 << 20 } else { 1 << 17 },
            blocks: Some(3),
            one_shot_bytes: Some(one_shot_bytes),
            packet_bytes: Some(packet_bytes),
            ..PeerOptions::default()
        };
        let (tp, group) = group(devices, options)?;
        for kind in [None, Some(NormKind::Rms), Some(NormKind::Layer)] {
            for x in DType::ALL {
                for (w, dim, shift) in
                    [(x, 1024, 0), (DType::F32, 2048, 0), (x, 64, 0), (DType::F32, 17_000, 0), (x, 1027, 1)]
                {
                    if kind.is_some() && x == DType::F32 {
                        continue;
                    }
                    // Longer rows have clusters elsewhere, and other bits.
                    let dim = if kind.is_some() { dim.min(MOST_ALIKE) } else { dim };
                    let call = Reduction {
                        kind,
                        w: Some(w),
                        residual: kind.is_some(),
                        shift,
                        ..Reduction::plain(x, 5, dim)
                    };
                    holds(devices, (&tp, &group), &call).map_err(|failed| {
                        Failed::from(format!(
                            "{call:?}, {options:?}: {}",
                            failed.message().unwrap_or_default()
                        ))
                    })?;
                }
            }
        }
    }
    Ok(())
}

/// The time of calls in a graph, beside that of NCCL's all-reduce followed by the same norm, where the devices are several.
pub fn timed(devices: &[Device]) -> Result<(), Failed> {
    const CALLS: u32 = 50;
    let apart = devices.iter().all(|device| devices.iter().filter(|other| other == &device).count() == 1);
    let streams = devices.iter().map(Stream::new).collect::<norm_host::Result<Vec<_>>>()?;
    let tp = TpContext::sharing_devices(streams)?;
    let main = Stream::new(&devices[0])?;
    let time = |group: &ReduceGroup, ranks: &mut Ranks| -> Result<f64, Failed> {
        ranks.enqueue(&tp, group)?;
        tp.synchronize()?;
        let graph = main.capture(|main| {
            tp.wait(main)?;
            for _ in 0..CALLS {
                ranks.enqueue(&tp, group)?;
            }
            tp.join(main)
        })?;
        let mut best = Duration::MAX;
        for _ in 0..20 {
            main.synchronize()?;
            let start = Instant::now();
            // SAFETY: the tensors and the group are alive, and nothing else uses them.
            unsafe { graph.launch(&main) }?;
            main.synchronize()?;
            best = best.min(start.elapsed() / CALLS);
        }
        group.status()?;
        Ok(best.as_secs_f64() * 1e6)
    };
    let f16 =
        [(1, 4096), (1, 8192), (8, 8192), (16, 8192), (32, 8192), (64, 8192), (512, 8192), (4096, 8192)];
    let bf16 = [(1, 4096), (1, 8192), (8, 8192), (64, 8192)];
    let shapes =
        f16.map(|shape| (DType::F16, shape)).into_iter().chain(bf16.map(|shape| (DType::BF16, shape)));
    for (dtype, (rows, dim)) in shapes {
        let call = Reduction::plain(dtype, rows, dim);
        let mut ranks = Ranks::upload(devices, 0, &call)?;
        let mut line =
            format!("report: all_reduce_add_rms_norm over {} ranks, {rows} x {dim} {dtype}:", devices.len());
        for (name, [packet_bytes, one_shot_bytes]) in
            ["packets", "one-shot", "two-shot"].into_iter().zip(WAYS)
        {
            // Rows for which packets have no room.
            if name == "packets" && rows * dim * 4 * devices.len() > 4 << 20 {
                continue;
            }
            let options = PeerOptions {
                blocks: sharing(devices),
                one_shot_bytes: Some(one_shot_bytes),
                packet_bytes: Some(packet_bytes),
                ..PeerOptions::default()
            };
            let group = ReduceGroup::new(&tp, options)?;
            line += &format!(" {name} {:.2} µs,", time(&group, &mut ranks)?);
        }
        // What blocks without rows cost.
        for blocks in [1, 8, 32].into_iter().filter(|_| rows == 1) {
            let options = PeerOptions { blocks: Some(blocks), ..PeerOptions::default() };
            let group = ReduceGroup::new(&tp, options)?;
            line += &format!(" in {blocks} blocks {:.2} µs,", time(&group, &mut ranks)?);
        }
        if apart && devices.len() > 1 {
            let nccl = ReduceGroup::from(NcclGroup::new(&tp)?);
            line += &format!(" NCCL's all-reduce and add_rms_norm {:.2} µs", time(&nccl, &mut ranks)?);
        }
        println!("{}", line.trim_end_matches(','));
    }
    Ok(())
}
