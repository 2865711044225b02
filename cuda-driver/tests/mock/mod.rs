//! Has the stand-in for libcuda (`libcuda.rs`) compiled and opened in the driver's place.
#![allow(dead_code)]

pub mod interface;

use libloading::Library;
use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use interface::{Executor, Launch};

impl Launch {
    pub fn kernel(&self) -> &str {
        let end = self.kernel.iter().position(|&byte| byte == 0).unwrap_or(64);
        std::str::from_utf8(&self.kernel[..end]).expect("kernels have ASCII names")
    }
}

/// What is alive in the stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    pub contexts: usize,
    pub allocations: usize,
    pub streams: usize,
    pub modules: usize,
    pub graphs: usize,
    pub events: usize,
    pub communicators: usize,
}

/// The stand-in, opened. It is one for the whole process, so tests that look at launches or let
/// calls fail take [`Mock::alone`] first.
pub struct Mock(Library);

static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Opens the stand-in. To be called before anything else in every test of the binary.
pub fn mock() -> &'static Mock {
    static MOCK: OnceLock<Mock> = OnceLock::new();
    MOCK.get_or_init(|| {
        let path = compile(&format!("mock-{}", std::process::id()));
        // SAFETY: every test of the binary comes here first, and no other code reads the
        // environment but through std, which has a lock.
        unsafe {
            std::env::set_var("NORM_LIBCUDA", &path);
            // It plays both parts. By this very path, which is open already, it needs no file.
            std::env::set_var("NORM_LIBNCCL", &path);
        }
        // SAFETY: the library has no initializers.
        let library = unsafe { Library::new(&path) }.expect("the library just compiled opens");
        assert!(cuda_driver::driver().is_ok(), "the driver was asked for before the stand-in");
        // Open as it is, it stays without its file.
        let _ = path.parent().map(std::fs::remove_dir_all);
        Mock(library)
    })
}

impl Mock {
    /// Keeps other tests out, and forgets what launches there were.
    pub fn alone(&self) -> std::sync::MutexGuard<'static, ()> {
        let guard = ALONE.lock().unwrap_or_else(|broken| broken.into_inner());
        while self.launch().is_some() {}
        while self.wait().is_some() {}
        guard
    }

    /// Has kernels run from now on, instead of only written down.
    pub fn execute(&self, executor: Executor) {
        // SAFETY: the types are the library's.
        unsafe {
            let execute = self.0.get::<unsafe extern "C" fn(Executor)>(b"mock_execute");
            execute.expect("the library has it")(executor);
        }
    }

    /// Lets a driver function (`name` or `name@device`) fail with a code; 0 ends that.
    pub fn fail(&self, name: &str, code: u32) {
        let name = CString::new(name).expect("names hold no zero");
        // SAFETY: the types are the library's.
        unsafe {
            let fail = self.0.get::<unsafe extern "C" fn(*const c_char, u32)>(b"mock_fail");
            fail.expect("the library has it")(name.as_ptr(), code);
        }
    }

    /// Changes what the stand-in makes of itself: `cuda=11.4 devices=8.7,9.0` (`settings.rs`).
    pub fn set(&self, settings: &str) {
        let settings = CString::new(settings).expect("settings hold no zero");
        // SAFETY: the types are the library's.
        unsafe {
            let set = self.0.get::<unsafe extern "C" fn(*const c_char)>(b"mock_set");
            set.expect("the library has it")(settings.as_ptr());
        }
    }

    /// The oldest launch not yet asked for.
    pub fn launch(&self) -> Option<Launch> {
        let mut launch = std::mem::MaybeUninit::uninit();
        // SAFETY: the types are the library's; with true it has written the launch.
        unsafe {
            let next = self.0.get::<unsafe extern "C" fn(*mut Launch) -> bool>(b"mock_launch");
            next.expect("the library has it")(launch.as_mut_ptr()).then(|| launch.assume_init())
        }
    }

    /// The oldest wait not yet asked for: the stream that waits, and the one it waits for.
    pub fn wait(&self) -> Option<[usize; 2]> {
        let mut wait = [0; 2];
        // SAFETY: the types are the library's.
        unsafe {
            let next = self.0.get::<unsafe extern "C" fn(*mut [usize; 2]) -> bool>(b"mock_wait");
            next.expect("the library has it")(&mut wait).then_some(wait)
        }
    }

    pub fn alive(&self) -> Alive {
        let mut counts = [0; 7];
        // SAFETY: the types are the library's.
        unsafe {
            let alive = self.0.get::<unsafe extern "C" fn(*mut [usize; 7])>(b"mock_alive");
            alive.expect("the library has it")(&mut counts);
        }
        let [contexts, allocations, streams, modules, graphs, events, communicators] = counts;
        Alive { contexts, allocations, streams, modules, graphs, events, communicators }
    }
}

/// Compiles the stand-in into a file that stays, for programs that a test starts: what it makes of itself there says
/// the variable `NORM_MOCK` (`settings.rs`). `who` names the test program, of which one is compiled for all of its tests.
pub fn library(who: &str) -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // What an earlier run left is replaced in one step, and not while it is compiled.
        let fresh = compile(&format!("mock-{who}-{}", std::process::id()));
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libcuda-for-{who}.so"));
        std::fs::rename(&fresh, &library).expect("the target directory can be written to");
        let _ = fresh.parent().map(std::fs::remove_dir_all);
        library
    })
}

fn compile(folder: &str) -> PathBuf {
    // The package that includes this file is the workspace's, or one of its members.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = here.ancestors().map(|folder| folder.join("cuda-driver/tests/mock/libcuda.rs"));
    let source = source.take(2).find(|source| source.exists()).expect("the workspace has cuda-driver");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).expect("the target directory can be written to");
    let library = folder.join("libcuda_mock.so");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "cuda_mock"])
        // Whoever opens the driver by its name, as cudarc does, is given this one, open as it is.
        .args(["-C", "link-arg=-Wl,-soname,libcuda.so", "-o"])
        .args([&library, &source])
        .output()
        .expect("rustc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
