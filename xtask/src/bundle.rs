//! What is checked in of a text: a bundle, which `norm-host/src/ptx/bundle.rs` describes and reads.

use std::io;

use crate::text::Text;

/// Higher levels gain less than a thousandth.
const LEVEL: i32 = 19;

/// What stands in front of the kernels' hash, in the first line.
const KERNELS: &str = "// kernels ";

/// The bundle of a text, a frame an entry, whose index says of which kernels it is.
///
/// # Errors
/// Whatever keeps zstd from compressing.
pub fn of(kernels: &str, text: &Text) -> io::Result<Vec<u8>> {
    let mut index = format!("{KERNELS}{kernels}\n");
    for (name, frame) in text.entries.keys().zip(1..) {
        index += &format!("// frame {frame}: {name}\n");
    }
    let first = format!("{index}{}", text.header);
    seal([&first].into_iter().chain(text.entries.values()))
}

/// Texts, a frame each, and the seek table behind them.
///
/// # Errors
/// Whatever keeps zstd from compressing.
pub fn seal<'a>(texts: impl IntoIterator<Item = &'a String>) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    let (mut bytes, mut table) = (Vec::new(), Vec::new());
    for text in texts {
        let frame = compressor.compress(text.as_bytes())?;
        table.extend([frame.len(), text.len()].map(number).concat());
        bytes.extend(frame);
    }
    let frames = table.len() / 8;
    bytes.extend([0x184d_2a5e, table.len() + 9].map(number).concat());
    bytes.extend(table);
    bytes.extend(number(frames));
    // Of no entry a checksum, which frames have themselves.
    bytes.push(0);
    bytes.extend(number(0x8f92_eab1));
    Ok(bytes)
}

/// Texts and bundles are far from 4 GiB.
fn number(number: usize) -> [u8; 4] {
    (number as u32).to_le_bytes()
}

/// What a bundle holds.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The hash of the kernels of which its text is.
    pub kernels: String,
    /// The text.
    pub text: Text,
}

/// Unpacks the whole of a bundle.
///
/// # Errors
/// What is wrong with it, or with its text.
pub fn unpack(bytes: &[u8]) -> io::Result<Unpacked> {
    let text = String::from_utf8(zstd::decode_all(bytes)?).map_err(io::Error::other)?;
    let kernels = text.lines().next().and_then(|line| line.strip_prefix(KERNELS)).unwrap_or_default();
    Ok(Unpacked { kernels: kernels.to_owned(), text: Text::of(&text).map_err(io::Error::other)? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::set::Set;

    #[test]
    fn a_bundle_is_zstd_that_unpacks_to_its_text() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let [Unpacked { text, .. }, _] = Set::stock(root).unpack().unwrap();
        let bytes = of("5c1e", &text).unwrap();
        let unpacked = unpack(&bytes).unwrap();
        assert_eq!((unpacked.kernels.as_str(), &unpacked.text), ("5c1e", &text));
        let damaged = unpack(&bytes[1..]).unwrap_err();
        assert!(!damaged.to_string().is_empty());
    }
}
