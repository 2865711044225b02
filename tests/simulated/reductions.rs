//! Rows added up over groups: the whole way of a call, on two to four devices of the stand-in, whose kernels run beside each
//! other.

use std::time::Duration;

use libtest_mimic::Failed;
use norm_host::{
    Arg, DType, Device, Error, GroupFailure, Norm, NormKind, PeerGroup, PeerOffer, PeerOptions, Place,
    ReduceGroup, Shape, TpContext, Transport, View, ViewMut, all_reduce,
};
use proptest::prelude::*;

use crate::{alone, device, groups::told};
use norm_testing::{
    buffer::Buffer,
    case::Case,
    cases::plain,
    config,
    device::{
        all_reduce::{Ranks, Reduction, group, holds, replays},
        memory::Memory,
        shards::{self, Part, normalize_split, on_the_host},
    },
    mock::mock,
};

/// Buffers of a few rows, blocks of which several have several rows, and little patience: a nanosecond is an instruction.
fn options() -> PeerOptions {
    PeerOptions {
        buffer_bytes: 4 << 10,
        patience: Duration::from_millis(1),
        blocks: Some(2),
        one_shot_bytes: None,
        packet_bytes: None,
    }
}

fn devices(count: usize) -> Vec<Device> {
    (0..count as u32).map(device).collect()
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn every_rank_has_the_sum_and_its_norm(
        call in Reduction::any(7, 700), ranks in 2..=4_usize, way in 0..3_u8, blocks in 1..4_u32
    ) {
        let _alone = alone();
        let devices = devices(ranks);
        let [packet_bytes, one_shot_bytes] = [way == 2, way >= 1].map(|all| Some(if all { u64::MAX } else { 0 }));
        let of_group = group(
            &devices,
            PeerOptions { blocks: Some(blocks), packet_bytes, one_shot_bytes, ..options() },
        );
        let (tp, group) = told(of_group)?;
        told(holds(&devices, (&tp, &group), &call))?;
    }
}

/// Rows that fill several buffers, long ones, and streams of one device.
#[test]
fn long_calls_take_several_launches() -> Result<(), Failed> {
    let _alone = alone();
    let one = device(0);
    let (tp, group) = group(&[one, one], options())?;
    for call in [
        Reduction::plain(DType::F16, 9, 1024),
        Reduction { kind: Some(NormKind::Layer), biases: true, ..Reduction::plain(DType::BF16, 3, 2040) },
    ] {
        holds(&[one, one], (&tp, &group), &call)?;
    }
    Ok(())
}

#[test]
fn a_graph_replays_a_call() -> Result<(), Failed> {
    let _alone = alone();
    replays(&devices(3), options())
}

/// Sums of squares of rows that are split go the same way, with the host's bits.
#[test]
fn split_rows_are_summed_by_a_group() -> Result<(), Failed> {
    let _alone = alone();
    let tp = shards::group(&devices(3))?;
    let group = ReduceGroup::new(&tp, options())?;
    let case: Case = plain(NormKind::Rms, [DType::F16; 3], 5, 96);
    let ends = [30, 70, 96];
    let before = case.tensors();
    let by_group = normalize_split(&tp, &case, &before, &ends, Part::shard, &group)?;
    let by_host = normalize_split(&tp, &case, &before, &ends, Part::shard, &on_the_host)?;
    assert_eq!(by_group.bits(), by_host.bits());
    Ok(())
}

/// Two processes, each with a rank: what they offer each other makes a group, and everything is given back.
#[test]
fn processes_join_by_their_offers() -> Result<(), Failed> {
    let _alone = alone();
    let before = mock().alive();
    {
        let devices = devices(2);
        let [(one, mut one_ranks), (other, mut other_ranks)] =
            processes(&devices, &Reduction::plain(DType::F16, 3, 72))?;
        one_ranks.enqueue(&one.0, &one.1)?;
        other_ranks.enqueue(&other.0, &other.1)?;
        one.0.synchronize()?;
        other.0.synchronize()?;
        one.1.status()?;
        one_ranks.check(devices[0], 2)?;
        assert_eq!(one_ranks.outputs()?, other_ranks.outputs()?);
    }
    let after = mock().alive();
    assert_eq!((after.allocations, after.streams), (before.allocations, before.streams));
    Ok(())
}

