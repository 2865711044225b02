//! Result codes: from a number that the driver returns to one that cust's enum has.

use crate::sys;
use std::cell::Cell;

thread_local! {
    static UNKNOWN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The last code of the driver's that was returned to cust as `CUDA_ERROR_UNKNOWN` on this thread, because cust's enum
/// lacks it. The call clears it.
///
/// Call it right after a function of cust failed with `CudaError::UnknownError`, for the code that the driver returned.
pub fn take_unknown_code() -> Option<u32> {
    UNKNOWN.take()
}

/// The code itself if cust's enum has it. Otherwise `CUDA_ERROR_UNKNOWN`, because an enum with any other number would be
/// undefined behaviour; [`take_unknown_code`] then returns the code.
pub(super) fn fold(code: u32) -> u32 {
    if known(code) {
        return code;
    }
    UNKNOWN.set(Some(code));
    sys::CUDA_ERROR_UNKNOWN
}

/// Whether cust's enum has the code. `sys` declares exactly the codes that it has.
fn known(code: u32) -> bool {
    sys::name_of(code).is_some()
}

/// Asserts, when compiled, that each code has the same number in cust's enum.
macro_rules! check {
    ($($name:ident = $code:literal)*) => {
        $(const _: () = assert!(cust_raw::CUresult::$name as u32 == $code);)*
    };
}

sys::codes! { check! }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes_stay_and_leave_nothing_behind() {
        for code in [0, 2, 911, 999] {
            assert_eq!(fold(code), code);
        }
        assert_eq!(take_unknown_code(), None);
    }

    #[test]
    fn unknown_codes_are_folded_and_kept_once() {
        // CUDA_ERROR_INVALID_CLUSTER_SIZE, of CUDA 12: cust's enum is older.
        assert_eq!(fold(912), sys::CUDA_ERROR_UNKNOWN);
        assert_eq!(take_unknown_code(), Some(912));
        assert_eq!(take_unknown_code(), None);
    }
}
