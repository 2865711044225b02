//! Two norms with a residual between them give the bits of two operations, and keep the promises of both.

use norm_host::{Backend, Cpu};
use norm_testing::{
    config,
    sandwich::{Sandwich, sandwich},
    values::Values,
};
use proptest::prelude::*;

/// One call and two, on the same tensors.
fn check(case: &Sandwich, on: &impl Backend) -> Result<(), TestCaseError> {
    let before = case.tensors();
    let (mut fused, mut apart) = (before.clone(), before.clone());
    case.run(&mut fused, on).unwrap();
    case.run_apart(&mut apart, on).unwrap();
    prop_assert_eq!(Sandwich::bits(&fused), Sandwich::bits(&apart));
    let tiny = |values| matches!(values, Values::Zero | Values::Subnormal | Values::Constant);
    for row in 0..case.first.rows() {
        for judged in case.judge(&before, &fused, row) {
            prop_assert!(judged.is_kept(), "row {row}: {judged:?}");
            prop_assert!(judged.promised || tiny(case.first.values), "row {row}: {judged:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn any_sandwich_is_two_operations(case in sandwich(3000)) {
        check(&case, &Cpu)?;
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use norm_host::{Simulator, plan::DeviceProfile};

    use super::*;

    proptest! {
        #![proptest_config(config(150))]

        #[test]
        fn any_sandwich_is_two_operations_as_shipped(case in sandwich(6000)) {
            check(&case, &Simulator::new())?;
            check(&case, &Simulator::with_profile(DeviceProfile::of_capability((8, 0))))?;
        }
    }
}
