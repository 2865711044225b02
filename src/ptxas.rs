//! Finding NVIDIA's assembler, `ptxas`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable that names a `ptxas` to use.
pub const VARIABLE: &str = "PTXAS";

/// A script that prints the folders in which Python finds packages.
const SITE_PACKAGES: &str = "import site, sysconfig\n\
     for folder in {sysconfig.get_path('purelib'), site.getusersitepackages()}: print(folder)";

/// The first of: `$PTXAS`, the one in `PATH`, those of a CUDA toolkit at `$CUDA_HOME`,
/// `$CUDA_PATH` or `/usr/local/cuda`, and those that `pip install nvidia-cuda-nvcc` leaves.
pub fn find() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named
        .filter(|path| path.is_file())
        .or_else(|| which::which("ptxas").ok())
        .or_else(|| toolkits().into_iter().map(|home| home.join("bin/ptxas")).find(|path| path.is_file()))
        .or_else(|| python_folders().iter().find_map(|folder| in_wheel(folder)))
}

/// Where CUDA toolkits may be.
pub fn toolkits() -> Vec<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    named.chain([OsString::from("/usr/local/cuda")]).map(PathBuf::from).collect()
}

fn python_folders() -> Vec<PathBuf> {
    let output = Command::new("python3").args(["-c", SITE_PACKAGES]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(PathBuf::from).collect()
}

/// The `ptxas` of a wheel: `nvidia/cuda_nvcc/bin` up to CUDA 12, `nvidia/cu13/bin` from 13 on.
fn in_wheel(site_packages: &Path) -> Option<PathBuf> {
    let packages = fs::read_dir(site_packages.join("nvidia")).ok()?;
    let mut found: Vec<PathBuf> = packages
        .filter_map(|package| Some(package.ok()?.path().join("bin/ptxas")))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_has_it_in_a_bin_folder_of_some_package() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(in_wheel(folder.path()), None);
        let bin = folder.path().join("nvidia/cu13/bin");
        fs::create_dir_all(folder.path().join("nvidia/cuda_runtime")).unwrap();
        fs::create_dir_all(&bin).unwrap();
        assert_eq!(in_wheel(folder.path()), None);
        fs::write(bin.join("ptxas"), "").unwrap();
        assert_eq!(in_wheel(folder.path()), Some(bin.join("ptxas")));
    }
}
