//! The lock file of a text: a line for each compiled part, and one for each entry point that is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use norm_host::ptx::{Entry, InstructionKind, Ptx};

use norm_build::compiled::{COMPILED, section};
use norm_build::ptxas::{self, Assembled};
use norm_build::text::{Text, hash};

/// The first section: from which kernels the text was compiled, and which ptxas counted the registers.
const HEAD: &str = "[made of]";

/// The section that has a line for each entry point.
const ENTRY_POINTS: &str = "[entry points]";

/// What ptxas reports of the entry points of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// The version of ptxas.
    pub version: String,
    /// The registers a thread of each entry point.
    pub registers: BTreeMap<String, u32>,
}

impl Assembly {
    /// Assembles every entry point of a text for its target.
    ///
    /// # Errors
    /// As [`assembled`], or what is wrong with the text.
    pub fn of(ptxas: &Path, ptx: &Ptx) -> Result<Assembly, crate::Error> {
        let kernels = assembled(ptxas, &ptx.module_of(ptx.entries()?)?, ptx.target)?;
        let registers = kernels.into_iter().map(|kernel| (kernel.name, kernel.registers)).collect();
        Ok(Assembly { version: version_of(ptxas)?, registers })
    }

    /// What a lock file says of it.
    pub fn in_lock(lock: &str) -> Assembly {
        let version = section(lock, HEAD).find_map(|line| line.strip_prefix("ptxas "));
        let registers = section(lock, ENTRY_POINTS).filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?.to_owned(), columns.nth(1)?.parse().ok()?))
        });
        Assembly { version: version.unwrap_or_default().trim().to_owned(), registers: registers.collect() }
    }
}

/// The kernels of a module, assembled for `arch`, such as `sm_89`.
///
/// # Errors
/// What ptxas rejects, or the kernels that need a stack or spill registers.
pub fn assembled(ptxas: &Path, module: &str, arch: &str) -> Result<Vec<Assembled>, crate::Error> {
    let kernels = ptxas::assemble(ptxas, module, arch)?;
    let spilling: Vec<&Assembled> =
        kernels.iter().filter(|kernel| kernel.stack_bytes + kernel.spill_bytes > 0).collect();
    if spilling.is_empty() {
        Ok(kernels)
    } else {
        Err(format!("{arch}: stack or spills: {spilling:?}").into())
    }
}

/// The version of a ptxas, such as `13.0.88`.
///
/// # Errors
/// Why it cannot be run, or that it prints no version.
pub fn version_of(ptxas: &Path) -> Result<String, crate::Error> {
    let output = Command::new(ptxas).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `Cuda compilation tools, release 13.0, V13.0.88`
    let version = text.split_whitespace().filter_map(|word| word.strip_prefix('V')).find(|v| v.contains('.'));
    Ok(version.ok_or_else(|| format!("{} names no version of its own", ptxas.display()))?.to_owned())
}

/// The lock file of a text: the hash of its kernels, its compiled parts, and each entry point with the hash of its module
/// and with what the module takes.
///
/// # Errors
/// What is wrong with the text.
pub fn of(kernels: &str, text: &Text, ptx: &Ptx, assembly: &Assembly) -> Result<String, crate::Error> {
    let target = ptx.target;
    let mut lock = format!(
        "# What {target}.ptx.zst holds and what comes of it, by the first 48 bits of SHA-256.\n\
         # `cargo xtask ptx write` writes both, `cargo xtask ptx check` and the tests compare them.\n\n\
         {HEAD}\nkernels {kernels}\nptxas {}\n\n\
         # The text's parts as they were compiled: `zstd -dc -D dictionary {target}.ptx.zst` shows them, the header behind an index,\n\
         # whose lines begin with `//` and are not counted.\n{COMPILED}\n",
        assembly.version
    );
    // Writing to a string cannot fail.
    for (name, hash) in text.hashes() {
        let _ = writeln!(lock, "{name:<32} {hash}");
    }
    let _ = writeln!(
        lock,
        "\n# The modules that the driver is given: `norm ptx show --target {target} NAME`.\n{ENTRY_POINTS}\n\
         # {:<30} {:<12} {:>9} {:>12} {:>12} {:>8}",
        "name", "module", "registers", "shared bytes", "instructions", "barriers"
    );
    let mut entries: Vec<Entry> = ptx.entries()?.collect();
    entries.sort_by(|a, b| a.name().cmp(b.name()));
    for entry in entries {
        let (name, module, stats) = (entry.name(), ptx.module_of([entry.clone()])?, entry.stats()?);
        let registers = assembly.registers.get(name).map_or("?".to_owned(), u32::to_string);
        let barriers =
            [InstructionKind::Barrier, InstructionKind::ClusterBarrier].map(|kind| stats.count(kind));
        let _ = writeln!(
            lock,
            "{name:<32} {:<12} {registers:>9} {:>12} {:>12} {:>8}",
            hash(&module),
            shared_bytes(&module),
            stats.total(),
            barriers.iter().sum::<usize>()
        );
    }
    Ok(lock)
}

