//! What fails at the driver: each a typed error, and what can go on goes on.

use cust::memory::DeviceBuffer;
use norm_host::ptx::{EMBEDDED, Ptx};
use norm_host::{
    AllReduce, DType, Device, EpilogueRounding, Error, NcclGroup, Norm, NormKind, Place, RowSums, Shard,
    Stream, TpContext, View, ViewMut, rms_norm_sharded,
};
use norm_testing::mock::{Mock, interface::DEVICES, mock};
use std::sync::MutexGuard;

const OUT_OF_MEMORY: u32 = 2;
const NO_DEVICE: u32 = 100;
const NO_BINARY_FOR_GPU: u32 = 209;
const INVALID_PTX: u32 = 218;
const UNSUPPORTED_PTX_VERSION: u32 = 222;
const LAUNCH_FAILED: u32 = 719;

/// Of the `CUresult`s, those whose description says that the process, or the context, is of no more use: failures of memory
/// (214) and of links (220), addresses (700), time (702), a context that is gone (709), assertions (710), stacks (714),
/// instructions (715), alignment (716), address spaces (717), program counters (718), and kernels that failed otherwise.
const FATAL: [u32; 12] = [214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, LAUNCH_FAILED];

/// The stand-in, with this test alone on it.
fn setup() -> (&'static Mock, MutexGuard<'static, ()>) {
    let mock = mock();
    (mock, mock.alone())
}

fn current() -> usize {
    cuda_driver::driver().unwrap().context_current().unwrap().addr()
}

fn buffer(device: &Device) -> DeviceBuffer<f32> {
    let _current = device.enter().unwrap();
    DeviceBuffer::from_slice(&[0_f32; 8]).unwrap()
}

fn run(x: &mut DeviceBuffer<f32>, stream: &Stream) -> Result<(), Error> {
    Norm::rms(1e-6).rows_in_place(&mut ViewMut::from_buffer::<f32>(x, &[2, 4])?, stream)
}

/// What is used in this file of a lost context is forgotten, not dropped: cust's own buffers know
/// nothing of the loss.
fn lose(mock: &Mock, stream: &Stream, code: u32) -> Error {
    mock.fail("cuStreamSynchronize@0", code);
    let error = stream.synchronize().unwrap_err();
    mock.fail("cuStreamSynchronize@0", 0);
    error
}

#[test]
fn a_lost_context_is_said_to_be_until_the_device_is_opened_anew() {
    let (mock, _alone) = setup();
    for code in FATAL {
        let device = Device::new(0).unwrap();
        let stream = Stream::new(&device).unwrap();
        let mut x = buffer(&device);
        let graph = stream.capture(|stream| run(&mut x, stream)).unwrap();
        let error = lose(mock, &stream, code);
        let Error::ContextLost { device: Place::Cuda(0), call: "cuStreamSynchronize", code: told, .. } =
            &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(*told, code);

        // Every further call says so, without asking the driver, which no longer fails here.
        assert_eq!(stream.synchronize(), Err(error.clone()));
        assert_eq!(stream.is_done(), Err(error.clone()));
        let mut view = ViewMut::from_buffer::<f32>(&mut x, &[2, 4]).unwrap();
        assert_eq!(Norm::rms(1e-6).rows_in_place(&mut view, &stream), Err(error.clone()));
        assert_eq!(Stream::new(&device).map(drop), Err(error.clone()));
        assert_eq!(device.enter().map(drop), Err(error.clone()));
        // SAFETY: the stream's context is lost, so the graph is refused and not launched.
        assert_eq!(unsafe { graph.launch(&stream) }, Err(error.clone()));
        assert_eq!(
            device.preload(
                NormKind::Rms,
                [DType::BF16, DType::BF16, DType::F32],
                7,
                EpilogueRounding::SINGLE
            ),
            Err(error.clone())
        );
        let group = TpContext::new(vec![stream]).unwrap();
        let Err(Error::Tp { index: 0, source, .. }) = group.synchronize() else { panic!("not lost") };
        assert_eq!(*source, error);
        assert_eq!(current(), 0);

        let modules = mock.alive().modules;
        let anew = Device::new(0).unwrap();
        assert_ne!(anew, device);
        assert_eq!(Device::new(0), Ok(anew), "once");
        assert!(mock.alive().modules < modules, "the old ones went with their context");
        let stream = Stream::new(&anew).unwrap();
        let mut y = buffer(&anew);
        assert_eq!(run(&mut y, &stream), Ok(()));
        assert_eq!(stream.synchronize(), Ok(()));
        assert!(mock.launch().is_some() && mock.launch().is_none());
        // The old handles stay lost, and letting go of them reaches nothing of the new context.
        let alive = mock.alive().streams;
        assert_eq!(group.synchronize().map_err(|_| ()), Err(()));
        drop((group, graph));
        assert_eq!(mock.alive().streams, alive);
        std::mem::forget(x);
    }
}

