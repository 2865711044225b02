//! Opens the stand-in for libcuda (`libcuda/lib.rs`) in the driver's place.

// The stand-in is a crate of its own, which has this file too.
#[path = "../libcuda/interface.rs"]
pub mod interface;

use libloading::Library;
use std::ffi::{CString, c_char};
use std::path::Path;
use std::sync::OnceLock;

use interface::{Executor, Launch};

// What the stand-in, which depends on nothing, knows of an argument's layout.
const _: () = {
    use norm_kernels::abi::GroupArgs;
    assert!(std::mem::offset_of!(GroupArgs, ranks) == interface::GROUP_RANKS);
    assert!(std::mem::offset_of!(GroupArgs, rank) == interface::GROUP_RANK);
};

impl Launch {
    pub fn kernel(&self) -> &str {
        let end = self.kernel.iter().position(|&byte| byte == 0).unwrap_or(interface::NAME_BYTES);
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
        let path = library();
        // SAFETY: every test of the binary comes here first, and no other code reads the
        // environment but through std, which has a lock.
        unsafe {
            std::env::set_var("NORM_LIBCUDA", path);
            // It plays both parts.
            std::env::set_var("NORM_LIBNCCL", path);
        }
        // SAFETY: loading the library runs no code of it: it has no initializers.
        let library =
            unsafe { Library::new(path) }.expect("the library that the build script compiled opens");
        assert!(cuda_driver::driver().is_ok(), "the driver was asked for before the stand-in");
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
        // SAFETY: the library defines a function of this name with this type.
        unsafe {
            let execute = self.0.get::<unsafe extern "C" fn(Executor)>(b"mock_execute");
            execute.expect("the library has it")(executor);
        }
    }

    /// Lets a driver function (`name` or `name@device`) fail with a code; 0 ends that.
    pub fn fail(&self, name: &str, code: u32) {
        let name = CString::new(name).expect("names hold no zero");
        // SAFETY: the library defines a function of this name with this type.
        unsafe {
            let fail = self.0.get::<unsafe extern "C" fn(*const c_char, u32)>(b"mock_fail");
            fail.expect("the library has it")(name.as_ptr(), code);
        }
    }

    /// Changes what the stand-in makes of itself: `cuda=11.4 devices=8.7,9.0` (`libcuda/settings.rs`).
    pub fn set(&self, settings: &str) {
        let settings = CString::new(settings).expect("settings hold no zero");
        // SAFETY: the library defines a function of this name with this type.
        unsafe {
            let set = self.0.get::<unsafe extern "C" fn(*const c_char)>(b"mock_set");
            set.expect("the library has it")(settings.as_ptr());
        }
    }

    /// The oldest launch not yet asked for.
    pub fn launch(&self) -> Option<Launch> {
        let mut launch = std::mem::MaybeUninit::uninit();
        // SAFETY: the library defines a function of this name with this type. It has written the launch if it returns
        // true.
        unsafe {
            let next = self.0.get::<unsafe extern "C" fn(*mut Launch) -> bool>(b"mock_launch");
            next.expect("the library has it")(launch.as_mut_ptr()).then(|| launch.assume_init())
        }
    }

    /// The oldest wait not yet asked for: the stream that waits, and the one it waits for.
    pub fn wait(&self) -> Option<[usize; 2]> {
        let mut wait = [0; 2];
        // SAFETY: the library defines a function of this name with this type.
        unsafe {
            let next = self.0.get::<unsafe extern "C" fn(*mut [usize; 2]) -> bool>(b"mock_wait");
            next.expect("the library has it")(&mut wait).then_some(wait)
        }
    }

    pub fn alive(&self) -> Alive {
        let mut counts = [0; 7];
        // SAFETY: the library defines a function of this name with this type.
        unsafe {
            let alive = self.0.get::<unsafe extern "C" fn(*mut [usize; 7])>(b"mock_alive");
            alive.expect("the library has it")(&mut counts);
        }
        let [contexts, allocations, streams, modules, graphs, events, communicators] = counts;
        Alive { contexts, allocations, streams, modules, graphs, events, communicators }
    }
}

/// The stand-in's file, for programs that a test starts: what it makes of itself there says the variable `NORM_MOCK`
/// (`libcuda/settings.rs`).
pub fn library() -> &'static Path {
    Path::new(env!("NORM_MOCK_LIBRARY"))
}
