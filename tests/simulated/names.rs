//! The stand-in writes down each launch with its kernel's name.

use std::ffi::CString;

use cuda_driver::driver;
use norm_kernels::abi::EntryPoint;
use norm_testing::mock::interface::{Launch, NAME_BYTES};

use crate::{alone, device};

#[test]
fn a_launch_has_room_for_the_name_of_every_kernel() {
    for entry in EntryPoint::every() {
        let name = entry.to_string();
        assert_eq!(Launch::new(&name).kernel(), name);
    }
}

/// `CUDA_ERROR_UNKNOWN`.
const UNKNOWN: u32 = 999;

#[test]
fn a_panic_in_the_stand_in_is_an_error_of_the_call() -> Result<(), Box<dyn std::error::Error>> {
    let _alone = alone();
    let device = device(0);
    let _current = device.enter()?;
    let driver = driver()?;
    let load = |name: &str| {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry {name}()\n{{\nret;\n}}\n"
        );
        let (text, name) = (CString::new(text)?, CString::new(name)?);
        let module = driver.module_load(&text)?;
        // SAFETY: the module was loaded just now, in the context that is current.
        Ok::<_, Box<dyn std::error::Error>>(unsafe { driver.module_function(module, &name)? })
    };
    let launch = |function| {
        let launch = cuda_driver::Launch {
            grid: (1, 1, 1),
            block: (1, 1, 1),
            shared_bytes: 0,
            stream: std::ptr::null_mut(),
        };
        // SAFETY: the function is of a module of the current context, has no parameters and touches nothing.
        unsafe { driver.launch_kernel(function, &launch, &mut []) }
    };
    let error = launch(load(&"k".repeat(NAME_BYTES + 1))?).expect_err("its name has no room");
    assert_eq!(error.code, UNKNOWN, "{error}");
    launch(load("k")?)?;
    Ok(())
}