/// The static shared memory of a module's kernel in bytes: variables that are declared and used.
pub fn shared_bytes(module: &str) -> u32 {
    let declared = module.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix(".shared ")?.split_once('[')?;
        let name = name.rsplit(' ').next()?;
        Some((name, rest.split(']').next()?.parse::<u32>().ok()?))
    });
    let used = declared.filter(|(name, _)| module.matches(name).count() > 1);
    used.map(|(_, bytes)| bytes).sum()
}

/// The lines in which a lock file (`kept`) differs from what it should be (`fresh`), in the form of `diff`. Only to explain
/// a difference: whether the two differ is decided by comparing the whole texts.
pub fn differences(kept: &str, fresh: &str) -> Vec<String> {
    let [is_kept, is_fresh] = [kept, fresh].map(|lock| lock.lines().collect::<BTreeSet<_>>());
    let gone = kept.lines().filter(|line| !is_fresh.contains(line)).map(|line| format!("- {line}"));
    let new = fresh.lines().filter(|line| !is_kept.contains(line)).map(|line| format!("+ {line}"));
    let lines: Vec<String> = gone.chain(new).collect();
    if lines.is_empty() && kept != fresh {
        return vec!["the same lines, in another order, more than once, or ended otherwise".to_owned()];
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_as_they_were_written() {
        let lock = format!(
            "# comment\n\n{HEAD}\nkernels 5c1e\nptxas 13.0.88\n\n{COMPILED}\nheader 0a\nk 0b\n\n{ENTRY_POINTS}\n\
             # name module registers\nk   0123  40  896  100  1\nl   4567   ?  0  7  0\n"
        );
        let Assembly { version, registers } = Assembly::in_lock(&lock);
        assert_eq!((version.as_str(), registers), ("13.0.88", BTreeMap::from([("k".to_owned(), 40)])));
        assert_eq!(Assembly::in_lock("").registers, BTreeMap::new());
    }

    #[test]
    fn shared_memory_counts_where_it_is_used() {
        let header = ".shared .align 128 .b8 scratch[896];\n.extern .shared .align 16 .b8 row[];\n";
        let module = |body: &str| format!("{header}.visible .entry k()\n{{\n{body}\n}}\n");
        assert_eq!(shared_bytes(&module("\tmov.b32 %r1, scratch;\n\tmov.b32 %r2, row;")), 896);
        assert_eq!(shared_bytes(&module("\tmov.b32 %r2, row;")), 0);
    }

    #[test]
    fn differences_are_shown_as_diff_shows_them() {
        assert_eq!(differences("a\nb\nc\n", "a\nd\nc\n"), ["- b", "+ d"]);
        assert_eq!(differences("a\n", "a\n"), [""; 0]);
        for kept in ["b\na\n", "a\na\nb\n", "a\nb"] {
            let expected = ["the same lines, in another order, more than once, or ended otherwise"];
            assert_eq!(differences(kept, "a\nb\n"), expected);
        }
    }
}
