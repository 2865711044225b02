//! What is checked in of a text: a bundle, which `norm-host/src/ptx/bundle.rs` describes and reads.

use std::io;

use crate::text::Text;

/// Higher levels gain less than a thousandth.
const LEVEL: i32 = 19;

/// What stands in front of the kernels' hash, in the first line.
const KERNELS: &str = "// kernels ";

/// Bytes of a dictionary: twice as many make bundles 0.02 MB smaller, and take as much themselves.
const DICTIONARY_BYTES: usize = 32 << 10;

/// What the entries of these texts have in common, as a dictionary for their bundles.
///
/// # Errors
/// Whatever keeps zstd from finding it.
pub fn dictionary(texts: [&Text; 2]) -> io::Result<Vec<u8>> {
    let entries: Vec<&String> = texts.into_iter().flat_map(|text| text.entries.values()).collect();
    zstd::dict::from_samples(&entries, DICTIONARY_BYTES)
}

/// The bundle of a text, a frame an entry, whose index says of which kernels it is. An empty dictionary is none.
///
/// # Errors
/// Whatever keeps zstd from compressing.
pub fn of(kernels: &str, text: &Text, dictionary: &[u8]) -> io::Result<Vec<u8>> {
    let mut index = format!("{KERNELS}{kernels}\n");
    for (name, frame) in text.entries.keys().zip(1..) {
        index += &format!("// frame {frame}: {name}\n");
    }
    let first = format!("{index}{}", text.header);
    seal(&first, text.entries.values(), dictionary)
}

/// Texts, a frame each, and the seek table behind them. The first is packed without the dictionary: it is unpacked more
/// often than any other.
///
/// # Errors
/// Whatever keeps zstd from compressing.
pub fn seal<'a>(
    first: &String,
    texts: impl IntoIterator<Item = &'a String>,
    dictionary: &[u8],
) -> io::Result<Vec<u8>> {
    let compressor = |dictionary: &[u8]| {
        let mut compressor = zstd::bulk::Compressor::with_dictionary(LEVEL, dictionary)?;
        compressor.include_checksum(true)?;
        io::Result::Ok(compressor)
    };
    let (mut plain, mut compressor) = (compressor(&[])?, compressor(dictionary)?);
    let mut frames = vec![(plain.compress(first.as_bytes())?, first.len())];
    for text in texts {
        frames.push((compressor.compress(text.as_bytes())?, text.len()));
    }
    let (mut bytes, mut table) = (Vec::new(), Vec::new());
    for (frame, length) in frames {
        table.extend([frame.len(), length].map(number).concat());
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
pub fn unpack(bytes: &[u8], dictionary: &[u8]) -> io::Result<Unpacked> {
    let text = io::read_to_string(zstd::Decoder::with_dictionary(bytes, dictionary)?)?;
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
        for dictionary in [vec![], dictionary([&text; 2]).unwrap()] {
            let bytes = of("5c1e", &text, &dictionary).unwrap();
            let unpacked = unpack(&bytes, &dictionary).unwrap();
            assert_eq!((unpacked.kernels.as_str(), &unpacked.text), ("5c1e", &text));
            let damaged = unpack(&bytes[1..], &dictionary).unwrap_err();
            assert!(!damaged.to_string().is_empty());
        }
    }
}
