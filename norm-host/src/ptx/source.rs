//! The storage of a target's PTX: plain text or a compressed bundle.

use std::{borrow::Cow, fmt};

use super::{
    SM_80, SM_90,
    bundle::{Bundle, Damage, Index},
    parts::Parts,
};
use crate::error::{Error, Result};

/// A target's PTX, with access to its entries. An entry is a kernel or a template, which its name tells: see
/// [`Ptx::entries`](super::Ptx::entries).
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// The text itself. It is refused if its comments name other kernels than those that are launched here.
    Text(&'static str),
    /// A bundle. It is refused unless its kernels are those that are launched here.
    Bundle(&'static Bundle<'static>),
}

/// Divides a text into its parts. It is an error if the text names another kernel hash, has two entries of one name, or
/// has a pseudo-instruction outside of entries.
fn cut(text: &'static str) -> Result<&'static Parts<'static>> {
    let parts = Parts::of(text);
    if let Some(kernels) = parts.kernels {
        same_kernels(kernels)?;
    }
    if let Some(kernel) = parts.duplicate {
        return Err(Error::DuplicateKernel { kernel: kernel.to_owned() });
    }
    if let Some(given) = &parts.stray {
        return Err(Error::StrayPseudoInstruction { given: given.clone() });
    }
    Ok(parts)
}

/// A bundle's index; an error if its kernel hash is not the embedded one.
fn opened(bundle: &'static Bundle<'static>) -> Result<&'static Index> {
    let index = bundle.index()?;
    // A test compares the hashes of the embedded bundles. Unpacking the index of the other one here would take a third
    // of the time that the first kernel takes.
    if !std::ptr::eq(bundle, &SM_90) {
        same_kernels(&index.kernels)?;
    }
    Ok(index)
}

/// Checks that this is the hash of the embedded kernels, for which launches are planned.
fn same_kernels(given: &str) -> Result<()> {
    let expected = &SM_80.index()?.kernels;
    if given != expected {
        return Err(Error::OtherKernels { expected: expected.clone(), given: given.to_owned() });
    }
    Ok(())
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Error {
        Error::Bundle { reason: damage.to_string() }
    }
}

impl Source {
    /// The text outside of entries.
    pub(super) fn header(self) -> Result<Cow<'static, str>> {
        Ok(Cow::Borrowed(match self {
            Source::Text(text) => &cut(text)?.header,
            Source::Bundle(bundle) => &opened(bundle)?.header,
        }))
    }

    /// Whether libNVVM made the text.
    pub(super) fn is_of_libnvvm(self) -> Result<bool> {
        Ok(match self {
            Source::Text(text) => cut(text)?.is_of_libnvvm,
            Source::Bundle(bundle) => opened(bundle)?.is_of_libnvvm,
        })
    }

    /// The argument of the directive `.version`.
    pub(super) fn version(self) -> Result<Option<Cow<'static, str>>> {
        match self {
            Source::Text(text) => Ok(cut(text)?.version.map(Cow::Borrowed)),
            Source::Bundle(bundle) => {
                let version = Parts::cut(&opened(bundle)?.header).version;
                Ok(version.map(|version| Cow::Owned(version.to_owned())))
            }
        }
    }

    /// The names of the entries, in the order of the text.
    pub(super) fn names(self) -> Result<Vec<Cow<'static, str>>> {
        match self {
            Source::Text(text) => {
                Ok(cut(text)?.entries.iter().map(|(name, _)| Cow::Borrowed(*name)).collect())
            }
            Source::Bundle(bundle) => Ok(opened(bundle)?.names().map(Cow::Borrowed).collect()),
        }
    }

    /// The text of the entry with that name, from `.visible` to the closing brace.
    pub(super) fn entry(self, name: &str) -> Result<Option<Cow<'static, str>>> {
        match self {
            Source::Text(text) => Ok(cut(text)?.entry(name).map(Cow::Borrowed)),
            Source::Bundle(bundle) => {
                opened(bundle)?;
                let Some(frame) = bundle.frame_with(name)? else { return Ok(None) };
                Ok(Parts::cut(&frame).entry(name).map(|text| Cow::Owned(text.to_owned())))
            }
        }
    }

    /// The stored size in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Source::Text(text) => text.len(),
            Source::Bundle(bundle) => bundle.bytes(),
        }
    }
}

