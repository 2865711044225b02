//! A loop that is gone after compilation.

/// Calls `f` with 0, 1 … `N - 1`, `N` at most 8.
///
/// Written out, because neither compiler unrolls early enough by itself to keep an array in
/// registers: a `for` over `[T; N]` puts it in local memory from `N = 4` on.
#[inline(always)]
pub fn each<const N: usize>(mut f: impl FnMut(usize)) {
    const { assert!(N <= 8) };
    macro_rules! step {
        ($($index:literal)*) => { $(if $index < N { f($index) })* };
    }
    step!(0 1 2 3 4 5 6 7);
}
