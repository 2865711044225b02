//! One bit a byte.

/// A set of bytes.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// None of that many.
    pub fn new(bytes: u64) -> Bits {
        Bits(vec![0; bytes.div_ceil(64) as usize + 1])
    }

    /// The bits of at most 32 bytes from `from` on.
    pub fn get(&self, from: u64, bytes: u32) -> u64 {
        let (word, shift) = ((from / 64) as usize, from % 64);
        let low = self.0[word] >> shift;
        let high = if shift == 0 { 0 } else { self.0[word + 1] << (64 - shift) };
        (low | high) & low_bits(bytes)
    }

    /// Sets those bits.
    pub fn set(&mut self, from: u64, bytes: u32) {
        let (word, shift) = ((from / 64) as usize, from % 64);
        let mask = low_bits(bytes);
        self.0[word] |= mask << shift;
        if shift != 0 {
            self.0[word + 1] |= mask >> (64 - shift);
        }
    }

    /// Sets a run of any length.
    pub fn set_all(&mut self, from: u64, bytes: u64) {
        let mut at = from;
        while at < from + bytes {
            let step = (from + bytes - at).min(32);
            self.set(at, step as u32);
            at += step;
        }
    }

    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// How many are set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The first that is not set.
    pub fn first_clear(&self) -> u64 {
        let word = self.0.iter().position(|&word| word != u64::MAX).unwrap_or(0);
        word as u64 * 64 + u64::from(self.0[word].trailing_ones())
    }

    /// Runs of set bits below `end`: where each begins, and its length.
    pub fn runs(&self, end: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let from = self.next(at, end, false);
            let to = self.next(from, end, true);
            at = to;
            (from < end).then_some((from, to - from))
        })
    }

    /// The first place from `at` on where a set bit is, or with `clear` one that is not.
    fn next(&self, at: u64, end: u64, clear: bool) -> u64 {
        let mut at = at;
        while at < end {
            let word = self.0[(at / 64) as usize] ^ if clear { u64::MAX } else { 0 };
            let rest = word >> (at % 64);
            if rest != 0 {
                return (at + u64::from(rest.trailing_zeros())).min(end);
            }
            at = (at / 64 + 1) * 64;
        }
        end
    }
}

/// That many ones.
pub fn low_bits(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
