//! Packs texts into bundles, the compressed files in the source tree. `norm-host/src/ptx/bundle.rs` describes and reads them.

use std::io;

use norm_build::text::Text;
use norm_kernels::abi::LIBNVVM_COMMENT;

/// The compression level: higher ones gain less than a thousandth.
const LEVEL: i32 = 19;

/// The beginning of the line with the kernels' hash.
const KERNELS: &str = "// kernels ";

/// The size of a dictionary in bytes. One of twice the size would make the bundles 0.02 MB smaller, and itself larger by as
/// much.
const DICTIONARY_BYTES: usize = 32 << 10;

/// A zstd dictionary, trained on the entries of these texts, for their bundles.
///
/// # Errors
/// zstd's.
pub fn dictionary(texts: [&Text; 2]) -> io::Result<Vec<u8>> {
    let entries: Vec<&String> = texts.into_iter().flat_map(|text| text.entries.values()).collect();
    zstd::dict::from_samples(&entries, DICTIONARY_BYTES)
}

/// The bundle of a text: a zstd frame for each entry, and an index in front that has the hash of the kernels. An empty
/// dictionary means none.
///
/// # Errors
/// zstd's.
pub fn of(kernels: &str, text: &Text, dictionary: &[u8]) -> io::Result<Vec<u8>> {
    let mut index = if text.is_of_libnvvm { format!("{LIBNVVM_COMMENT}\n") } else { String::new() };
    index += &format!("{KERNELS}{kernels}\n");
    for (name, frame) in text.entries.keys().zip(1..) {
        index += &format!("// frame {frame}: {name}\n");
    }
    let first = format!("{index}{}", text.header);
    seal(&first, text.entries.values(), dictionary)
}

/// Compresses texts, each into a frame of its own, and appends the seek table. The first is compressed without the
/// dictionary, because it is read more often than any other.
///
/// # Errors
/// zstd's.
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
    // The flags of the seek table: no checksums, since each frame has its own.
    bytes.push(0);
    bytes.extend(number(0x8f92_eab1));
    Ok(bytes)
}

/// A number of the seek table. Texts and bundles are far smaller than 4 GiB.
fn number(number: usize) -> [u8; 4] {
    (number as u32).to_le_bytes()
}

/// The contents of a bundle.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The hash of the kernels that the text was compiled from.
    pub kernels: String,
    /// The text.
    pub text: Text,
}

/// Unpacks a whole bundle.
///
/// # Errors
/// What is wrong with the bundle, or with its text.
pub fn unpack(bytes: &[u8], dictionary: &[u8]) -> io::Result<Unpacked> {
    let text = io::read_to_string(zstd::Decoder::with_dictionary(bytes, dictionary)?)?;
    let mut comments = text.lines().take_while(|line| line.starts_with("//"));
    let kernels = comments.find_map(|comment| comment.strip_prefix(KERNELS)).unwrap_or_default();
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
        let [Unpacked { mut text, .. }, _] = Set::stock(root).unpack().unwrap();
        for dictionary in [vec![], dictionary([&text; 2]).unwrap()] {
            text.is_of_libnvvm = dictionary.is_empty();
            let bytes = of("5c1e", &text, &dictionary).unwrap();
            let unpacked = unpack(&bytes, &dictionary).unwrap();
            assert_eq!((unpacked.kernels.as_str(), &unpacked.text), ("5c1e", &text));
            let damaged = unpack(&bytes[1..], &dictionary).unwrap_err();
            assert!(!damaged.to_string().is_empty());
        }
    }
}
