//! Kinds of instructions.

macro_rules! kinds {
    ($($kind:ident $name:literal $what:literal,)*) => {
        /// A kind of instruction, as counts tell them apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum InstructionKind {
            $(#[doc = $what] $kind,)*
        }

        impl InstructionKind {
            /// All of them, in the order of reports.
            pub const ALL: &[InstructionKind] = &[$(InstructionKind::$kind,)*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(InstructionKind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    Integer "integer" "Integer arithmetic and logic.",
    Half "half" "f16 and bf16 arithmetic, one or two at a time.",
    Single "f32" "f32 arithmetic.",
    Double "f64" "f64 arithmetic.",
    Special "special" "Approximate functions: `rsqrt.approx` and the like.",
    Convert "convert" "Conversions between types.",
    Compare "compare" "Comparisons and selections.",
    Move "move" "Moves, packing and addresses.",
    Branch "branch" "Branches and returns.",
    Param "param" "Loads of kernel parameters.",
    Global "global" "Loads and stores of global memory, and generic ones.",
    Shared "shared" "Loads and stores of shared memory, of this block or another of its cluster.",
    Local "local" "Loads and stores of local memory: spilled registers and arrays.",
    CopyAsync "cp.async" "Asynchronous copies, their groups and waits.",
    Shuffle "shuffle" "Shuffles.",
    Vote "vote" "Votes, matches and reductions over a warp.",
    Barrier "barrier" "Barriers of warps, blocks and clusters.",
    Mbarrier "mbarrier" "Mbarriers: arrivals and waits.",
    Fence "fence" "Fences.",
    Prefetch "prefetch" "Prefetches and cache hints.",
    DependentLaunch "griddepcontrol" "`griddepcontrol`.",
}

impl std::fmt::Display for InstructionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
