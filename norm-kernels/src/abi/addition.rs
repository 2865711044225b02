//! How a kernel adds a residual.

use super::DType;

/// How a kernel adds a residual to `x`, or to the norm: as a plain sum of two tensors of one type, or otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addition {
    /// Whether the residual in front of the norm, and the sum, are f32 beside `x` and `y` of 16 bits.
    pub wide: bool,
    /// Whether what is added to the residual, or the sum, is multiplied by a factor.
    pub scaled: bool,
}

impl Addition {
    /// The plain sum; also that of kernels that add no residual.
    pub const PLAIN: Addition = Addition { wide: false, scaled: false };

    /// Every one, in the order of [`index`](Addition::index).
    pub const ALL: [Addition; 4] = [
        Addition::PLAIN,
        Addition { wide: true, scaled: false },
        Addition { wide: false, scaled: true },
        Addition { wide: true, scaled: true },
    ];

    /// Its index in [`ALL`](Addition::ALL).
    pub const fn index(self) -> usize {
        self.wide as usize + 2 * self.scaled as usize
    }

    /// Whether a residual in f32 can stand beside `x` and `y` of these types.
    pub const fn is_wide_beside(x: DType, y: DType) -> bool {
        x.size() == 2 && y.size() == 2
    }
}

/// Its suffix in a kernel's name: none for the plain sum, else `_r32`, `_scaled` or both.
impl core::fmt::Display for Addition {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if self.wide { "_r32" } else { "" })?;
        f.write_str(if self.scaled { "_scaled" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_are_numbered_in_order() {
        for (index, addition) in Addition::ALL.into_iter().enumerate() {
            assert_eq!(addition.index(), index);
        }
    }
}
