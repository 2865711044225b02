//! A target's PTX, compressed so that any entry can be unpacked on its own.
//!
//! A bundle is a sequence of zstd frames ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)). All but the first may be
//! compressed with the dictionary of this crate: `zstd -dc -D norm-host/ptx/dictionary` prints the whole text. The first
//! frame holds the text in front of the entries, and above that, in comments, the index: the hash of the kernels, and the
//! entries in each of the other frames.
//!
//! ```text
//! // kernels 5c1e0d7a9b3f
//! // frame 1: rms_b16_b16_b16_warp2
//! // frame 2: rms_b16_b16_b16_warp4
//! .version 8.1
//! .target sm_90
//! ```
//!
//! The positions of the frames are in the seek table of zstd's [seekable
//! format](https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md), a
//! frame that decoders skip, at the end. `cargo xtask ptx write` makes bundles.

use std::sync::OnceLock;

use ruzstd::decoding::{Dictionary, FrameDecoder};

/// The bytes of a bundle. Only the unpacked index is kept in memory: unpacking the longest entry takes 0.17 ms, and the
/// driver then takes 28 ms to compile it.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    bytes: &'a [u8],
    index: OnceLock<Result<Index, Damage>>,
}

/// Why bytes are not a valid bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("no seek table at the end that covers the {bytes} bytes")]
    SeekTable { bytes: usize },
    #[error("frame {frame}: {reason}")]
    Frame { frame: usize, reason: String },
    #[error("an index of {indexed} frames for {frames}")]
    Index { indexed: usize, frames: usize },
}

/// The contents of the first frame.
#[derive(Debug)]
pub(super) struct Index {
    /// The hash of the kernels; empty if the text has none.
    pub(super) kernels: String,
    /// The text in front of the entries: version, target, shared memory.
    pub(super) header: String,
    /// Names of the entries in each frame from the second on.
    frames: Vec<Vec<String>>,
}

impl Index {
    /// The entries' names, in the order of the text.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.frames.iter().flatten().map(String::as_str)
    }
}

/// A frame's position in a bundle, and its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    offset: usize,
    compressed: usize,
    decompressed: usize,
}

/// The zstd dictionary: text that the entries of both targets have in common.
static DICTIONARY: &[u8] = include_bytes!("../../ptx/dictionary");

/// The most bytes of a frame's text. All kernels, specialized to every type, take 18 MB.
const MOST_BYTES: usize = 32 << 20;

