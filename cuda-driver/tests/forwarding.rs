//! Calls reach the driver and its answers come back, seen on a stand-in for the driver.

use cuda_driver::{CaptureMode, Launch, LaunchAttribute, driver, take_unknown_code};
use cust::context::{Context, CurrentContext};
use cust::device::{Device, DeviceAttribute};
use cust::error::CudaError;
use cust::memory::{CopyDestination, DeviceBuffer};
use cust::stream::{Stream, StreamFlags};
use cust::{CudaApiVersion, CudaFlags};
use norm_testing::mock::{interface::DEVICES, mock};
use std::os::raw::c_void;

fn context() -> Context {
    cust::init(CudaFlags::empty()).expect("the stand-in initializes");
    Context::new(Device::get_device(0).expect("it has several devices")).expect("and contexts")
}

#[test]
fn cust_sees_the_devices() {
    mock();
    let _context = context();
    assert_eq!(Device::num_devices(), Ok(DEVICES as u32));
    let device = Device::get_device(1).expect("it has several devices");
    assert_eq!(device.name(), Ok("Mock device 1".to_string()));
    assert_eq!(device.get_attribute(DeviceAttribute::ComputeCapabilityMajor), Ok(9));
    assert_eq!(Device::get_device(DEVICES as u32).err(), Some(CudaError::InvalidDevice));
    assert_eq!(CudaApiVersion::get().map(|version| version.major()), Ok(13));
}

#[test]
fn cust_moves_data() {
    mock();
    let _context = context();
    let buffer = DeviceBuffer::from_slice(&[1.5_f32, -2.0, 3.25]).expect("memory");
    let mut back = [0.0; 3];
    buffer.copy_to(&mut back).expect("copied");
    assert_eq!(back, [1.5, -2.0, 3.25]);
    let driver = driver().expect("the stand-in opens");
    assert_eq!(driver.pointer_device(buffer.as_device_ptr().as_raw()), Ok(0));
    assert!(driver.pointer_device(0x10).is_err());
}

#[test]
fn a_code_that_cust_does_not_know_comes_as_unknown_and_is_kept() {
    let mock = mock();
    let _alone = mock.alone();
    let _context = context();
    mock.fail("cuStreamCreateWithPriority", 912);
    let result = Stream::new(StreamFlags::NON_BLOCKING, None);
    mock.fail("cuStreamCreateWithPriority", 0);
    let error = result.expect_err("it fails");
    assert_eq!(error, CudaError::UnknownError);
    let error = cuda_driver::DriverError::from_cust("cuStreamCreateWithPriority", error as u32);
    assert_eq!(error.code, 912);
    assert_eq!(error.name, "CUDA_ERROR_INVALID_CLUSTER_SIZE, invalid cluster size");
    assert_eq!(take_unknown_code(), None);
}

#[test]
fn a_function_that_the_driver_lacks_is_reported() {
    mock();
    let _context = context();
    assert_eq!(CurrentContext::get_flags().err(), Some(CudaError::NotSupported));
}

#[test]
fn the_compilers_message_comes_with_a_module_that_does_not_load() {
    let mock = mock();
    // While another test captures, nothing can be loaded.
    let _alone = mock.alone();
    let _context = context();
    let driver = driver().expect("the stand-in opens");
    let error = driver.module_load(c"nothing").expect_err("there is no kernel in it");
    assert_eq!(error.log, "ptxas error : no entry in sight");
    assert_eq!((error.error.call, error.error.code), ("cuModuleLoadDataEx", 218));
    assert!(error.to_string().contains("no entry in sight"));
}

#[test]
fn launches_are_made_and_captured() {
    let mock = mock();
    let _alone = mock.alone();
    let _context = context();
    let driver = driver().expect("the stand-in opens");
    let module = driver.module_load(c".entry twice(.param .u64 value)").expect("it has a kernel");
    let mut value = 7_u64;
    let mut params = [(&raw mut value).cast::<c_void>()];
    // SAFETY: the handles are alive, the stand-in reads eight bytes of the parameter, and nothing
    // is used after it is destroyed.
    unsafe {
        let twice = driver.module_function(module, c"twice").expect("it is in there");
        assert!(driver.module_function(module, c"thrice").is_err());
        let stream = driver.stream_create().expect("a stream");
        let launch = Launch { grid: (3, 1, 1), block: (256, 1, 1), shared_bytes: 512, stream };

        driver.stream_begin_capture(stream, CaptureMode::ThreadLocal).expect("captures");
        assert_eq!(driver.stream_is_capturing(stream), Ok(true));
        let mut attributes =
            [LaunchAttribute::cluster(3, 1, 1), LaunchAttribute::programmatic_serialization()];
        driver.launch_kernel_ex(twice, &launch, &mut attributes, &mut params).expect("captured");
        let graph = driver.stream_end_capture(stream).expect("captured");
        assert!(mock.launch().is_none());

        let exec = driver.graph_instantiate(graph).expect("ready");
        driver.graph_destroy(graph).expect("destroyed");
        driver.graph_launch(exec, stream).expect("launched");
        driver.graph_exec_destroy(exec).expect("destroyed");
        driver.stream_synchronize(stream).expect("done");
        driver.stream_destroy(stream).expect("destroyed");
        driver.module_unload(module).expect("unloaded");
    }
    let seen = mock.launch().expect("the graph's launch");
    assert_eq!(seen.kernel(), "twice");
    assert_eq!((seen.grid, seen.block, seen.shared_bytes), ([3, 1, 1], [256, 1, 1], 512));
    assert_eq!((seen.first, seen.cluster, seen.overlap), (7, 3, 1));
    assert!(mock.launch().is_none());
}
