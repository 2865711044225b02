//! PTX that the driver does not take.

use libtest_mimic::Failed;
use norm_host::{
    DType, Device, EpilogueRounding, Error, NormKind,
    ptx::{EMBEDDED, Ptx},
};

use norm_testing::{cases::plain, device::on_device::keeps_the_promise};

/// `CUDA_ERROR_INVALID_PTX`.
const INVALID_PTX: u32 = 218;

/// A set of one text, which is kept, as its kernels are.
fn set(text: String) -> Result<&'static [Ptx], Failed> {
    let ptx = Ptx::from_text(text.leak()).ok_or("a text with a target")?;
    Ok(vec![ptx].leak())
}

/// The case that both tests run, with embedded kernels too: what one set lacks is no other's loss.
fn run(device: Device) -> Result<(), Error> {
    device.preload(NormKind::Rms, [DType::F16, DType::F16, DType::F16], 4096, EpilogueRounding::SINGLE)
}

fn others_still_work(device: Device) -> Result<(), Failed> {
    keeps_the_promise(device, &plain(NormKind::Rms, [DType::F16; 3], 5, 4096))
}

/// Entry points by the right names, in which no instruction is one: an error with the compiler's log.
pub fn garbage(device: Device) -> Result<(), Failed> {
    let spoilt = EMBEDDED[0].module_of(EMBEDDED[0].entries()?)?.replace("ret;", "this is no instruction;");
    let refused = run(Device::with_ptx(device.ordinal(), set(spoilt)?)?);
    let Err(Error::Load { kernel, call, code: INVALID_PTX, log, .. }) = &refused else {
        return Err(format!("garbage gives {refused:?}").into());
    };
    if log.trim().is_empty() {
        return Err(format!("{call} of {kernel} says nothing").into());
    }
    println!("report: garbage for PTX: {}", log.lines().next().unwrap_or_default().replace('|', "/"));
    others_still_work(device)
}

/// PTX of a version that no driver reads: an error when the device is opened, which says what is needed and what there
/// is.
pub fn of_the_future(device: Device) -> Result<(), Failed> {
    let ptx = EMBEDDED[0];
    let header = ptx.header()?;
    let version = header.lines().find(|line| line.starts_with(".version")).ok_or("it has a version")?;
    let text = ptx.module_of(ptx.entries()?)?.replacen(version, ".version 9.9", 1);
    let refused = Device::with_ptx(device.ordinal(), set(text)?).map(drop);
    let given = cuda_driver::driver()?.version()?;
    if refused != Err(Error::DriverTooOld { expected: (13, 9), given }) {
        return Err(format!("PTX 9.9 gives {refused:?}").into());
    }
    println!("report: PTX 9.9: {}", refused.map_or_else(|error| error.to_string(), |()| String::new()));
    others_still_work(device)
}
