//! The destination of the result, and the checks whether it may be written.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::Access;
use rustix::io::Errno;

use super::SinkError;
use crate::apply::input::{FileId, SourceFile, Tensor};
use crate::regular::name_of;

/// The rights to write of owner, group and others.
const WRITABLE: u32 = 0o222;

/// Where the result goes, as the command line says it.
#[derive(Args, Debug)]
pub struct DestinationArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Name of the result [default: the input's]; a new one, with --into, leaves the input as it was
    #[arg(long = "as", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Replace what exists: the file, read-only or not; with --into also another tensor of the name
    #[arg(long)]
    force: bool,
}

/// Either of two ways to write.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct PathArgs {
    /// The safetensors file to write, which holds the result alone; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The same with all that the input's file holds, the result in the input's place; it may be that file
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

impl DestinationArgs {
    /// The name of the result's tensor.
    pub fn name<'a>(&'a self, x: &'a Tensor) -> &'a str {
        self.name.as_deref().unwrap_or(&x.name)
    }

    /// The name that `--as` gives.
    pub fn given_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether other tensors are kept.
    pub fn keeps_others(&self) -> bool {
        self.path.into.is_some()
    }

    pub fn force(&self) -> bool {
        self.force
    }

    /// The option that was given, and its path.
    pub fn path(&self) -> (&'static str, &Path) {
        match (&self.path.into, &self.path.out) {
            (Some(path), _) => ("into", path),
            (None, out) => ("out", out.as_deref().unwrap_or(Path::new(""))),
        }
    }
}

/// A path to which the result may be written.
#[derive(Debug)]
pub struct Destination {
    /// The path as it was given on the command line.
    pub given: PathBuf,
    /// The path with links resolved.
    pub path: PathBuf,
    /// The existing file that is replaced, if there is one.
    pub replaced: Option<Metadata>,
}

impl Destination {
    /// Checks the path. `inputs` are the tensors that are read, each with its option, the input first.
    pub fn of(args: &DestinationArgs, inputs: &[(&'static str, &Tensor)]) -> Result<Destination, SinkError> {
        let (option, given) = args.path();
        let path = given.to_owned();
        if given == "-" {
            return Err(SinkError::Stdout { option });
        }
        let io = |source: io::Error| SinkError::Io { path: given.to_owned(), source };
        match fs::symlink_metadata(given) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if names_a_file(given) {
                    Ok(Destination { given: path.clone(), path, replaced: None })
                } else {
                    Err(SinkError::NoName { path })
                };
            }
            Err(error) => return Err(io(error)),
            Ok(_) => (),
        }
        let there = match fs::metadata(given) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SinkError::DanglingLink { path });
            }
            there => there.map_err(io)?,
        };
        if !there.is_file() {
            return Err(SinkError::NotAFile { path, kind: name_of(there.file_type()) });
        }
        may_replace(args, &there, inputs)?;
        let path = given.canonicalize().map_err(io)?;
        Ok(Destination { given: given.to_owned(), path, replaced: Some(there) })
    }

    /// Whether this is the file that is replaced.
    pub fn replaces(&self, file: &SourceFile) -> bool {
        self.replaced.as_ref().is_some_and(|there| FileId::of(there) == file.id)
    }
}

/// Checks whether the existing file may be replaced.
fn may_replace(
    args: &DestinationArgs,
    there: &Metadata,
    inputs: &[(&'static str, &Tensor)],
) -> Result<(), SinkError> {
    let (option, path) = args.path();
    let path = path.to_owned();
    let id = FileId::of(there);
    if inputs.iter().any(|(_, tensor)| tensor.index == Some(id)) {
        return Err(SinkError::Index { option, path });
    }
    let mut read = inputs.iter().filter(|(_, tensor)| tensor.file.source.id == id);
    match read.next() {
        Some(("--input", _)) if args.keeps_others() => {
            if read_only(&path, there) && !args.force {
                Err(SinkError::ReadOnly { path })
            } else {
                Ok(())
            }
        }
        Some(("--input", x)) => Err(SinkError::Input { path, others: x.file.header.tensors.len() - 1 }),
        Some((read_by, _)) => Err(SinkError::Parameters { option, path, read_by }),
        None if args.force => Ok(()),
        None if args.keeps_others() => Err(SinkError::ExistsInto { path }),
        None => Err(SinkError::Exists { path }),
    }
}

/// Whether the file is read-only, for everyone or for this user. Write access to its folder suffices for a rename, but does
/// not entitle the user to replace the file's content.
fn read_only(path: &Path, there: &Metadata) -> bool {
    let denied = || rustix::fs::access(path, Access::WRITE_OK) == Err(Errno::ACCESS);
    there.permissions().mode() & WRITABLE == 0 || denied()
}

/// Whether a path ends in the name of a file: not in `..`, nor in a slash, as only a folder's may.
fn names_a_file(path: &Path) -> bool {
    path.file_name().is_some() && !OsStr::as_bytes(path.as_os_str()).ends_with(b"/")
}
