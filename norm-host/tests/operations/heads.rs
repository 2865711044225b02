//! Weights and biases that all heads share have the bits of those that are repeated for each head.

mod misuse;
mod qk_rope;

use norm_host::{Backend, Cpu};
use norm_testing::config;
use norm_testing::{
    buffer::Buffer,
    case::{Addition, Case, Residual, Tensors, case},
};
use proptest::prelude::*;

/// Heads of up to four axes that share weights, biases or both; what is not shared has any stride.
fn heads_that_share(max_dim: usize) -> impl Strategy<Value = Case> {
    let shared = prop_oneof![Just([true, true]), Just([true, false]), Just([false, true])];
    (case(max_dim), shared).prop_map(|(case, shared)| {
        let front = if case.front.is_empty() { vec![3] } else { case.front.clone() };
        let (residual, addition) = (Residual::None, Addition::PLAIN);
        Case { heads: true, residual, addition, front, shared, ..case }
    })
}

/// The same with a copy for each head of what they share.
fn repeated(case: &Case, tensors: &Tensors) -> (Case, Tensors) {
    let (heads, dim, gap) = (case.front[case.front.len() - 1], case.dim, case.param_gap);
    let repeat = |param: &Option<Buffer>, shared: bool| {
        let copies = |param: &Buffer| {
            let one = (0..dim + gap).map(|i| if i < dim { param.get(i) } else { f64::NAN });
            Buffer::new(param.dtype(), &vec![one.collect::<Vec<f64>>(); heads].concat())
        };
        if shared { param.as_ref().map(copies) } else { param.clone() }
    };
    let w = repeat(&tensors.w, case.shared[0]);
    let b = repeat(&tensors.b, case.shared[1]);
    (Case { shared: [false; 2], ..case.clone() }, Tensors { w, b, ..tensors.clone() })
}

fn bits_are_the_same(case: &Case, on: &impl Backend) -> Result<(), TestCaseError> {
    let mut tensors = case.tensors();
    let (repeated, mut copies) = repeated(case, &tensors);
    case.run(&mut tensors, on).unwrap();
    repeated.run(&mut copies, on).unwrap();
    prop_assert_eq!(tensors.y.bits(), copies.y.bits());
    Ok(())
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn shared_parameters_have_the_bits_of_repeated_ones(case in heads_that_share(1500)) {
        bits_are_the_same(&case, &Cpu)?;
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use norm_host::Simulator;

    use super::*;

    proptest! {
        #![proptest_config(config(100))]

        #[test]
        fn shared_parameters_have_the_bits_of_repeated_ones(case in heads_that_share(300)) {
            bits_are_the_same(&case, &Simulator::new())?;
        }
    }
}
