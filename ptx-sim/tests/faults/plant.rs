//! A kernel with a fault in it.

use ptx_sim::{Element, Fault, FaultKind, Launch, LaunchError, Memory, Module};

use norm_testing::kernel::{marked, text};

/// A kernel with a fault in it, and where that is.
pub struct Plant {
    /// The fault, in words.
    pub name: &'static str,
    /// The kernel's instructions, behind [`PRELUDE`]. `// here` is on the line that is at fault,
    /// `// other` on that of the other thread of a race.
    pub body: &'static str,
    /// A piece of the body, and what makes the kernel clean in its place.
    pub mend: [&'static str; 2],
    /// Blocks of the grid and of a cluster, threads of a block; all along x.
    pub shape: [u32; 3],
    /// The block and the thread that are at fault.
    pub place: [u32; 2],
    /// What they do.
    pub kind: fn(&Addresses) -> FaultKind,
}

/// What the message of a fault can name.
pub struct Addresses {
    /// 4096 bytes of zeros.
    pub data: u64,
    /// 64 bytes that may only be read.
    pub constant: u64,
    /// 64 bytes that have been freed.
    pub freed: u64,
    /// 64 bytes that nothing has written.
    pub blank: u64,
    /// The line with `// other`.
    pub other: u32,
}

/// A byte of a buffer, as a message names it.
pub fn byte(buffer: &str, index: u64) -> Option<Box<Element>> {
    Some(Box::new(Element { buffer: buffer.to_owned(), index, size: 1 }))
}

const PARAMETERS: &str = ".param .u64 data, .param .u64 constant, .param .u64 freed, .param .u64 blank";

/// The parameters and the thread's place in registers; `%mine` is the thread's word of `data`,
/// `%word` that of `scratch`, 1024 bytes of shared memory.
const PRELUDE: &str = "
    .reg .b64 %data, %constant, %freed, %blank, %mine, %offset; .reg .b32 %thread, %block, %word;
    ld.param.u64 %data, [data]; ld.param.u64 %constant, [constant];
    ld.param.u64 %freed, [freed]; ld.param.u64 %blank, [blank];
    mov.u32 %thread, %tid.x; mov.u32 %block, %ctaid.x;
    mul.wide.u32 %offset, %thread, 4; add.s64 %mine, %data, %offset;
    mov.u32 %word, scratch; mad.lo.u32 %word, %thread, 4, %word;
";

/// Instructions that a warp may run.
pub const LIMIT: u64 = 10_000;

impl Plant {
    /// What comes of running it.
    pub fn run(&self) -> Result<(), LaunchError> {
        self.run_body(self.body)
    }

    /// What comes of running it without its fault.
    pub fn run_mended(&self) -> Result<(), LaunchError> {
        let [fault, mended] = self.mend;
        assert!(self.body.contains(fault), "{}: nothing to mend", self.name);
        self.run_body(&self.body.replace(fault, mended))
    }

    fn run_body(&self, body: &str) -> Result<(), LaunchError> {
        let kernel = Module::parse(module(body)).unwrap().kernel("k").unwrap();
        let (mut memory, Addresses { data, constant, freed, blank, .. }) = self.memory();
        let [blocks, cluster, threads] = self.shape.map(|extent| [extent, 1, 1]);
        let launch = Launch::new(&kernel).grid(blocks).cluster(cluster).block(threads).limit(LIMIT);
        launch.arg(data).arg(constant).arg(freed).arg(blank).run(&mut memory).map(|_| ())
    }

    /// The fault, with all that is said of it.
    pub fn expected(&self) -> LaunchError {
        let [block, thread] = self.place.map(|place| [place, 0, 0]);
        let line = marked(&module(self.body), "// here");
        LaunchError::Fault(Box::new(Fault { kernel: "k".to_owned(), line, block, thread, kind: self.kind() }))
    }

    pub fn kind(&self) -> FaultKind {
        (self.kind)(&self.memory().1)
    }

    fn memory(&self) -> (Memory, Addresses) {
        let mut memory = Memory::new();
        let data = memory.upload("data", &[0; 4096]);
        let constant = memory.upload_read_only("constant", &[0; 64]);
        let freed = memory.upload("freed", &[0; 64]);
        let blank = memory.allocate("blank", 64);
        memory.free(freed).unwrap();
        let other = marked(&module(self.body), "// other");
        (memory, Addresses { data, constant, freed, blank, other })
    }
}

fn module(body: &str) -> String {
    text(PARAMETERS, &format!("{PRELUDE}{body}\nret;"))
}
