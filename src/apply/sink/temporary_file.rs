//! A file under a temporary name, which gets its final name when it is complete.
//!
//! It is removed however the program ends, except by SIGKILL or a crash of the machine: errors and panics drop it, and
//! before a signal such as Ctrl-C's ends the program, a thread removes it. `O_TMPFILE` would leave nothing even
//! in those cases, but not every file system supports it (NFS and FAT do not), and a file without a name cannot replace
//! another atomically.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use signal_hook::iterator::Signals;
use tempfile::NamedTempFile;

use super::{Destination, SinkError};
use crate::apply::input::FileId;

/// The path of the file to remove if a signal ends the program.
static PENDING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The signals from outside that end a program unless it handles them.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// A file under a temporary name, in the folder of the final file. If it is dropped before [`TemporaryFile::persist`], it
/// is removed.
pub struct TemporaryFile {
    file: Option<NamedTempFile>,
}

impl TemporaryFile {
    /// Creates the file beside `path`.
    pub fn create(path: &Path) -> Result<TemporaryFile, SinkError> {
        static WATCHED: Once = Once::new();
        // If signals cannot be watched, the only consequence is that an interrupt leaves the file behind.
        WATCHED.call_once(|| drop(watch()));
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".norm-").suffix(".part");
        // Opened here rather than by `tempfile`, for two reasons: its own file is private, and a result has the
        // rights of any new file, which are 0o666 less the umask; and its error names the temporary file, which
        // says nothing to a user.
        let create = |path: &Path| File::create_new(path);
        // Held until the name is known: a signal in between would leave the file.
        let mut pending = pending();
        let file = builder
            .make_in(folder, create)
            .map_err(|source| SinkError::Io { path: path.to_owned(), source })?;
        *pending = Some(file.path().to_owned());
        Ok(TemporaryFile { file: Some(file) })
    }

    pub fn file(&self) -> &File {
        self.file.as_ref().expect("persisting consumes it").as_file()
    }

    /// Reserves room for that many bytes, if the file system supports it.
    pub fn reserve(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self.file(), FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the file its final name: a new one, or that of the file which it replaces, whose permissions it takes over.
    pub fn persist(mut self, destination: &Destination) -> Result<(), SinkError> {
        let Destination { given, path, replaced } = destination;
        let failed = |source| SinkError::Io { path: given.clone(), source };
        // Held to the end: a signal waits until the file is either gone or has its name.
        let mut pending = pending();
        *pending = None;
        let file = self.file.take().expect("persisting consumes it");
        let persisted = match replaced {
            None => file.persist_noclobber(path).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => SinkError::Appeared { path: given.clone() },
                _ => failed(error.error),
            }),
            Some(old) => {
                if !fs::symlink_metadata(path).is_ok_and(|now| unchanged(old, &now)) {
                    return Err(SinkError::Changed { path: given.clone() });
                }
                // Run by root, the file keeps its owner; run by anyone else, it becomes theirs.
                let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
                let rights = Permissions::from_mode(old.permissions().mode() & 0o777);
                file.as_file().set_permissions(rights).map_err(failed)?;
                file.persist(path).map_err(|error| failed(error.error))
            }
        };
        persisted.map(drop)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let mut pending = pending();
            drop(file);
            *pending = None;
        }
    }
}

/// Whether it is still the same file, unmodified.
fn unchanged(old: &Metadata, now: &Metadata) -> bool {
    let written = |file: &Metadata| (file.len(), file.mtime(), file.mtime_nsec());
    FileId::of(old) == FileId::of(now) && written(old) == written(now)
}

fn pending() -> MutexGuard<'static, Option<PathBuf>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that removes the file before a signal ends the program.
fn watch() -> io::Result<()> {
    // Writing past the limit of `ulimit -f` should be an error rather than a signal.
    signal_hook::flag::register(Signal::XFSZ.as_raw(), Arc::new(AtomicBool::new(false)))?;
    // Signals that the program was started with as ignored, as by nohup, stay ignored.
    let ignored = ignored();
    let ending = ENDING.iter().map(|signal| signal.as_raw());
    let ending = ending.filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(ending.collect::<Vec<_>>())?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Held until the program ends, so that no other thread uses the removed file.
            let pending = pending();
            if let Some(path) = pending.as_ref() {
                let _ = fs::remove_file(path);
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// The signals that this process ignores, the lowest bit for signal 1; none where the system does not say.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
