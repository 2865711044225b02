//! The sectors and the bank conflicts of a warp's addresses.

use crate::kernel::file::{Mask, WARP};

/// Distinct sectors that accesses of `bytes` bytes touch, those of each lane in `active`.
/// An aligned access of at most 32 bytes touches one.
pub fn sectors(addresses: &[u64; WARP], active: Mask) -> u64 {
    let mut found = [0; WARP];
    let mut count = 0;
    let mut sorted = true;
    for (lane, address) in addresses.iter().enumerate() {
        if active >> lane & 1 == 1 {
            let sector = address / super::SECTOR;
            if count == 0 || found[count - 1] != sector {
                sorted &= count == 0 || found[count - 1] < sector;
                found[count] = sector;
                count += 1;
            }
        }
    }
    if sorted {
        return count as u64;
    }
    found[..count].sort_unstable();
    1 + found[..count].windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
}

/// Bank conflicts: passes beyond the fewest possible. Shared memory has 32 banks of 4 bytes; lanes that access the same word
/// share a pass, lanes that access different words of one bank take one each. Accesses of 8
/// bytes are served half a warp at a time, those of 16 bytes a quarter.
pub fn conflicts(addresses: &[u64; WARP], active: Mask, bytes: u32) -> u64 {
    let words = bytes.div_ceil(4).clamp(1, 4) as usize;
    let group = WARP / words.next_power_of_two();
    let mut extra = 0;
    for first in (0..WARP).step_by(group) {
        let mut wanted = [u64::MAX; WARP];
        let mut count = 0;
        for (lane, address) in addresses.iter().enumerate().skip(first).take(group) {
            for word in 0..words as u64 {
                if active >> lane & 1 == 1 {
                    let word = address / 4 + word;
                    if !wanted[..count].contains(&word) {
                        wanted[count] = word;
                        count += 1;
                    }
                }
            }
        }
        let mut banks = [0u64; 32];
        wanted[..count].iter().for_each(|word| banks[(word % 32) as usize] += 1);
        extra += banks.into_iter().max().unwrap_or(0).saturating_sub(1);
    }
    extra
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strided(stride: u64) -> [u64; WARP] {
        std::array::from_fn(|lane| lane as u64 * stride)
    }

    #[test]
    fn neighbours_share_sectors() {
        assert_eq!(sectors(&strided(16), Mask::MAX), 16);
        assert_eq!(sectors(&strided(4), Mask::MAX), 4);
        assert_eq!(sectors(&strided(128), Mask::MAX), 32);
        assert_eq!(sectors(&strided(0), Mask::MAX), 1);
        let mut backwards = strided(4);
        backwards.reverse();
        assert_eq!(sectors(&backwards, Mask::MAX), 4);
        assert_eq!(sectors(&strided(128), 1 << 7), 1);
    }

    #[test]
    fn lanes_conflict_on_different_words_of_a_bank() {
        assert_eq!(conflicts(&strided(4), Mask::MAX, 4), 0);
        assert_eq!(conflicts(&strided(0), Mask::MAX, 16), 0);
        assert_eq!(conflicts(&strided(128), Mask::MAX, 4), 31);
        assert_eq!(conflicts(&strided(8), Mask::MAX, 4), 1);
        assert_eq!(conflicts(&strided(16), Mask::MAX, 16), 0);
        assert_eq!(conflicts(&strided(8), Mask::MAX, 8), 0);
    }
}