type Process = ((TpContext, ReduceGroup), Ranks);

/// A group of two processes, each with a rank.
fn processes(devices: &[Device], call: &Reduction) -> Result<[Process; 2], Failed> {
    let contexts = [TpContext::on_devices(&[0])?, TpContext::on_devices(&[1])?];
    let offers = [PeerOffer::new(&contexts[0], options())?, PeerOffer::new(&contexts[1], options())?];
    let all = [offers[0].to_bytes()?[0], offers[1].to_bytes()?[0]];
    let [one, other] = offers;
    let groups: [PeerGroup; 2] = [one.join(&all, 0)?, other.join(&all, 1)?];
    let [first, second] = contexts;
    let [one, other] = groups.map(ReduceGroup::from);
    Ok([
        ((first, one), Ranks::upload(&devices[..1], 0, call)?),
        ((second, other), Ranks::upload(&devices[1..], 1, call)?),
    ])
}

/// A process that does not come: the call of the other ends, and both are told from then on.
#[test]
fn a_process_that_never_comes_ends_the_group() -> Result<(), Failed> {
    let _alone = alone();
    let devices = devices(2);
    let [(one, mut one_ranks), (other, mut other_ranks)] =
        processes(&devices, &Reduction::plain(DType::F16, 3, 72))?;
    one_ranks.enqueue(&one.0, &one.1)?;
    one.0.synchronize()?;
    let absent = Error::GroupFailed { failure: GroupFailure::Absent { rank: 1 } };
    assert_eq!(one.1.status(), Err(absent.clone()));
    assert_eq!(one_ranks.enqueue(&one.0, &one.1), Err(absent.clone()));
    // The other one comes too late. The first has left what it needs for this call, but for the next it does not come.
    for status in [Ok(()), Err(absent)] {
        other_ranks.enqueue(&other.0, &other.1)?;
        other.0.synchronize()?;
        assert_eq!(other.1.status(), status);
    }
    Ok(())
}

/// Processes that make different calls.
#[test]
fn processes_that_disagree_are_told() -> Result<(), Failed> {
    let _alone = alone();
    let devices = devices(2);
    let call = Reduction::plain(DType::F16, 3, 72);
    let [(one, mut one_ranks), (other, _)] = processes(&devices, &call)?;
    let mut other_ranks = Ranks::upload(&devices[1..], 1, &Reduction { rows: 2, ..call })?;
    one_ranks.enqueue(&one.0, &one.1)?;
    other_ranks.enqueue(&other.0, &other.1)?;
    one.0.synchronize()?;
    other.0.synchronize()?;
    for group in [&one.1, &other.1] {
        let status = group.status();
        let disagree = matches!(status, Err(Error::GroupFailed { failure: GroupFailure::OtherCall { .. } }));
        assert!(disagree, "{status:?}");
    }
    Ok(())
}

/// Devices that do not reach each other: NCCL, and a kernel for the norm.
#[test]
fn devices_apart_fall_back_to_nccl() -> Result<(), Failed> {
    let _alone = alone();
    let devices = devices(2);
    mock().set("apart=0.1,1.0");
    let made = group(&devices, options());
    mock().set("apart=");
    let (tp, group) = made?;
    assert_eq!(group.transport(), Transport::Nccl { apart: Some((Place::Cuda(0), Place::Cuda(1))) });
    for call in [
        Reduction::plain(DType::F16, 5, 72),
        Reduction { gap: 3, ..Reduction::plain(DType::BF16, 5, 65) },
        Reduction { kind: None, residual: false, ..Reduction::plain(DType::F32, 5, 65) },
        Reduction { kind: Some(NormKind::Layer), in_place: true, ..Reduction::plain(DType::F16, 2, 40) },
    ] {
        // The stand-in adds up as the kernels do.
        holds(&devices, (&tp, &group), &call)?;
    }
    Ok(())
}

fn shape(extents: &[usize]) -> Shape {
    Shape::new(extents).expect("one to four axes")
}

