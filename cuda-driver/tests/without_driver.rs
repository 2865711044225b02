//! Where there is no driver, a program that uses cust starts and gets errors.

use cust::context::Context;
use cust::device::Device;
use cust::error::CudaError;
use cust::event::{Event, EventFlags};
use cust::external::ExternalMemory;
use cust::link::Linker;
use cust::memory::array::{ArrayDescriptor, ArrayFormat, ArrayObject, ArrayObjectFlags};
use cust::memory::{CopyDestination, DeviceBox, DeviceBuffer, LockedBuffer, UnifiedBuffer};
use cust::module::Module;
use cust::stream::{Stream, StreamFlags};
use cust::{CudaApiVersion, CudaFlags};

const NOWHERE: &str = "/nonexistent/libcuda.so.1";

/// Every test comes here first, so that a driver that is there is not opened.
fn without_driver() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // The library must not come in by linking either.
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
        assert!(!maps.contains("libcuda.so"), "linked to libcuda:\n{maps}");
        // SAFETY: no other code reads the environment but through std, which has a lock.
        unsafe { std::env::set_var(cuda_driver::LIBRARY_VARIABLE, NOWHERE) };
    });
}

#[test]
fn the_error_says_what_was_tried_and_why_it_failed() {
    without_driver();
    let error = cuda_driver::driver().err().expect("there is no such library");
    assert_eq!(error.library, NOWHERE);
    assert!(error.reason.contains("No such file"), "{}", error.reason);
    assert!(error.to_string().contains(NOWHERE), "{error}");
}

#[test]
fn cust_reports_that_there_is_no_device() {
    without_driver();
    assert_eq!(cust::init(CudaFlags::empty()).err(), Some(CudaError::NoDevice));
    assert_eq!(Device::num_devices().err(), Some(CudaError::NoDevice));
    assert_eq!(Device::get_device(0).err(), Some(CudaError::NoDevice));
    assert_eq!(cust::quick_init().err(), Some(CudaError::NoDevice));
    assert_eq!(CudaApiVersion::get().err(), Some(CudaError::NoDevice));
    // Context, device: reached only past the errors above, named so that they are linked.
    let _ = (Context::new, Device::name, Device::total_memory);
}

#[test]
fn everything_else_in_cust_links_and_fails_without_panic() {
    without_driver();
    let none = Some(CudaError::NoDevice);
    assert_eq!(Module::from_ptx(".version 7.0", &[]).err(), none);
    assert_eq!(Stream::new(StreamFlags::NON_BLOCKING, None).err(), none);
    assert_eq!(Event::new(EventFlags::DEFAULT).err(), none);
    assert_eq!(Linker::new().err(), none);
    assert_eq!(DeviceBuffer::from_slice(&[1.0_f32; 4]).err(), none);
    assert_eq!(DeviceBox::new(&1_u64).err(), none);
    assert_eq!(UnifiedBuffer::new(&1_u32, 4).err(), none);
    assert_eq!(LockedBuffer::new(&1_u32, 4).err(), none);
    let array = ArrayDescriptor::new([4, 4, 0], ArrayFormat::F32, 1, ArrayObjectFlags::default());
    assert_eq!(ArrayObject::from_descriptor(&array).err(), none);
    // SAFETY: no driver is there to import anything.
    assert_eq!(unsafe { ExternalMemory::import(0, 4096) }.err(), none);
    let _ = <DeviceBox<f32> as CopyDestination<f32>>::copy_to;
}

#[test]
fn cust_errors_can_be_printed() {
    without_driver();
    // cust panics in `to_string` where the driver has no text for the code.
    assert!(CudaError::NoDevice.to_string().contains("no description"));
    assert!(CudaError::UnknownError.to_string().contains("no description"));
}

#[test]
fn errors_have_names_without_a_driver() {
    without_driver();
    let error = cuda_driver::DriverError::new("cuInit", 100);
    assert_eq!(error.to_string(), "cuInit failed with code 100: CUDA_ERROR_NO_DEVICE");
    let error = cuda_driver::DriverError::new("cuInit", 4242);
    assert!(error.to_string().contains("code 4242"), "{error}");
}