#[test]
fn no_other_error_loses_a_context() {
    let (mock, _alone) = setup();
    let device = Device::new(0).unwrap();
    let stream = Stream::new(&device).unwrap();
    for code in (1..1000).filter(|code| !FATAL.contains(code)) {
        mock.fail("cuStreamSynchronize@0", code);
        let refused = stream.synchronize();
        mock.fail("cuStreamSynchronize@0", 0);
        assert!(!matches!(refused, Ok(()) | Err(Error::ContextLost { .. })), "{code}: {refused:?}");
        assert_eq!(stream.synchronize(), Ok(()), "{code}");
    }
    assert_eq!(Device::new(0), Ok(device));
}

#[test]
fn a_loss_while_a_device_is_opened_is_told_too() {
    let (mock, _alone) = setup();
    for code in FATAL {
        mock.fail("cuDevicePrimaryCtxRetain@2", code);
        let refused = Device::new(2).map(drop);
        mock.fail("cuDevicePrimaryCtxRetain@2", 0);
        let lost = matches!(refused, Err(Error::ContextLost { device: Place::Cuda(2), code: told, .. }) if told == code);
        assert!(lost, "{code}: {refused:?}");
    }
    assert!(Device::new(2).is_ok());
}

#[test]
fn what_is_lost_is_lost_for_handles_with_other_kernels_too() {
    let (mock, _alone) = setup();
    let device = Device::new(0).unwrap();
    let other = Device::with_ptx(0, vec![EMBEDDED[0]].leak()).unwrap();
    let stream = Stream::new(&other).unwrap();
    let error = lose(mock, &Stream::new(&device).unwrap(), LAUNCH_FAILED);
    assert_eq!(stream.synchronize(), Err(error.clone()));

    // A stream of the old context is said to be lost, not to be elsewhere.
    let anew = Device::new(0).unwrap();
    assert_ne!(anew, other);
    let graph = Stream::new(&anew).unwrap().capture(|_| Ok(())).unwrap();
    // SAFETY: the graph is empty.
    assert_eq!(unsafe { graph.launch(&stream) }, Err(error));
}

#[test]
fn another_device_goes_on_when_one_is_lost() {
    let (mock, _alone) = setup();
    let [first, second] = [0, 1].map(|ordinal| Device::new(ordinal).unwrap());
    let [lost, good] = [first, second].map(|device| Stream::new(&device).unwrap());
    let error = lose(mock, &lost, LAUNCH_FAILED);
    let mut x = buffer(&second);
    assert_eq!(run(&mut x, &good), Ok(()));
    assert_eq!(good.wait(&lost), Err(error));
    let launch = mock.launch().expect("one");
    assert_eq!(launch.device, 1);
    assert!(Device::new(0).is_ok());
}

#[test]
fn communicators_are_not_begun_for_a_context_that_is_lost() {
    let (mock, _alone) = setup();
    let group = TpContext::on_devices(&[1, 0]).unwrap();
    let error = lose(mock, &group.streams()[1], LAUNCH_FAILED);
    // The end of what is begun here would wait for the lost one's rank.
    mock.fail("ncclGroupStart", 3);
    let begun = NcclGroup::new(&group).map(drop);
    mock.fail("ncclGroupStart", 0);
    assert_eq!(begun, Err(error));
    assert_eq!(current(), 0);
    assert!(Device::new(0).is_ok());
}

/// NCCL's sum, in front of which a device of the group is lost.
struct LosesOne<'a> {
    mock: &'a Mock,
    nccl: &'a NcclGroup,
    index: usize,
}

impl AllReduce for LosesOne<'_> {
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<(), Error> {
        let stream = &sums.group().streams()[self.index];
        let failing = format!("cuStreamSynchronize@{}", self.index);
        self.mock.fail(&failing, LAUNCH_FAILED);
        let error = stream.synchronize().unwrap_err();
        self.mock.fail(&failing, 0);
        // What NCCL begins would wait for the rank of the device that is lost: it must not come to that.
        self.mock.fail("ncclGroupStart", 3);
        let refused = self.nccl.all_reduce(sums);
        self.mock.fail("ncclGroupStart", 0);
        assert_eq!(refused, Err(error));
        refused
    }
}