/// Whatever is wrong is said before anything is launched.
#[test]
fn wrong_calls_are_refused() -> Result<(), Failed> {
    let _alone = alone();
    let mock = mock();
    let devices = devices(2);
    let (tp, group) = group(&devices, options())?;
    let (alone_tp, _other) = self::group(&devices[..1], options())?;
    let call = Reduction::plain(DType::F16, 2, 64);
    let mut ranks = Ranks::upload(&devices, 0, &call)?;
    ranks.enqueue(&tp, &group)?;
    tp.synchronize()?;
    while mock.launch().is_some() {}

    let at = |index: u32, source: Error| Error::Tp {
        index: index as usize,
        place: Place::Cuda(index),
        launched: 0,
        source: Box::new(source),
    };
    // The group is one of other streams.
    let mut one = Ranks::upload(&devices[..1], 0, &call)?;
    let lengths = Error::ListLength { arg: Arg::Reduce, expected: 1, given: 2 };
    assert_eq!(one.enqueue(&alone_tp, &group), Err(lengths));
    // A list is too short.
    let lengths = Error::ListLength { arg: Arg::X, expected: 2, given: 1 };
    assert_eq!(one.enqueue(&tp, &group), Err(lengths));
    // The norm's type.
    let mut wide = Ranks::upload(&devices, 0, &Reduction { x: DType::F32, w: None, ..call.clone() })?;
    assert_eq!(wide.enqueue(&tp, &group), Err(at(0, Error::ReducedInput { given: DType::F32 })));
    let mut mixed = Ranks::upload(&devices, 0, &Reduction { w: Some(DType::BF16), ..call.clone() })?;
    let other = Error::OtherDType { arg: Arg::W, expected: DType::F16, given: DType::BF16 };
    assert_eq!(mixed.enqueue(&tp, &group), Err(at(0, other)));
    // Ranks of different shapes.
    let [long, short] = [[2, 64], [1, 64]];
    let x = [ranks.x[0].view(&long, &[64, 1]), ranks.x[1].view(&short, &[64, 1])];
    let [first, second] = &mut ranks.y[..] else { panic!("two ranks") };
    let mut y = [first.view_mut(&long, &[64, 1]), second.view_mut(&short, &[64, 1])];
    let shapes = Error::Shape { arg: Arg::X, expected: shape(&long), given: shape(&short) };
    assert_eq!(all_reduce(&x, &mut y, &tp, &group), Err(at(1, shapes)));
    // A row longer than a buffer.
    let mut long = Ranks::upload(&devices, 0, &Reduction { dim: 2056, ..call.clone() })?;
    let buffer = Error::GroupBuffer { buffer: 4096, given: 4112 };
    assert_eq!(long.enqueue(&tp, &group), Err(at(0, buffer)));
    // Offers.
    let offer = PeerOffer::new(&tp, options())?;
    let mut all = offer.to_bytes()?;
    all[1][0] ^= 1;
    let expected = "bytes of an offer of this version";
    assert_eq!(offer.join(&all, 0).err(), Some(Error::PeerOffer { rank: 1, expected }));
    let larger = PeerOffer::new(&tp, PeerOptions { buffer_bytes: 8 << 10, ..options() })?;
    let all = larger.to_bytes()?;
    let expected = "buffers as large as this process's";
    let offer = PeerOffer::new(&tp, options())?;
    assert_eq!(offer.join(&all, 0).err(), Some(Error::PeerOffer { rank: 0, expected }));
    assert_eq!(larger.join(&all, 1).err(), Some(Error::Ranks { first: 2, first_rank: 1, max: 8, given: 2 }));
    assert!(mock.launch().is_none(), "something was launched");
    Ok(())
}

