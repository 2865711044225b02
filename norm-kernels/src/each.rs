//! Loops over the elements of a vector, unrolled in the source.

/// Calls `f` with 0, 1 … `N - 1`, `N` at most 8.
///
/// Unrolled by hand, because neither compiler unrolls a `for` over `[T; N]` early enough to keep the array in registers:
/// from `N = 4` on it would be in local memory.
#[inline(always)]
pub fn each<const N: usize>(mut f: impl FnMut(usize)) {
    const { assert!(N <= 8) };
    macro_rules! step {
        ($($index:literal)*) => { $(if $index < N { f($index) })* };
    }
    step!(0 1 2 3 4 5 6 7);
}

/// `N` values, 4 or 8, of which `f` makes each pair of neighbours, given the index of the first: 0, 2 …
#[inline(always)]
pub fn map_pairs<const N: usize>(mut f: impl FnMut(usize) -> [f32; 2]) -> [f32; N] {
    const { assert!(N.is_multiple_of(2)) };
    let mut values = [0.0; N];
    each::<4>(|pair| {
        let i = 2 * pair;
        if i < N {
            [values[i], values[i + 1]] = f(i);
        }
    });
    values
}