#[test]
fn no_sum_is_begun_on_a_device_that_is_lost() {
    let (mock, _alone) = setup();
    for index in [0, 1] {
        let group = TpContext::on_devices(&[0, 1]).unwrap();
        let nccl = NcclGroup::new(&group).unwrap();
        let mut y = [0, 1].map(|ordinal| buffer(&Device::new(ordinal).unwrap()));
        let mut sums = [0, 1].map(|ordinal| buffer(&Device::new(ordinal).unwrap()));
        let shards = y.iter_mut().zip(&mut sums).enumerate().map(|(ordinal, (y, sums))| {
            let place = Place::Cuda(ordinal as u32);
            // SAFETY: the stand-in runs no kernel.
            let x = unsafe {
                View::from_raw_parts(place, y.as_device_ptr().as_raw(), DType::F32, &[2, 4]).unwrap()
            };
            let y = ViewMut::from_buffer::<f32>(y, &[2, 4]).unwrap();
            Shard { x, w: None, y, sums: ViewMut::from_buffer::<f32>(sums, &[2]).unwrap() }
        });
        let mut shards: Vec<_> = shards.collect();
        let refused = rms_norm_sharded(&mut shards, 1e-6, 8, &group, &LosesOne { mock, nccl: &nccl, index });
        let lost = Place::Cuda(index as u32);
        assert!(matches!(refused, Err(Error::ContextLost { device, .. }) if device == lost), "{refused:?}");
        let kernels: Vec<_> = std::iter::from_fn(|| mock.launch()).map(|it| it.kernel().to_owned()).collect();
        assert_eq!(kernels, ["rms_partial_f32_vector"; 2], "nothing is scaled by sums that are not there");
        drop((shards, nccl, group));
        assert!(Device::new(index as u32).is_ok());
        // What is lost of it is not cust's to free.
        std::mem::forget((y, sums));
    }
}

#[test]
fn a_device_that_cannot_be_opened_anew_says_why() {
    let (mock, _alone) = setup();
    let device = Device::new(0).unwrap();
    lose(mock, &Stream::new(&device).unwrap(), LAUNCH_FAILED);
    mock.fail("cuDevicePrimaryCtxReset_v2", 46);
    let result = Device::new(0);
    mock.fail("cuDevicePrimaryCtxReset_v2", 0);
    let refused = matches!(result, Err(Error::Driver { call: "cuDevicePrimaryCtxReset_v2", code: 46, .. }));
    assert!(refused, "{result:?}");
    assert!(Device::new(0).is_ok(), "the next try may");
}

#[test]
fn threads_that_hear_of_a_loss_tell_the_same() {
    let (mock, _alone) = setup();
    let device = Device::new(0).unwrap();
    let streams: Vec<_> = (0..16).map(|_| Stream::new(&device).unwrap()).collect();
    mock.fail("cuStreamSynchronize@0", LAUNCH_FAILED);
    let errors: Vec<_> = std::thread::scope(|scope| {
        let waiting: Vec<_> = streams.iter().map(|stream| scope.spawn(|| stream.synchronize())).collect();
        waiting.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    mock.fail("cuStreamSynchronize@0", 0);
    assert!(matches!(errors[0], Err(Error::ContextLost { .. })));
    assert!(errors.iter().all(|error| *error == errors[0]));
    // Threads that open it anew at once get one device.
    let anew: Vec<_> = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..16).map(|_| scope.spawn(|| Device::new(0).unwrap())).collect();
        opening.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(anew.iter().all(|device| *device == anew[0]));
}

#[test]
fn little_memory_is_said_to_be() {
    let (mock, _alone) = setup();
    let device = Device::new(0).unwrap();
    mock.fail("cuStreamCreateWithPriority", OUT_OF_MEMORY);
    let stream = Stream::new(&device).map(drop);
    mock.fail("cuStreamCreateWithPriority", 0);
    assert_eq!(stream, Err(Error::OutOfMemory { call: "cuStreamCreateWithPriority" }));

    // A kernel that no other test of this file loads.
    let load = || {
        device.preload(NormKind::Layer, [DType::F16, DType::F32, DType::F16], 99, EpilogueRounding::SINGLE)
    };
    mock.fail("cuModuleLoadDataEx", OUT_OF_MEMORY);
    let loaded = load();
    mock.fail("cuModuleLoadDataEx", 0);
    assert_eq!(loaded, Err(Error::OutOfMemory { call: "cuModuleLoadDataEx" }));
    assert_eq!(load(), Ok(()), "with memory it goes on");
}

#[test]
fn a_module_that_the_driver_rejects_is_told() {
    let (mock, _alone) = setup();
    let device = Device::new(0).unwrap();
    let load = || {
        device.preload(NormKind::Layer, [DType::BF16, DType::F16, DType::F16], 99, EpilogueRounding::SINGLE)
    };
    mock.fail("cuModuleLoadDataEx", INVALID_PTX);
    let rejected = load();
    mock.fail("cuModuleLoadDataEx", 0);
    assert!(matches!(rejected, Err(Error::Load { code: INVALID_PTX, .. })), "{rejected:?}");
    assert_eq!(load(), Ok(()));
    assert_eq!(current(), 0);
}

/// What the driver's compiler says stands in the message as it is.
#[test]
fn a_compilers_log_reads_as_it_was_written() {
    let error = |log: &str| Error::Load {
        kernel: "k".to_owned(),
        call: "cuModuleLoadDataEx",
        code: INVALID_PTX,
        name: "CUDA_ERROR_INVALID_PTX".to_owned(),
        log: log.to_owned(),
    };
    let failed = "kernel k cannot be loaded: cuModuleLoadDataEx failed: CUDA_ERROR_INVALID_PTX (218); the driver's \
                  compiler";
    assert_eq!(
        error("ptxas a.ptx, line 7; error   : Unknown symbol 'x'\nptxas fatal   : aborted\n").to_string(),
        format!("{failed} says: ptxas a.ptx, line 7; error   : Unknown symbol 'x'; ptxas fatal   : aborted")
    );
    assert_eq!(error(" \n").to_string(), format!("{failed} gives no reason"));
}

/// A set of its own, with which a device is opened anew.
fn set(texts: &[Ptx]) -> &'static [Ptx] {
    texts.to_vec().leak()
}

