//! The PTX that a compiler makes of the kernels, without comments but for libNVVM's name, cut at its entry points.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use norm_kernels::abi::{EntryPoint, LIBNVVM_COMMENT, is_of_libnvvm};
use sha2::{Digest, Sha256};

/// The target of each text: the oldest architecture that it runs on.
pub const TARGETS: [&str; 2] = ["sm_80", "sm_90"];

/// The text for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Whether libNVVM made it.
    pub is_of_libnvvm: bool,
    /// The lines in front of the entry points: version, target, shared memory.
    pub header: String,
    /// The text of each entry point, sorted by name, so that the order does not depend on the compiler.
    pub entries: BTreeMap<String, String>,
}

const ENTRY: &str = ".visible .entry ";

impl Text {
    /// Removes the comments of a compiler's output, and cuts it at its entry points.
    ///
    /// # Errors
    /// Entry points of `abi` that no entry of the text serves, and entries that serve none.
    pub fn of(assembly: &str) -> Result<Text, String> {
        let mut tidy = String::with_capacity(assembly.len());
        for line in assembly.lines().map(str::trim_end) {
            let comment = line.trim_start().starts_with("//");
            if !(comment || line.is_empty() && tidy.ends_with("\n\n")) {
                tidy.extend([line, "\n"]);
            }
        }
        // Entries are searched for at the beginning of a line.
        let tidy = format!("\n{}", tidy.trim());
        let first = format!("\n{ENTRY}");
        let mut parts = tidy.split(&first);
        let header = format!("{}\n\n", parts.next().unwrap_or_default().trim());
        let entries = parts.map(|entry| {
            let name = entry.split('(').next().unwrap_or_default().trim();
            (name.to_owned(), format!("{ENTRY}{}\n", entry.trim_end()))
        });
        let is_of_libnvvm = is_of_libnvvm(assembly);
        let text = Text { is_of_libnvvm, header, entries: entries.collect() };
        text.serves_every_entry_point()?;
        Ok(text)
    }

    /// Checks that an entry serves each entry point: one of its own name, or else its template.
    fn serves_every_entry_point(&self) -> Result<(), String> {
        let (mut lacking, mut needless) = (BTreeSet::new(), BTreeSet::from_iter(self.entries.keys()));
        for entry in EntryPoint::all() {
            let (own, template) = (entry.to_string(), entry.template().to_string());
            match self.entries.contains_key(&own) {
                true => needless.remove(&own),
                false if self.entries.contains_key(&template) => needless.remove(&template),
                false => lacking.insert(template),
            };
        }
        if lacking.is_empty() && needless.is_empty() {
            return Ok(());
        }
        Err(format!("expected what `abi` lists, given kernels without {lacking:?} and with {needless:?}"))
    }

    /// The hash of each part, by its name: `header`, or the entry's.
    pub fn hashes(&self) -> Vec<(String, String)> {
        let entries = self.entries.iter().map(|(name, text)| (name.as_str(), text));
        let parts = [("header", &self.header)].into_iter().chain(entries);
        parts.map(|(name, text)| (name.to_owned(), hash(text))).collect()
    }
}

/// The whole text: libNVVM's name if that made it, the header, and the entries, one after the other.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_libnvvm {
            writeln!(f, "{LIBNVVM_COMMENT}")?;
        }
        f.write_str(&self.header)?;
        self.entries.values().try_for_each(|entry| f.write_str(entry))
    }
}

/// The first 48 bits of a text's SHA-256, as `sha256sum` writes them.
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
