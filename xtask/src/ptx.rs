//! `cargo xtask ptx`: compiles the kernels, and takes their PTX into the source tree.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use clap::Subcommand;
use norm_build::ptxas;
use norm_build::text::{TARGETS, Text};
use norm_host::ptx::{Ptx, for_capability};
use xtask::bundle::Unpacked;
use xtask::lock::Assembly;
use xtask::set::{Set, each_target, kernels};
use xtask::{Error, bundle, lock};

use crate::step::{cargo, root};

#[derive(Clone, Copy, Subcommand)]
pub enum PtxTask {
    /// Compile the kernels, and write bundles and lock files; NORM_CODEGEN=rust-cuda takes rust-cuda
    Write,
    /// Compile the kernels, and compare them with the lock files, and those with the bundles
    Check,
    /// Rewrite lock files from the bundles that are there, after a change of norm-host or of launch bounds alone
    Lock,
}

pub fn run(task: PtxTask) -> Result<(), Error> {
    match task {
        PtxTask::Write => write(),
        PtxTask::Check => check(),
        PtxTask::Lock => lock(),
    }
}

/// The compiler that `NORM_CODEGEN` names, by default stock rustc. The build rejects other values.
fn codegen() -> OsString {
    env::var_os("NORM_CODEGEN").unwrap_or_else(|| "stock".into())
}

fn is_rust_cuda() -> bool {
    codegen() == "rust-cuda"
}

/// The set of that compiler.
fn set() -> Set {
    if is_rust_cuda() { Set::rust_cuda(root()) } else { Set::stock(root()) }
}

fn write() -> Result<(), Error> {
    // A missing ptxas is reported now, not after minutes of compiling.
    ptxas::find()?;
    let (kernels, texts) = if is_rust_cuda() {
        (as_checked_in()?, compiled(&codegen())?)
    } else {
        let texts = compiled(&codegen())?;
        (kernels(texts.each_ref()), texts)
    };
    let dictionary = if is_rust_cuda() { Vec::new() } else { bundle::dictionary(texts.each_ref())? };
    let contents = texts.map(|text| Unpacked { kernels: kernels.clone(), text });
    // Everything is made before the first file is written.
    let locks = locks(&contents)?;
    if !dictionary.is_empty() {
        place(&set().dictionary(), &dictionary)?;
    }
    for (target, Unpacked { kernels, text }) in TARGETS.iter().zip(&contents) {
        place(&set().bundle(target), &bundle::of(kernels, text, &dictionary)?)?;
    }
    place_locks(&locks)
}

/// The hash of stock rustc's kernels in the source tree, which rust-cuda's bundle carries. An error if the source has
/// changed since they were written: norm-host would then accept kernels that its plans do not fit.
fn as_checked_in() -> Result<String, Error> {
    let checked_in = kernels(Set::stock(root()).unpack()?.each_ref().map(|unpacked| &unpacked.text));
    let source = kernels(compiled("stock".as_ref())?.each_ref());
    if source == checked_in {
        return Ok(checked_in);
    }
    let folder = "norm-host/ptx";
    Err(format!(
        "expected the kernels that {folder} holds, {checked_in}, given source of which stock rustc makes {source}: \
         `cargo xtask ptx write` writes {folder} anew, and has to be first"
    )
    .into())
}

/// The texts that a compiler makes of the source.
fn compiled(codegen: &OsStr) -> Result<[Text; 2], Error> {
    let out = build(codegen, "write")?;
    each_target(|target| Ok(Text::of(&fs::read_to_string(out.join(format!("{target}.ptx")))?)?))
}

fn lock() -> Result<(), Error> {
    place_locks(&locks(&set().unpack()?)?)
}

/// Devices that run a text made for older ones, which ptxas assembles otherwise. Each test run assembles a kernel of each template for
/// them (tests/toolchain.rs).
const OTHER_DEVICES: [(&str, (u32, u32)); 2] = [("sm_89", (8, 9)), ("sm_100", (10, 0))];

fn locks(contents: &[Unpacked; 2]) -> Result<[String; 2], Error> {
    let ptxas = ptxas::find()?;
    let set = [ptx(&contents[0].text)?, ptx(&contents[1].text)?];
    for (arch, capability) in OTHER_DEVICES {
        let ptx = for_capability(&set, capability)?;
        lock::assembled(&ptxas, &ptx.module_of(ptx.entries()?)?, arch)?;
    }
    let lock = |Unpacked { kernels, text }: &Unpacked, ptx: &Ptx| {
        lock::of(kernels, text, ptx, &Assembly::of(&ptxas, ptx)?)
    };
    Ok([lock(&contents[0], &set[0])?, lock(&contents[1], &set[1])?])
}