/// The smallest text for a target.
fn text(version: &str, target: &str) -> Ptx {
    Ptx::from_text(format!(".version {version}\n.target {target}\n.address_size 64\n").leak())
        .expect("it has one")
}

/// Kernels that are made of templates when they are loaded; what is malformed in one never reaches the driver.
#[test]
fn a_malformed_template_is_told_before_the_driver_sees_it() {
    let (mock, _alone) = setup();
    let load = |operation: &str| {
        let entry = |name: &str| {
            format!(".visible .entry {name}()\n{{\n\t.reg .b64 %rd<2>;\n\t{operation} %rd1;\n\tret;\n}}\n")
        };
        let entries = [
            "partial_b16_scalar",
            "partial_b16_vector",
            "apply_b16_b16_b16_scalar",
            "apply_b16_b16_b16_vector",
        ]
        .map(|name| entry(&format!("rms_{name}")));
        let text = format!(".version 8.0\n.target sm_80\n.address_size 64\n{}", entries.concat());
        let device = Device::with_ptx(0, set(&[Ptx::from_text(text.leak()).unwrap()])).unwrap();
        let modules = mock.alive().modules;
        let loaded = device.preload_sharded([DType::F16, DType::F16, DType::BF16], EpilogueRounding::SINGLE);
        (loaded, mock.alive().modules - modules)
    };
    assert_eq!(load("norm.general.p"), (Ok(()), 4));
    let (refused, modules) = load("norm.genreal.p");
    assert!(matches!(&refused, Err(Error::Template(error)) if error.line == 8), "{refused:?}");
    assert_eq!((modules, current()), (0, 0));
}

/// What stands in a test: the stand-in's settings, the texts, and what comes of opening the first device with them.
type Opening<'a> = (&'a str, &'a [Ptx], Result<&'a str, Error>);

