//! Norm and rotation of heads keep their promise, in place and out of place with the same bits.

use norm_host::{Backend, Cpu};
use norm_testing::{
    buffer::Buffer,
    config,
    qk_rope::{Layout, QkRope, qk_rope},
    values::Values,
};
use proptest::prelude::*;

/// One call in place, and one out of place.
fn check(case: &QkRope, on: &impl Backend) -> Result<(), TestCaseError> {
    let before = case.tensors();
    let mut after = before.clone();
    case.run(&mut after, on).unwrap();
    let tiny = matches!(case.values, Values::Zero | Values::Subnormal | Values::Constant);
    for ([part, token, head], judged) in case.judge(&before, &after.x) {
        prop_assert!(judged.is_kept(), "part {part}, token {token}, head {head}: {judged:?}");
        prop_assert!(judged.promised || tiny, "part {part}, token {token}, head {head}: {judged:?}");
    }
    // What lies between heads is as it was, and so is everything else.
    let touched = |x: &[Buffer]| -> Vec<Vec<u32>> { x.iter().map(Buffer::bits).collect() };
    let mut expected = before.x.clone();
    case.copy_heads(&after.x, &mut expected);
    prop_assert_eq!(touched(&after.x), touched(&expected));
    let out = case.run_to(&before, on).unwrap();
    let dense = QkRope { layout: Layout::Apart([0, 0]), at: 0, ..case.clone() };
    for ((at, in_place), (_, apart)) in case.heads_of(&after.x).zip(dense.heads_of(&out)) {
        let bits = |values: &[f64]| Buffer::new(case.dtype, values).bits();
        prop_assert_eq!(bits(&in_place), bits(&apart), "{:?}", at);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn any_heads_keep_the_promise(case in qk_rope(160)) {
        check(&case, &Cpu)?;
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use norm_host::{DType, Pairing, Simulator, plan::DeviceProfile};
    use norm_testing::qk_rope::Rotation;

    use super::*;

    proptest! {
        #![proptest_config(config(150))]

        #[test]
        fn any_heads_keep_the_promise_as_shipped(case in qk_rope(512)) {
            check(&case, &Simulator::new())?;
            check(&case, &Simulator::with_profile(DeviceProfile::of_capability((8, 0))))?;
            // Threads go through as many heads as there may be, as they do in long grids.
            check(&case, &Simulator::with_profile(DeviceProfile { short_grid: 0, ..DeviceProfile::LEAST }))?;
            // A block has all heads of a token, where these are few enough.
            let few = DeviceProfile { short_grid: 8, ..DeviceProfile::of_capability((9, 0)) };
            check(&case, &Simulator::with_profile(few))?;
        }
    }

    /// Where a head lies, in vectors or element by element, and how many heads a thread goes through, changes no bit.
    #[test]
    fn bits_do_not_depend_on_the_kernels_access() {
        for (dtype, dim, pairing, pairs) in [
            (DType::F16, 128, Pairing::Halves, 64),
            (DType::BF16, 96, Pairing::Halves, 16),
            (DType::BF16, 128, Pairing::Neighbours, 64),
            (DType::F16, 80, Pairing::Neighbours, 16),
            (DType::F32, 512, Pairing::Halves, 256),
            (DType::F32, 64, Pairing::Neighbours, 8),
        ] {
            let plain = QkRope::plain(dtype, dim, pairing);
            let rotation = plain.rotation.map(|rotation| Rotation { pairs, ..rotation });
            let aligned = QkRope { rotation, ..plain };
            let odd = QkRope { at: 1, ..aligned.clone() };
            let long = DeviceProfile { short_grid: 0, ..DeviceProfile::LEAST };
            let run = |case: &QkRope, on: Simulator| {
                let mut tensors = case.tensors();
                case.run(&mut tensors, &on).unwrap();
                let heads: Vec<_> = case.heads_of(&tensors.x).map(|(_, head)| head).collect();
                (heads, on.counts().unwrap().global["q"].loads.bytes_an_access())
            };
            let ((vectors, width), (scalars, narrow)) =
                (run(&aligned, Simulator::new()), run(&odd, Simulator::new()));
            let (grouped, _) = run(&aligned, Simulator::with_profile(long));
            assert_eq!((width, narrow), (16.0, dtype.size() as f64), "{dtype} {dim}");
            assert_eq!(vectors, scalars, "{dtype} {dim}");
            assert_eq!(vectors, grouped, "{dtype} {dim}");
        }
    }
}
