//! Division by a number that is known before the launch.

/// A divisor of numbers below 2³¹, as a multiplication and a shift (Granlund and Montgomery 1994,
/// "Division by Invariant Integers using Multiplication"): a tenth of the instructions of a
/// division, which every thread would execute.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisor {
    divisor: u32,
    multiplier: u32,
    shift: u32,
}

impl Divisor {
    /// A divisor from 1 to 2³¹.
    pub const fn new(divisor: u32) -> Divisor {
        // The least power of two that is no less than the divisor.
        let bits = divisor.next_power_of_two().trailing_zeros();
        let multiplier = (1u64 << (31 + bits)).div_ceil(divisor as u64);
        Divisor { divisor, multiplier: multiplier as u32, shift: 31 + bits }
    }

    /// The divisor, the multiplier and the shift, in the order of memory.
    pub const fn words(self) -> [u32; 3] {
        [self.divisor, self.multiplier, self.shift]
    }

    /// Quotient and remainder of a number below 2³¹.
    #[inline(always)]
    pub const fn divide(self, number: u32) -> (u32, u32) {
        let quotient = ((number as u64 * self.multiplier as u64) >> self.shift) as u32;
        (quotient, number - quotient * self.divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::Divisor;

    #[test]
    fn divides_as_the_operator_does() {
        const LARGEST: u32 = (1 << 31) - 1;
        let edges = |around: u32| [around.saturating_sub(1), around, around.saturating_add(1)];
        let divisors = (1..=100).chain((0..=30).flat_map(|bit| edges(1 << bit))).chain([LARGEST, 1 << 31]);
        for divisor in divisors.filter(|&divisor| divisor > 0) {
            let near = (0..40).flat_map(|times| edges(divisor.saturating_mul(times)));
            let last = LARGEST / divisor * divisor;
            for number in near.chain(edges(last)).chain([0, LARGEST]).filter(|&number| number <= LARGEST) {
                let expected = (number / divisor, number % divisor);
                assert_eq!(Divisor::new(divisor).divide(number), expected, "{number} / {divisor}");
            }
        }
    }
}