/// Without the text, which has megabytes.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Text(text) => write!(f, "{} bytes of text", text.len()),
            Source::Bundle(bundle) => write!(f, "a bundle of {} bytes", bundle.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::bundle::tests::bundle;

    /// A source of these kernels, with one entry.
    fn source(kernels: &str) -> Source {
        let first = format!("// kernels {kernels}\n// frame 1: k\n.version 8.1\n.target sm_90\n");
        let bytes = bundle(&[&first, ".visible .entry k()\n{\n\tret;\n}\n"]);
        Source::Bundle(Box::leak(Box::new(Bundle::new(bytes.leak()))))
    }

    #[test]
    fn kernels_of_another_source_are_refused_whatever_is_asked_of_them() {
        let kernels = SM_80.index().unwrap().kernels.clone();
        assert_eq!(SM_90.index().unwrap().kernels, kernels);
        let these = source(&kernels);
        assert_eq!(these.header().unwrap(), ".version 8.1\n.target sm_90\n");
        assert_eq!(these.version().unwrap().as_deref(), Some("8.1"));
        assert_eq!(these.names().unwrap(), ["k"]);
        assert_eq!(these.entry("k").unwrap().as_deref(), Some(".visible .entry k()\n{\n\tret;\n}"));
        assert_eq!(these.entry("l").unwrap(), None);

        let others = source("5c1e");
        let error = others.header().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("ptx: expected what was made of kernels {kernels}, given what was made of 5c1e")
        );
        assert_eq!(others.version().unwrap_err(), error);
        assert_eq!(others.names().unwrap_err(), error);
        assert_eq!(others.entry("k").unwrap_err(), error);
    }

    /// As `zstd -dc -D` prints a bundle.
    #[test]
    fn a_text_that_names_other_kernels_is_refused() {
        let kernels = SM_80.index().unwrap().kernels.clone();
        let text = |first: &str| {
            let text = format!("{first}.version 8.1\n.target sm_90\n.visible .entry k()\n{{\n\tret;\n}}\n");
            Source::Text(text.leak())
        };
        for first in
            [String::new(), format!("// kernels {kernels}\r\n// frame 1: k\n"), "// by hand\n".to_owned()]
        {
            assert_eq!(text(&first).names().unwrap(), ["k"], "{first}");
        }
        let others = text("// of another release\n// kernels 5c1e\n// frame 1: k\n");
        let error = Error::OtherKernels { expected: kernels, given: "5c1e".to_owned() };
        assert_eq!(others.header().unwrap_err(), error);
        assert_eq!(others.version().unwrap_err(), error);
        assert_eq!(others.names().unwrap_err(), error);
        assert_eq!(others.entry("k").unwrap_err(), error);
    }

    #[test]
    fn a_text_is_refused_that_no_module_can_be_cut_out_of() {
        let error = |text: &str| {
            let text = format!(".version 8.1\n.target sm_90\n{text}").leak();
            Source::Text(text).entry("k").map(|entry| entry.unwrap_or_default()).unwrap_err().to_string()
        };
        let kernel = ".visible .entry k()\n{\n\tret;\n}\n";
        assert_eq!(
            error(&format!("{kernel}{kernel}")),
            "ptx: expected one kernel of each name, given several named k"
        );
        for stray in ["norm.unit.x %rd1;\n", ".func f()\n{\n\tnorm.unit.x %rd1;\n}\n"] {
            for text in [format!("{stray}{kernel}"), format!("{kernel}{stray}")] {
                assert_eq!(
                    error(&text),
                    "ptx: expected pseudo-instructions in templates alone, given 'norm.unit.x' outside of them"
                );
            }
        }
        let commented = format!(".version 8.1\n.target sm_90\n// norm.unit.x\n{kernel}").leak();
        assert!(Source::Text(commented).entry("k").unwrap().is_some());
    }

    #[test]
    fn a_damaged_bundle_is_an_error() {
        let damaged = Source::Bundle(Box::leak(Box::new(Bundle::new(b"no bundle"))));
        let error = damaged.entry("k").unwrap_err();
        assert_eq!(
            error.to_string(),
            "ptx: expected a bundle of kernels as it was made, given one that is damaged: no seek table at the end \
             that covers the 9 bytes"
        );
    }

    /// Also where they are those of other kernels.
    #[cfg(feature = "rust-cuda")]
    #[test]
    fn rust_cudas_bundles_are_whole() {
        use norm_kernels::abi::EntryPoint;

        use crate::ptx::{RUST_CUDA_SM_80, RUST_CUDA_SM_90};

        for bundle in [&RUST_CUDA_SM_80, &RUST_CUDA_SM_90] {
            assert!(bundle.index().unwrap().is_of_libnvvm);
            let names: Vec<&str> = bundle.index().unwrap().names().collect();
            for entry in EntryPoint::all() {
                let (own, template) = (entry.to_string(), entry.template().to_string());
                let name = [own, template].into_iter().find(|name| names.contains(&name.as_str()));
                assert!(name.is_some(), "{entry}");
            }
            let frame = bundle.frame_with(names[0]).unwrap().unwrap();
            assert!(Parts::cut(&frame).entry(names[0]).is_some());
        }
    }
}