/// The driver's version and the device's capability decide before anything is created on the device.
#[test]
fn what_cannot_run_the_kernels_is_known_when_the_device_is_opened() {
    let (mock, _alone) = setup();
    let [sm_80, sm_90] = EMBEDDED;
    let old = |expected, given| Err(Error::DriverTooOld { expected, given });
    let capability = |expected, given| Err(Error::Capability { expected, given });
    let cases: &[Opening<'_>] = &[
        ("cuda=11.4 devices=8.7", &EMBEDDED, old((12, 0), (11, 4))),
        ("cuda=11.8 devices=8.0", &EMBEDDED, old((12, 0), (11, 8))),
        ("cuda=12.0 devices=8.0", &EMBEDDED, Ok("sm_80")),
        ("cuda=12.0 devices=8.9", &EMBEDDED, Ok("sm_80")),
        ("cuda=12.0 devices=9.0", &EMBEDDED, old((12, 1), (12, 0))),
        ("cuda=12.1 devices=9.0", &EMBEDDED, Ok("sm_90")),
        ("cuda=13.0 devices=12.0", &EMBEDDED, Ok("sm_90")),
        ("cuda=13.0 devices=7.5", &EMBEDDED, capability((8, 0), (7, 5))),
        // No driver makes the device newer.
        ("cuda=11.4 devices=7.0", &EMBEDDED, capability((8, 0), (7, 0))),
        ("cuda=12.0 devices=9.0", &[sm_80], Ok("sm_80")),
        ("cuda=13.0 devices=8.9", &[sm_90], capability((9, 0), (8, 9))),
        // As rust-cuda writes it.
        ("cuda=12.9 devices=8.0", &[text("9.0", "sm_80")], old((13, 0), (12, 9))),
        ("cuda=13.0 devices=8.0", &[text("9.0", "sm_80")], Ok("sm_80")),
        ("cuda=13.0 devices=8.0", &[text("9.9", "sm_80")], old((13, 9), (13, 0))),
        ("cuda=13.0 devices=8.0", &[text("10.0", "sm_80")], old((14, 0), (13, 0))),
        ("cuda=11.4 devices=8.7", &[text("7.4", "sm_80")], Ok("sm_80")),
        ("cuda=11.3 devices=8.0", &[text("7.4", "sm_80")], old((11, 4), (11, 3))),
        (
            "cuda=13.0 devices=10.0",
            &[text("8.6", "sm_90a")],
            Err(Error::Target { expected: (10, 0), given: "sm_90a".to_owned() }),
        ),
        ("cuda=13.0 devices=9.0", &[], Err(Error::Target { expected: (9, 0), given: String::new() })),
    ];
    for (settings, texts, expected) in cases {
        mock.set(settings);
        let contexts = mock.alive().contexts;
        let opened = Device::with_ptx(0, set(texts)).map(|device| device.ptx().target);
        let retained = mock.alive().contexts - contexts;
        mock.set("cuda=13.0 devices=9.0,9.0,9.0,9.0");
        assert_eq!(&opened, expected, "{settings}");
        assert_eq!(retained, usize::from(expected.is_ok()), "{settings}");
    }
    assert_eq!(current(), 0);
}

/// As `Device` finds them: what is refused there the driver would refuse at the first launch.
#[test]
fn the_stand_in_refuses_what_it_cannot_read() {
    let (mock, _alone) = setup();
    let device = Device::with_ptx(0, set(&EMBEDDED)).unwrap();
    let load = |settings| {
        mock.set(settings);
        let loaded = device.preload(
            NormKind::Layer,
            [DType::F16, DType::F16, DType::F16],
            99,
            EpilogueRounding::SINGLE,
        );
        mock.set("cuda=13.0 devices=9.0,9.0,9.0,9.0");
        loaded
    };
    for (settings, expected) in [("cuda=12.0", UNSUPPORTED_PTX_VERSION), ("devices=8.9", NO_BINARY_FOR_GPU)] {
        assert!(matches!(load(settings), Err(Error::Load { code, .. }) if code == expected), "{settings}");
    }
    assert_eq!(load("cuda=12.1"), Ok(()));
}

#[test]
fn a_device_that_is_not_there_is_told_in_a_sentence() {
    let (mock, _alone) = setup();
    for (settings, ordinal, expected) in [
        ("devices=", 0, "a CUDA device, given ordinal 0 on a machine where the driver finds none"),
        ("devices=9.0", 1, "ordinal 0, that of the only CUDA device, given 1"),
        ("devices=9.0,9.0", 7, "an ordinal from 0 to 1, those of the CUDA devices, given 7"),
    ] {
        mock.set(settings);
        let error = Device::with_ptx(ordinal, set(&EMBEDDED)).map(drop).unwrap_err();
        mock.set("devices=9.0,9.0,9.0,9.0");
        assert_eq!(error.to_string(), format!("device: expected {expected}"), "{settings}");
    }
}

#[test]
fn a_device_that_is_not_visible_is_none() {
    let (mock, _alone) = setup();
    let none = DEVICES as u32;
    assert_eq!(Device::new(none), Err(Error::NoDevice { ordinal: none, count: none }));
    // As with an empty `CUDA_VISIBLE_DEVICES`.
    mock.fail("cuInit", NO_DEVICE);
    let (count, device) = (Device::count(), Device::new(none));
    mock.fail("cuInit", 0);
    assert_eq!(count, Ok(0));
    assert_eq!(device, Err(Error::NoDevice { ordinal: none, count: 0 }));
}