/// Each tensor of a rank on the other rank's device, or of another type than those of the other rank; nothing is launched.
/// And with all where they belong: launches that overlap, unless they are told not to.
#[test]
fn every_tensor_of_a_rank_is_held_to_its_device() -> Result<(), Failed> {
    let _alone = alone();
    let mock = mock();
    let devices = devices(2);
    let (tp, group) = group(&devices, options())?;
    let zeros = Buffer::new(DType::F16, &[0.0; 2 * 64]);
    let mut memory = Vec::new();
    for _ in 0..5 {
        memory.push([Memory::upload(devices[0], &zeros, 0)?, Memory::upload(devices[1], &zeros, 0)?]);
    }
    // The tensors x, r, w, b and y of both ranks, of which `elsewhere` is on the other device.
    let call = |norm: Norm<'_>, elsewhere: Option<(usize, usize)>| -> norm_host::Result<()> {
        let address = |tensor: usize, rank: usize| {
            let at = if elsewhere == Some((tensor, rank)) { 1 - rank } else { rank };
            memory[tensor][at].address()
        };
        let view = |tensor: usize, rank: usize, shape: &[usize]| {
            // SAFETY: the memory is there until this function ends, and as large; what is elsewhere is refused.
            unsafe { View::from_raw_parts(devices[rank].place(), address(tensor, rank), DType::F16, shape) }
        };
        let view_mut = |tensor: usize, rank: usize| {
            // SAFETY: the memory is there until this function ends, as large, and nothing else uses it meanwhile.
            unsafe {
                ViewMut::from_raw_parts(devices[rank].place(), address(tensor, rank), DType::F16, &[2, 64])
            }
        };
        let x = [view(0, 0, &[2, 64])?, view(0, 1, &[2, 64])?];
        let (w, b) = ([view(2, 0, &[64])?, view(2, 1, &[64])?], [view(3, 0, &[64])?, view(3, 1, &[64])?]);
        let (mut r, mut y) = ([view_mut(1, 0)?, view_mut(1, 1)?], [view_mut(4, 0)?, view_mut(4, 1)?]);
        norm.all_reduce_then_add(&x, &mut r, Some(&w), Some(&b), &mut y, &tp, &group)
    };
    while mock.launch().is_some() {}
    for (tensor, arg) in [Arg::X, Arg::R, Arg::W, Arg::B, Arg::Y].into_iter().enumerate() {
        for rank in [0, 1] {
            let [expected, given] = [devices[rank], devices[1 - rank]].map(|device| device.place());
            let source = Box::new(Error::Place { arg, expected, given });
            let refused = Err(Error::Tp { index: rank, place: expected, launched: 0, source });
            assert_eq!(call(Norm::layer(1e-6), Some((tensor, rank))), refused);
        }
    }
    assert!(mock.launch().is_none(), "something was launched");
    for overlap in [true, false] {
        call(Norm::layer(1e-6).overlap(overlap), None)?;
        let launches: Vec<_> = std::iter::from_fn(|| mock.launch()).collect();
        assert_eq!(launches.len(), 2);
        assert!(launches.iter().all(|launch| launch.overlap == i32::from(overlap)), "{overlap}");
        tp.synchronize()?;
    }
    Ok(())
}

/// Ranks whose rows, or outputs, are of another type than those of the first.
#[test]
fn ranks_are_of_one_type() -> Result<(), Failed> {
    let _alone = alone();
    let devices = devices(2);
    let (tp, group) = group(&devices, options())?;
    let mut of_f16 = Ranks::upload(&devices, 0, &Reduction::plain(DType::F16, 2, 64))?;
    let mut of_bf16 = Ranks::upload(&devices, 0, &Reduction::plain(DType::BF16, 2, 64))?;
    let (shape, strides) = ([2, 64], [64, 1]);
    let refused = |arg| Error::Tp {
        index: 1,
        place: Place::Cuda(1),
        launched: 0,
        source: Box::new(Error::DType { arg, expected: DType::F16, given: DType::BF16 }),
    };
    let (Ranks { x, y, .. }, Ranks { x: other, y: other_y, .. }) = (&mut of_f16, &mut of_bf16);
    let [x, other] = [&*x, &*other].map(|list| [0, 1].map(|rank| list[rank].view(&shape, &strides)));
    let ([first, second], [_, wrong]) = (&mut y[..], &mut other_y[..]) else { panic!("two ranks") };
    let mut y = [first.view_mut(&shape, &strides), second.view_mut(&shape, &strides)];
    assert_eq!(all_reduce(&[x[0], other[1]], &mut y, &tp, &group), Err(refused(Arg::X)));
    let [first, _] = y;
    let mut y = [first, wrong.view_mut(&shape, &strides)];
    assert_eq!(all_reduce(&x, &mut y, &tp, &group), Err(refused(Arg::Y)));
    Ok(())
}
