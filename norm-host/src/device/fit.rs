//! Which PTX a device and its driver can run, and what kernels may use on the device.

use crate::{
    error::{Error, Result},
    plan::DeviceProfile,
    ptx::{self, Ptx},
};

/// The PTX of a set for a device of that capability, if a driver for that version of CUDA can read it. Where the text does
/// not state its version, the driver decides when a kernel is loaded.
pub(super) fn text(set: &[Ptx], capability: (u32, u32), driver: (u32, u32)) -> Result<Ptx> {
    let ptx = ptx::for_capability(set, capability)?;
    match ptx.cuda()? {
        Some(expected) if driver < expected => Err(Error::DriverTooOld { expected, given: driver }),
        _ => Ok(ptx),
    }
}

/// What kernels of that PTX may use on a device of that capability: what both have. A newer device can run PTX for an
/// older target, whose kernels use neither clusters nor dependent launch.
pub(super) fn profile(capability: (u32, u32), ptx: &Ptx) -> DeviceProfile {
    let (device, text) =
        (DeviceProfile::of_capability(capability), DeviceProfile::of_capability(ptx.capability));
    DeviceProfile {
        max_cluster: device.max_cluster.min(text.max_cluster),
        dependent_launch: device.dependent_launch && text.dependent_launch,
        ..device
    }
}

/// [`DeviceProfile::memory_bytes_per_clock`] from the memory's clock in kHz (two transfers a clock), its bus width in bits,
/// the multiprocessors' clock in kHz and their number; `None` where the driver reports none.
pub(super) fn memory_bytes_per_clock([memory_khz, bus_bits, khz, multiprocessors]: [u32; 4]) -> Option<u32> {
    let bytes = u64::from(memory_khz) * u64::from(bus_bits) / 4;
    let clocks = u64::from(khz) * u64::from(multiprocessors);
    u32::try_from(bytes.checked_div(clocks)?).ok().filter(|&rate| rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_use_no_more_than_their_text_and_the_device_have() {
        let [sm_80, sm_90] = ptx::EMBEDDED;
        for (capability, ptx, cluster, overlap) in [
            ((9, 0), sm_90, 16, true),
            ((12, 0), sm_90, 1, true),
            ((8, 0), sm_80, 1, false),
            // As with a file of older PTX: blocks of a cluster would not know of each other.
            ((9, 0), sm_80, 1, false),
        ] {
            let profile = profile(capability, &ptx);
            assert_eq!(
                (profile.max_cluster, profile.dependent_launch),
                (cluster, overlap),
                "{capability:?}, {}",
                ptx.target
            );
            assert_eq!(profile.max_shared_bytes, DeviceProfile::of_capability(capability).max_shared_bytes);
        }
    }

    #[test]
    fn a_text_is_for_the_device_and_no_newer_than_the_driver() {
        let [sm_80, sm_90] = ptx::EMBEDDED;
        let unknown = Ptx::from_text(".target sm_80\n").unwrap();
        for (set, capability, driver, expected) in [
            (&[sm_80, sm_90][..], (8, 7), (11, 4), Err((12, 0))),
            (&[sm_80, sm_90], (8, 7), (12, 0), Ok("sm_80")),
            (&[sm_80, sm_90], (9, 0), (12, 0), Err((12, 1))),
            (&[sm_80, sm_90], (9, 0), (12, 1), Ok("sm_90")),
            (&[sm_80], (9, 0), (12, 0), Ok("sm_80")),
            (&[unknown], (8, 0), (11, 4), Ok("sm_80")),
        ] {
            let expected = expected.map_err(|expected| Error::DriverTooOld { expected, given: driver });
            let given = text(set, capability, driver).map(|ptx| ptx.target);
            assert_eq!(given, expected, "{capability:?} by {driver:?}");
        }
        let expected = Err(Error::Capability { expected: (8, 0), given: (7, 5) });
        assert_eq!(text(&[sm_80], (7, 5), (11, 4)).map(|ptx| ptx.target), expected, "no driver mends that");
    }

    #[test]
    fn memory_moves_so_many_bytes_a_clock_and_multiprocessor() {
        // By the vendor's datasheets 4.8 and 3.35 TB/s over 132 multiprocessors of 1.98 GHz, 1.56 over 108 of
        // 1.41 GHz.
        assert_eq!(memory_bytes_per_clock([3_201_000, 6144, 1_980_000, 132]), Some(18), "H200");
        assert_eq!(memory_bytes_per_clock([2_619_000, 5120, 1_980_000, 132]), Some(12), "H100");
        assert_eq!(memory_bytes_per_clock([1_215_000, 5120, 1_410_000, 108]), Some(10), "A100");
    }

    #[test]
    fn what_a_driver_does_not_say_is_left_to_the_capability() {
        assert_eq!(memory_bytes_per_clock([0, 0, 1_980_000, 132]), None);
        assert_eq!(memory_bytes_per_clock([3_201_000, 6144, 0, 0]), None);
        assert_eq!(memory_bytes_per_clock([u32::MAX, u32::MAX, 1, 1]), None);
    }
}
