//! Models' own norms, replayed: `tests/models.py` recorded what transformers computes, and `norm_host::models` says
//! what to give `Norm` for the same bits.

#[path = "../norm-host/tests/common/mod.rs"]
mod common;
#[path = "models/compare.rs"]
mod compare;
#[path = "models/families.rs"]
mod families;
#[path = "models/page.rs"]
mod page;
#[path = "models/recorded.rs"]
mod recorded;
#[path = "models/replay.rs"]
mod replay;

use std::collections::BTreeMap;
use std::error::Error;

use norm_host::{Backend, Cpu};

use compare::Tally;
use recorded::Recorded;
use replay::Form;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// The share of elements that may be a neighbour of the recorded one, over all records of a class: where sums that are
/// added up in another order, or another `exp`, tip a rounding. LayerNorm subtracts a mean, one more place for it.
fn apart_at_most(group: &str) -> f64 {
    if group.contains("LayerNorm") && group != "T5LayerNorm" { 5e-4 } else { 2e-4 }
}

/// Each record, by each of the forms that a family of its class has.
fn replay_all(recorded: &Recorded, on: &impl Backend) -> Result {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for record in &recorded.records {
        let forms = Form::of_group(recorded, &record.group, record.compiled)?;
        assert!(!forms.is_empty(), "{}: no family has it", record.name);
        for form in &forms {
            let given = form.replay(recorded, record, on)?;
            let tally = tallies.entry(&record.group).or_default();
            for given in given {
                tally.add(compare::hold(recorded, record, form, &given)?);
            }
        }
    }
    for (group, tally) in tallies {
        println!("{group:24} {tally}");
        assert!(tally.share() <= apart_at_most(group), "{group}: {tally}");
    }
    Ok(())
}

#[test]
fn records_are_replayed_bit_for_bit() -> Result {
    replay_all(&Recorded::load()?, &Cpu)
}