impl<'a> Bundle<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Bundle<'a> {
        Bundle { bytes, index: OnceLock::new() }
    }

    /// The compressed size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The index, unpacked on first use.
    pub(super) fn index(&self) -> Result<&Index, Damage> {
        self.index.get_or_init(|| self.unpack_index()).as_ref().map_err(Damage::clone)
    }

    /// The text of the frame that holds the entry with this name, if one does.
    pub(super) fn frame_with(&self, name: &str) -> Result<Option<String>, Damage> {
        let holds = |names: &Vec<String>| names.iter().any(|known| known == name);
        // Frame 0 is the index itself, which it does not list.
        let frame = self.index()?.frames.iter().position(holds).map(|place| place + 1);
        frame.map(|frame| self.unpack(frame)).transpose()
    }

    fn unpack_index(&self) -> Result<Index, Damage> {
        let mut index = Index { kernels: String::new(), header: String::new(), frames: Vec::new() };
        for line in self.unpack(0)?.lines() {
            match line.strip_prefix("// ") {
                None => index.header.extend([line, "\n"]),
                Some(comment) => {
                    if let Some(kernels) = comment.strip_prefix("kernels ") {
                        kernels.clone_into(&mut index.kernels);
                    } else if let Some((_, names)) = comment.split_once(": ") {
                        index.frames.push(names.split(' ').map(str::to_owned).collect());
                    }
                }
            }
        }
        let frames = self.frames()?.len() - 1;
        if index.frames.len() != frames {
            return Err(Damage::Index { indexed: index.frames.len(), frames });
        }
        Ok(index)
    }

    /// The text of a frame.
    fn unpack(&self, frame: usize) -> Result<String, Damage> {
        let damaged = |reason: String| Damage::Frame { frame, reason };
        let place = self.frames()?.get(frame).copied();
        let Frame { offset, compressed, decompressed } =
            place.ok_or_else(|| damaged("there is none".to_owned()))?;
        if decompressed > MOST_BYTES {
            return Err(damaged(format!("{decompressed} bytes of text, where {MOST_BYTES} are the most")));
        }
        let mut text = Vec::with_capacity(decompressed);
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MOST_BYTES as u64);
        // A frame names the dictionary that it was compressed with. The index has none.
        if frame > 0 {
            let dictionary = Dictionary::decode_dict(DICTIONARY);
            let dictionary = dictionary.map_err(|error| damaged(error.to_string()))?;
            decoder.add_dict(dictionary).map_err(|error| damaged(error.to_string()))?;
        }
        let bytes = &self.bytes[offset..offset + compressed];
        decoder.decode_all_to_vec(bytes, &mut text).map_err(|error| damaged(error.to_string()))?;
        // ruzstd leaves the comparison of checksums to its callers.
        let checksum = decoder.get_checksum_from_data();
        if checksum.is_none() || checksum != decoder.get_calculated_checksum() {
            return Err(damaged("another checksum than its text has".to_owned()));
        }
        String::from_utf8(text).map_err(|error| damaged(error.to_string()))
    }

    /// All frames, from the seek table, whose numbers are little-endian.
    fn frames(&self) -> Result<Vec<Frame>, Damage> {
        self.seek_table().ok_or(Damage::SeekTable { bytes: self.bytes.len() })
    }

    /// The seek table is a skippable frame: its magic number and size, then the sizes of each frame, compressed and
    /// not (and, where the descriptor's highest bit is set, a checksum), then the number of frames, the descriptor, and
    /// another magic number.
    fn seek_table(&self) -> Option<Vec<Frame>> {
        let (rest, last_magic) = number_at_end(self.bytes)?;
        let (&descriptor, rest) = rest.split_last()?;
        let (rest, count) = number_at_end(rest)?;
        let entry_size = if descriptor & 0x80 == 0 { 8 } else { 12 };
        let table_size = (count as usize).checked_mul(entry_size)?;
        let (rest, table) = rest.split_at_checked(rest.len().checked_sub(table_size)?)?;
        let (rest, size) = number_at_end(rest)?;
        let (rest, first_magic) = number_at_end(rest)?;
        // Five bits of the descriptor are reserved. The size counts the bytes behind it.
        let is_table = (first_magic, last_magic, descriptor & 0x7c) == (0x184d_2a5e, 0x8f92_eab1, 0)
            && size as usize == table_size + 9;

        let mut offset = 0;
        let mut frames = Vec::new();
        for entry in table.chunks_exact(entry_size) {
            let (&[compressed, decompressed, ..], _) = entry.as_chunks() else { return None };
            let [compressed, decompressed] =
                [compressed, decompressed].map(|size| u32::from_le_bytes(size) as usize);
            frames.push(Frame { offset, compressed, decompressed });
            offset = offset.checked_add(compressed)?;
        }
        // The frames fill the bytes in front of the table exactly, so that all of them lie in the bundle.
        (is_table && offset == rest.len()).then_some(frames)
    }
}

