//! Advice on errors that keep a driver or a device from being used.

use norm_host::Error;

pub const DRIVER_HOW: &str = "install NVIDIA's driver for your GPU, https://www.nvidia.com/drivers; in a container, \
                              start it with the GPUs, such as `docker run --gpus all`";
pub const NEWER_GPU: &str =
    "use a GPU of compute capability 8.0 (Ampere) or newer; --device cpu always works";

const NEWER_DRIVER: &str = "update NVIDIA's driver, https://www.nvidia.com/drivers (on a Jetson, JetPack); on a \
                            data-center GPU its package cuda-compat, of that CUDA or newer, does too; --device cpu \
                            always works";
const LIBRARY: &str = "install NVIDIA's driver anew, whole and for this architecture, https://www.nvidia.com/drivers; \
                       NORM_LIBCUDA names another library to open";
const ANOTHER: &str = "free the GPU's memory, see `nvidia-smi`, or choose another GPU by --device cuda:N; --device cpu \
                       always works";
const LOOK: &str = "see whether `nvidia-smi` works, and what the kernel says (`dmesg | grep -i nvrm`); --device cpu \
                    always works";

/// The driver's codes that say what is wrong with a machine
/// ([CUresult](https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html)).
const CODES: [(u32, &str); 9] = [
    (
        34,
        "the library is a toolkit's stub; let the dynamic linker find the driver's own libcuda.so.1, as without the \
          stubs' folder in LD_LIBRARY_PATH",
    ),
    (
        46,
        "another process has the GPU for itself (`nvidia-smi -q -d COMPUTE`), or it has fallen off the bus (`dmesg`)",
    ),
    (
        221,
        "install NVIDIA's driver whole: its libnvidia-ptxjitcompiler.so.1, of the same version, is not there; in a \
           container, start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    (801, "use a library that is the CUDA driver: NORM_LIBCUDA, if it is set, names another"),
    (
        802,
        "start the fabric manager (`systemctl start nvidia-fabricmanager`), which must be of the driver's version, and \
           wait until it has brought up the GPUs",
    ),
    (
        803,
        "restart the machine: the kernel still runs the module of another driver version than this library is of; in a \
           container, give it the host's libraries, and no cuda-compat that is older",
    ),
    (
        804,
        "take the package cuda-compat out of LD_LIBRARY_PATH: this GPU cannot use it, and needs the host's own driver, \
           updated",
    ),
    (805, "start the MPS control daemon that CUDA_MPS_PIPE_DIRECTORY leads to, or do without that variable"),
    (
        999,
        "load the kernel module anew (`modprobe -r nvidia_uvm && modprobe nvidia_uvm`), as after a suspend, or restart \
           the machine; in a container, give it /dev/nvidia-uvm",
    ),
];

/// Advice on an error of opening a driver or a device, if there is any.
pub fn how(error: &Error) -> &'static str {
    match error {
        Error::NoDriver { .. } => LIBRARY,
        Error::DriverTooOld { .. } => NEWER_DRIVER,
        Error::Capability { .. } | Error::Target { .. } => NEWER_GPU,
        Error::OutOfMemory { .. } => ANOTHER,
        Error::Driver { code, .. } | Error::Load { code, .. } => {
            CODES.iter().find(|(known, _)| known == code).map_or(LOOK, |(_, how)| how)
        }
        _ => LOOK,
    }
}
