//! Random straight-line programs: every thread's results depend on its inputs alone.

use norm_testing::program;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// One thread a block runs with 31 idle lanes beside it, 32 run in step: lanes, masks and
    /// predicates must not mix them up.
    #[test]
    fn threads_do_not_depend_on_their_neighbours(
        program in program::programs(),
        inputs in prop::collection::vec(program::inputs(), 64),
    ) {
        let text = program::module(&program);
        let together = program::simulate(&text, &inputs, 64);
        prop_assert_eq!(&together, &program::simulate(&text, &inputs, 1));
        // The same programs in the other order of threads.
        let reversed: Vec<_> = inputs.iter().rev().copied().collect();
        let turned = program::simulate(&text, &reversed, 32);
        let turned: Vec<u32> = turned.rchunks_exact(program::OUTPUTS).flatten().copied().collect();
        prop_assert_eq!(together, turned);
    }
}