/// The last four bytes as a number, and the bytes in front of them.
fn number_at_end(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (rest, number) = bytes.split_last_chunk()?;
    Some((rest, u32::from_le_bytes(*number)))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const HEADER: &str = ".version 8.1\n.target sm_90\n";
    const A: &str = ".visible .entry a()\n{\n\tret;\n}\n";
    const B_AND_C: &str = ".visible .entry b()\n{\n\tret;\n}\n.visible .entry c()\n{\n\tret;\n}\n";

    /// The index of [`HEADER`], [`A`] and [`B_AND_C`].
    const INDEX: &str = "// kernels 5c1e\n// frame 1: a\n// frame 2: b c\n";

    /// A bundle of these texts, a frame each.
    pub(in crate::ptx) fn bundle(texts: &[&str]) -> Vec<u8> {
        let frame = |text: &&str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
        let frames: Vec<_> = texts.iter().map(frame).collect();
        let sizes: Vec<_> = texts.iter().map(|text| text.len()).collect();
        sealed(&frames, &sizes)
    }

    /// A seek table behind frames, whose texts have these sizes.
    fn sealed(frames: &[Vec<u8>], sizes: &[usize]) -> Vec<u8> {
        let sizes = frames.iter().zip(sizes).flat_map(|(frame, &size)| [frame.len() as u32, size as u32]);
        let table: Vec<u8> = sizes.flat_map(u32::to_le_bytes).collect();
        let mut bytes = frames.concat();
        bytes.extend([0x184d_2a5e, table.len() as u32 + 9].map(u32::to_le_bytes).concat());
        bytes.extend(table);
        bytes.extend((frames.len() as u32).to_le_bytes());
        bytes.push(0);
        bytes.extend(0x8f92_eab1_u32.to_le_bytes());
        bytes
    }

    /// A bundle that is whole.
    fn whole() -> Vec<u8> {
        bundle(&[&format!("{INDEX}{HEADER}"), A, B_AND_C])
    }

    /// Whatever can be asked of these bytes.
    fn read(bytes: Vec<u8>) -> Vec<Result<String, Damage>> {
        let bundle = Bundle::new(&bytes);
        let texts = ["a", "c"].map(|name| bundle.frame_with(name).map(Option::unwrap_or_default));
        let parts: [fn(&Index) -> String; 3] = [
            |index| index.kernels.clone(),
            |index| index.header.clone(),
            |index| index.names().collect::<Vec<_>>().join(" "),
        ];
        parts.map(|part| bundle.index().map(part)).into_iter().chain(texts).collect()
    }

    /// What [`read`] gives of one that is whole.
    fn expected() -> Vec<Result<String, Damage>> {
        ["5c1e", HEADER, "a b c", A, B_AND_C].map(|text| Ok(text.to_owned())).into()
    }

    #[test]
    fn an_entry_is_found_by_its_name() {
        assert_eq!(read(whole()), expected());
        assert_eq!(Bundle::new(&whole()).frame_with("d"), Ok(None));
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let error = |bytes: Vec<u8>| Bundle::new(&bytes).frame_with("a").unwrap_err().to_string();
        let mut cut = whole();
        cut.pop();
        let bytes = cut.len();
        assert_eq!(error(cut), format!("no seek table at the end that covers the {bytes} bytes"));
        assert_eq!(error(bundle(&[])), "frame 0: there is none");
        assert_eq!(error(bundle(&[&format!("{INDEX}{HEADER}"), A])), "an index of 2 frames for 1");
        let mut flipped = whole();
        let place = flipped.windows(A.len()).position(|bytes| bytes == A.as_bytes());
        flipped[place.expect("so short a text is stored as it is")] ^= 1;
        assert_eq!(error(flipped), "frame 1: another checksum than its text has");
    }

    #[test]
    fn a_frame_that_claims_too_much_is_not_unpacked() {
        let frame = compress_to_vec(A.as_bytes(), CompressionLevel::Fastest);
        let error = Bundle::new(&sealed(&[frame], &[MOST_BYTES + 1])).index().unwrap_err().to_string();
        assert_eq!(error, "frame 0: 33554433 bytes of text, where 33554432 are the most");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_a_damaged_bundle_gives_is_what_was_written(place: prop::sample::Index, bit in 0..8_u32) {
            let mut bytes = whole();
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            for (given, expected) in read(bytes).into_iter().zip(expected()) {
                prop_assert!(given.is_err() || given == expected, "{given:?}");
            }
        }

        /// The same of what is embedded, whose frames are compressed in all ways there are.
        #[test]
        fn what_damage_leaves_of_an_embedded_bundle_is_as_it_was(place: prop::sample::Index, bit in 0..8_u32) {
            let whole = &crate::ptx::SM_80;
            let mut bytes = whole.bytes.to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            let damaged = Bundle::new(&bytes);
            for name in whole.index().unwrap().names() {
                let given = damaged.frame_with(name);
                prop_assert!(given.is_err() || given == whole.frame_with(name), "{name}: {given:?}");
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            read(bytes);
        }

        /// As the last, behind a seek table that lets the decoder see them.
        #[test]
        fn any_frames_are_read_or_refused(frames: Vec<Vec<u8>>, index: bool) {
            let mut frames = frames;
            if index {
                let names: String = (1..=frames.len()).map(|n| format!("// frame {n}: a\n")).collect();
                frames.insert(0, compress_to_vec(names.as_bytes(), CompressionLevel::Fastest));
            }
            // zstd's magic number, without which the decoder looks no further.
            frames.iter_mut().for_each(|frame| {
                frame.splice(..4.min(frame.len()), 0xfd2f_b528_u32.to_le_bytes());
            });
            let sizes = vec![1 << 16; frames.len()];
            read(sealed(&frames, &sizes));
        }
    }
}
