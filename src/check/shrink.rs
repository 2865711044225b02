//! Shrinks a failing case to the smallest that still fails.

use std::time::{Duration, Instant};

use norm_host::{DType, Rounding};

use super::case::{
    AdditionOptions, CheckCase, MAX_LEADING, ParamPlacement, Placement, ResidualForm, ValuePattern,
};

/// Attempts after which shrinking stops with the smallest case so far.
const MAX_ATTEMPTS: usize = 2000;
/// Time after which it stops: on the simulator one attempt may take a second.
const MAX_TIME: Duration = Duration::from_secs(30);

/// Simplifies `case` step by step, keeping each step after which `fails` is still true.
pub fn shrink(case: &CheckCase, fails: impl FnMut(&CheckCase) -> bool) -> CheckCase {
    shrink_by(case, simpler, fails)
}

/// The same for a case of any kind, of which `simpler` makes those that are one step simpler.
pub fn shrink_by<C: Clone>(case: &C, simpler: impl Fn(&C) -> Vec<C>, fails: impl FnMut(&C) -> bool) -> C {
    shrink_within(case, MAX_TIME, simpler, fails)
}

fn shrink_within<C: Clone>(
    case: &C,
    time: Duration,
    simpler: impl Fn(&C) -> Vec<C>,
    mut fails: impl FnMut(&C) -> bool,
) -> C {
    let start = Instant::now();
    let mut smallest = case.clone();
    let mut attempts = 0;
    'smaller: loop {
        for candidate in simpler(&smallest) {
            attempts += 1;
            if attempts > MAX_ATTEMPTS || start.elapsed() >= time {
                return smallest;
            }
            if fails(&candidate) {
                smallest = candidate;
                continue 'smaller;
            }
        }
        return smallest;
    }
}

