//! Models' own norms, replayed: `tests/models.py` recorded what transformers computes, and `norm_host::models` says
//! what to give `Norm` for the same bits.

mod compare;
mod families;
mod page;
mod recorded;
mod replay;
mod rope;

use std::collections::BTreeMap;
use std::error::Error;

use norm_host::{Backend, Cpu, NormKind, Rounding, Simulator, models::Spec};

use compare::Tally;
use recorded::Recorded;
use replay::Form;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// The share of elements that may be a neighbour of the recorded one, where sums that are added up in another order, or
/// another `exp`, tip a rounding.
const APART_AT_MOST: f64 = 2e-4;

/// Which records are counted together: those of a class of RMSNorm, and all of LayerNorm, of whose classes few have
/// enough elements for one of them to be less than that share.
fn counted_with(group: &str) -> &str {
    if group.contains("LayerNorm") && group != "T5LayerNorm" { "LayerNorm of any class" } else { group }
}

/// Each record, by each of the forms that a family of its class has.
fn replay_all(recorded: &Recorded, on: &impl Backend) -> Result {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for record in &recorded.records {
        let forms = Form::of_group(recorded, &record.group, record.compiled)?;
        assert!(!forms.is_empty(), "{}: no family has it", record.name);
        for form in &forms {
            let given = form.replay(recorded, record, on)?;
            let tally = tallies.entry(counted_with(&record.group)).or_default();
            for given in given {
                tally.add(compare::hold(recorded, record, form, &given)?);
            }
        }
    }
    for (group, tally) in tallies {
        println!("{group:24} {tally}");
        assert!(tally.share() <= APART_AT_MOST, "{group}: {tally}");
    }
    Ok(())
}

#[test]
fn records_are_replayed_bit_for_bit() -> Result {
    replay_all(&Recorded::load()?, &Cpu)
}

#[test]
fn kernels_replay_records_bit_for_bit() -> Result {
    replay_all(&Recorded::load()?, &Simulator::new())
}

/// Another order of roundings, or the offset left out, is not what was recorded: the records can tell.
#[test]
fn records_tell_forms_apart() -> Result {
    let recorded = Recorded::load()?;
    let share = |name: &str, change: fn(&mut Spec)| -> Result<Option<f64>> {
        let found = recorded.records.iter().find(|record| record.name == name);
        let record = found.ok_or_else(|| format!("{name}: no such record"))?;
        let mut form = Form::of_group(&recorded, &record.group, record.compiled)?[0];
        change(form.spec_mut());
        let given = form.replay(&recorded, record, &Cpu)?;
        // An error is an element that is no neighbour of the recorded one.
        Ok(compare::hold(&recorded, record, &form, &given[0]).ok().map(|tally| tally.share()))
    };
    let is_quarter = |share: Option<f64>| share.is_some_and(|share| (0.15..0.35).contains(&share));
    assert!(is_quarter(share("LlamaRMSNorm.bf16.bf16", |spec| spec.rounding = Rounding::Single)?));
    assert!(is_quarter(
        share("LlamaRMSNorm.compiled.f16.f16", |spec| spec.rounding = Rounding::BeforeWeight)?
    ));
    assert!(is_quarter(share("Olmo2RMSNorm.f16.f16", |spec| spec.rounding = Rounding::BeforeWeight)?));
    assert!(is_quarter(share("T5LayerNorm.f32.f16", |spec| spec.rounding = Rounding::BeforeWeight)?));
    assert_eq!(share("NemotronLayerNorm1P.bf16.bf16", |spec| spec.round_offset = false)?, None);
    assert_eq!(share("LlamaRMSNorm.bf16.f32", |spec| spec.rounding = Rounding::Single)?, None);
    assert_eq!(share("GemmaRMSNorm.bf16.bf16", |spec| spec.weight_offset = 0.0)?, None);
    assert_eq!(share("GemmaRMSNorm.f32.f32", |spec| spec.kind = NormKind::Layer)?, None);
    Ok(())
}

/// What `Model::compiled` leaves as it is `torch.compile` did not change; what it changes was recorded apart.
#[test]
fn what_is_recorded_as_compiled_is_what_differs() -> Result {
    let recorded = Recorded::load()?;
    for (group, &apart) in &recorded.compiled_apart {
        let is_recorded = recorded.records.iter().any(|record| record.compiled && record.group == *group);
        let same = Form::of_group(&recorded, group, false)? == Form::of_group(&recorded, group, true)?;
        assert!(is_recorded || same && apart < 1e-3, "{group}: {apart}");
        // PyTorch's own LayerNorm alone is of another formula where it is compiled: it cancels no more.
        assert!(!is_recorded || !same || group.starts_with("LayerNorm"), "{group}: {apart}");
    }
    assert_eq!(
        recorded.compiled_apart.len() + 2,
        recorded.groups.len(),
        "all but Cohere's and StableLM's with weights per head"
    );
    Ok(())
}

#[test]
fn the_table_has_what_was_seen_of_each_family() -> Result {
    families::hold(&Recorded::load()?)
}

#[test]
fn the_page_has_every_row_of_the_table() -> Result {
    page::hold(&Recorded::load()?)
}