fn place_locks(locks: &[String; 2]) -> Result<(), Error> {
    TARGETS.iter().zip(locks).try_for_each(|(target, lock)| Ok(place(&set().lock(target), lock.as_bytes())?))
}

fn check() -> Result<(), Error> {
    build(&codegen(), "check")?;
    let ptxas = ptxas::find();
    let contents = set().unpack()?;
    let expected = kernels(contents.each_ref().map(|unpacked| &unpacked.text));
    let mut differing = Vec::new();
    for (target, Unpacked { kernels, text }) in TARGETS.iter().zip(&contents) {
        if !is_rust_cuda() && *kernels != expected {
            differing.push(format!("{target}: a bundle of kernels {kernels}, whose text is of {expected}"));
        }
        let file = set().lock(target);
        let kept = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let ptx = ptx(text)?;
        let mut assembly = Assembly::in_lock(&kept);
        match &ptxas {
            Ok(ptxas) if lock::version_of(ptxas)? == assembly.version => {
                assembly = Assembly::of(ptxas, &ptx)?
            }
            Ok(_) => {
                println!("{target}: registers are not compared, which are of ptxas {}", assembly.version)
            }
            Err(missing) => println!("{target}: registers are not compared: {missing}"),
        }
        let fresh = lock::of(kernels, text, &ptx, &assembly)?;
        if kept != fresh {
            let lines = lock::differences(&kept, &fresh);
            differing.push(format!("{}:\n{}", file.display(), lines.join("\n")));
        }
    }
    if !differing.is_empty() {
        let differing = differing.join("\n");
        return Err(format!(
            "{differing}\n`cargo xtask ptx lock` writes lock files anew, `cargo xtask ptx write` bundles too"
        )
        .into());
    }
    println!("bundles and lock files are what the source compiles to");
    Ok(())
}

/// A text as `norm-host` takes it. It is leaked, since `norm-host` takes texts that are never freed.
fn ptx(text: &Text) -> Result<Ptx, Error> {
    Ptx::from_text(text.to_string().leak()).ok_or_else(|| "the text names no target".into())
}

/// Lets the build script compile the kernels; returns the folder that it writes to.
fn build(codegen: &OsStr, mode: &str) -> Result<PathBuf, Error> {
    let mut cargo = Command::new(cargo());
    cargo.args(["check", "--package", "norm", "--message-format=json-render-diagnostics"]);
    cargo.env("NORM_CODEGEN", codegen).env("NORM_PTX", mode).current_dir(root()).stderr(Stdio::inherit());
    let output = cargo.output()?;
    if !output.status.success() {
        return Err("the build failed".into());
    }
    let messages = String::from_utf8(output.stdout)?;
    let folder = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_norm = is_of_norm(message["package_id"].as_str()?);
        of_norm.then(|| message["out_dir"].as_str().map(PathBuf::from)).flatten()
    });
    folder.ok_or_else(|| "cargo names no folder that the build compiled into".into())
}

/// Whether cargo means the package of the command line by this ID, which leaves the name out where the folder has the same
/// (The Cargo Book, 'Package ID Specifications').
fn is_of_norm(package_id: &str) -> bool {
    let (folder, package) = package_id.rsplit_once('#').unwrap_or_default();
    match package.split_once('@') {
        Some((name, version)) => (name, version) == ("norm", env!("CARGO_PKG_VERSION")),
        None => folder.ends_with("/norm") && package == env!("CARGO_PKG_VERSION"),
    }
}

/// Writes a file completely or not at all.
fn place(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, file)?;
    println!("{}: {} bytes", file.display(), bytes.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_of_norm;

    #[test]
    fn the_package_is_known_whatever_its_folder_is_called() {
        let version = env!("CARGO_PKG_VERSION");
        for id in
            [format!("path+file:///src/main#norm@{version}"), format!("path+file:///src/norm#{version}")]
        {
            assert!(is_of_norm(&id), "{id}");
        }
        for id in [
            format!("path+file:///src/norm/build#norm-build@{version}"),
            format!("path+file:///src/norm/xtask#{version}"),
            "registry+https://example.org/index#norm@7.0.0".to_owned(),
        ] {
            assert!(!is_of_norm(&id), "{id}");
        }
    }
}