/// Cases that are one step simpler than `case`, the longest steps first.
pub fn simpler(case: &CheckCase) -> Vec<CheckCase> {
    let mut steps: Vec<CheckCase> = Vec::new();
    let mut step = |change: &dyn Fn(&mut CheckCase)| {
        let mut candidate = case.clone();
        change(&mut candidate);
        let rows = candidate.rows();
        // A shard has at least one element.
        candidate.shards = candidate.shards.min(candidate.dim());
        candidate.alone = candidate.alone.filter(|_| rows > 0).map(|row| row.min(rows - 1));
        // Rows of whole blocks, and types of 16 bits.
        let is_possible = candidate.quantize.is_none_or(|it| it.invalid_reason(&candidate).is_none());
        if candidate != *case && is_possible {
            steps.push(candidate);
        }
    };

    step(&|case| case.alone = None);
    step(&|case| case.in_place = false);
    step(&|case| (case.residual, case.addition) = (ResidualForm::None, AdditionOptions::PLAIN));
    step(&|case| {
        if let ResidualForm::Sandwich { .. } = case.residual {
            case.residual = ResidualForm::PostNorm;
        }
    });
    step(&|case| case.addition = AdditionOptions::PLAIN);
    step(&|case| case.gate = None);
    step(&|case| case.addition.separate = None);
    step(&|case| case.addition.wide = false);
    step(&|case| case.addition.scale_in_memory = false);
    step(&|case| case.addition.branch_scale = 1.0);
    step(&|case| case.addition.sum_scale = 1.0);
    step(&|case| {
        if let ResidualForm::Sandwich { next, .. } = &mut case.residual {
            next.w = None;
        }
    });
    step(&|case| case.shards = 1);
    step(&|case| case.quantize = None);
    step(&|case| {
        if let Some(quantized) = &mut case.quantize {
            (quantized.bound, quantized.columns, quantized.copies) = (None, false, false);
        }
    });
    step(&|case| {
        if let Some(quantized) = &mut case.quantize {
            quantized.copies = false;
        }
    });
    step(&|case| {
        if let Some(quantized) = &mut case.quantize {
            quantized.columns = false;
        }
    });
    step(&|case| {
        if let Some(quantized) = &mut case.quantize {
            (quantized.bound, quantized.bound_in_memory) = (None, false);
        }
    });
    // Removes the outermost axis with its gaps, but not the axis of heads.
    if case.shape.len() > if case.heads { 2 } else { 1 } {
        step(&|case| {
            case.shape.remove(0);
            let mut all = vec![&mut case.x.gaps, &mut case.y.gaps];
            match &mut case.residual {
                ResidualForm::PreNorm { gaps, .. }
                | ResidualForm::Sandwich { r: Placement { gaps, .. }, .. } => {
                    all.push(gaps);
                }
                ResidualForm::None | ResidualForm::PostNorm => {}
            }
            all.extend(case.addition.separate.as_mut().map(|(gaps, _)| gaps));
            all.extend(case.gate.as_mut().map(|gate| &mut gate.g.gaps));
            for gaps in all {
                gaps.rotate_left(1);
                gaps[MAX_LEADING - 1] = 0;
            }
        });
    }
    for axis in 0..case.shape.len() {
        let extent = case.shape[axis];
        for smaller in [1, extent / 2, extent - extent / 8, extent.saturating_sub(1)] {
            if 0 < smaller && smaller < extent {
                step(&|case| case.shape[axis] = smaller);
            }
        }
    }
    step(&|case| case.rounding = Rounding::Single);
    step(&|case| case.b = None);
    // Without weights there can be no weight offset, and no T5 order, which rounds to the dtype of the weights.
    step(&|case| {
        (case.w, case.weight_offset, case.round_offset) = (None, 0.0, false);
        if case.rounding == Rounding::T5 {
            case.rounding = Rounding::Single;
        }
    });
    step(&|case| case.round_offset = false);
    step(&|case| (case.weight_offset, case.round_offset) = (0.0, false));
    step(&|case| (case.x.gaps, case.y.gaps) = ([0; MAX_LEADING], [0; MAX_LEADING]));
    step(&|case| case.x.gaps = [0; MAX_LEADING]);
    step(&|case| case.y.gaps = [0; MAX_LEADING]);
    step(&|case| match &mut case.residual {
        ResidualForm::PreNorm { gaps, .. } | ResidualForm::Sandwich { r: Placement { gaps, .. }, .. } => {
            *gaps = [0; MAX_LEADING];
        }
        ResidualForm::None | ResidualForm::PostNorm => {}
    });
    step(&|case| match &mut case.residual {
        ResidualForm::PreNorm { at, .. } | ResidualForm::Sandwich { r: Placement { at, .. }, .. } => *at = 0,
        ResidualForm::None | ResidualForm::PostNorm => {}
    });
    step(&|case| {
        if let Some(gate) = &mut case.gate {
            (gate.g.gaps, gate.g.at) = ([0; MAX_LEADING], 0);
        }
    });
    step(&|case| case.addition.separate = case.addition.separate.map(|_| ([0; MAX_LEADING], 0)));
    step(&|case| case.x.at = 0);
    step(&|case| case.y.at = 0);
    step(&|case| {
        for param in [&mut case.w, &mut case.b].into_iter().flatten() {
            (param.gap, param.at) = (0, 0);
        }
    });
    step(&|case| {
        for param in [&mut case.w, &mut case.b].into_iter().flatten() {
            param.shared = false;
        }
    });
    if case.data != ValuePattern::Normal {
        step(&|case| case.data = ValuePattern::Normal);
    }
    step(&|case| case.eps = 1e-6);
    step(&|case| case.seed = 0);
    // f32 is the simplest dtype: with it, only the arithmetic rounds.
    step(&|case| {
        (case.x.dtype, case.y.dtype, case.addition.wide) = (DType::F32, DType::F32, false);
        if let Some(gate) = &mut case.gate {
            gate.g.dtype = DType::F32;
            case.w = case.w.map(|w| ParamPlacement { dtype: DType::F32, ..w });
        }
        if let ResidualForm::Sandwich { r, .. } = &mut case.residual {
            r.dtype = DType::F32;
        }
    });
    step(&|case| {
        for param in [&mut case.w, &mut case.b].into_iter().flatten() {
            param.dtype = DType::F32;
        }
    });
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_the_failure_does_not_need() {
        let text = "op=layer over=heads shape=3x5x7x200 x=f16 y=f16 w=bf16 b=bf16 eps=1e-12 offset=1 \
                    xgap=1,2,3 ygap=8,8,8 wgap=3 bgap=3 at=1,2,3,4 data=wide seed=99 inplace alone=100";
        let case: CheckCase = text.parse().unwrap();
        let smallest = shrink(&case, |case| case.dim() > 64 && case.y.at == 2);
        assert_eq!(
            smallest.to_string(),
            "op=layer over=heads shape=1x65 x=f32 y=f32 eps=1e-6 at=0,2,0,0 data=normal seed=0"
        );
        assert_eq!(smallest.to_string().parse(), Ok(smallest));
    }

    #[test]
    fn a_residual_goes_unless_the_failure_needs_it() {
        let text = "op=rms over=rows shape=3x5x200 x=f16 y=f16 w=bf16 eps=1e-12 residual=before \
                    rgap=1,2,0 at=1,2,3,4,5 data=wide seed=99 inplace alone=7";
        let case: CheckCase = text.parse().unwrap();
        let smallest = shrink(&case, |case| matches!(case.residual, ResidualForm::PreNorm { at: 5, .. }));
        assert_eq!(
            smallest.to_string(),
            "op=rms over=rows shape=1 x=f32 y=f32 eps=1e-6 residual=before at=0,0,0,0,5 data=normal seed=0"
        );
        assert_eq!(smallest.to_string().parse(), Ok(smallest));
        let smallest = shrink(&case, |_| true);
        assert_eq!(smallest.residual, ResidualForm::None);
    }

    #[test]
    fn what_a_residual_is_given_goes_unless_the_failure_needs_it() {
        let text = "op=rms over=rows shape=3x5x200 x=f16 y=f16 w=bf16 eps=1e-12 residual=before apart wide branch=0.22 \
                    scale=@3 rgap=1,2,0 sgap=1,0,0 at=1,2,3,4,5,6 data=wide seed=99 inplace alone=7";
        let case: CheckCase = text.parse().unwrap();
        assert_eq!(case.to_string().parse(), Ok(case.clone()));
        let smallest = shrink(&case, |case| case.addition.sum_scale == 3.0);
        assert_eq!(
            smallest.to_string(),
            "op=rms over=rows shape=1 x=f32 y=f32 eps=1e-6 residual=before scale=3 data=normal seed=0"
        );
        let smallest = shrink(&case, |case| case.addition.wide && case.addition.separate.is_some());
        assert_eq!(
            smallest.to_string(),
            "op=rms over=rows shape=1 x=f16 y=f16 eps=1e-6 residual=before apart wide data=normal seed=0"
        );
        let text = text.replace("residual=before", "residual=between r=f16 next=rms,f16 nexteps=1e-3");
        let case: CheckCase = text.replace(" wide ", " ").parse().unwrap();
        assert_eq!(case.to_string().parse(), Ok(case.clone()));
        let smallest = shrink(&case, |case| matches!(case.residual, ResidualForm::Sandwich { .. }));
        assert_eq!(
            smallest.to_string(),
            "op=rms over=rows shape=1 x=f32 y=f32 eps=1e-6 residual=between r=f32 next=rms nexteps=1e-3 \
             data=normal seed=0"
        );
        assert_eq!(shrink(&case, |_| true).residual, ResidualForm::None);
    }

    #[test]
    fn an_order_of_roundings_goes_unless_the_failure_needs_it() {
        let text = "op=rms over=rows shape=3x5x200 x=f16 y=bf16 w=f16 eps=1e-5 offset=1 roundoffset rounding=t5 \
                    data=wide seed=9 shards=3";
        let case: CheckCase = text.parse().unwrap();
        let smallest = shrink(&case, |case| case.rounding == Rounding::T5);
        assert_eq!(
            smallest.to_string(),
            "op=rms over=rows shape=1 x=f32 y=f32 w=f32 eps=1e-6 rounding=t5 data=normal seed=0"
        );
        let smallest = shrink(&case, |case| case.round_offset);
        assert_eq!(
            smallest.to_string(),
            "op=rms over=rows shape=1 x=f32 y=f32 w=f32 eps=1e-6 offset=1 roundoffset data=normal seed=0"
        );
        assert_eq!(smallest.to_string().parse(), Ok(smallest));
    }

    #[test]
    fn it_ends_when_its_time_is_over() {
        let case = crate::check::generate::case(3, 3);
        assert_eq!(shrink_within(&case, Duration::ZERO, simpler, |_| true), case);
        assert_ne!(shrink_within(&case, MAX_TIME, simpler, |_| true), case);
    }

    #[test]
    fn a_case_that_never_fails_is_left_as_it_is() {
        let case = crate::check::generate::case(3, 3);
        assert_eq!(shrink(&case, |_| false), case);
    }
}
