//! The run's report.

use std::collections::BTreeMap;

use super::operator::Operator;
use super::pool::Mutant;
use super::trial::Outcome;

/// How many changes came to what.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    planted: u32,
    invalid: u32,
    not_reached: u32,
    no_difference: u32,
    same_code: u32,
    only_hints: u32,
    harmless: u32,
    false_alarms: u32,
    killed: u32,
    allowed: u32,
    explained: u32,
    survived: u32,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        self.planted += 1;
        let count = match outcome {
            Outcome::Invalid => &mut self.invalid,
            Outcome::NotReached => &mut self.not_reached,
            Outcome::NoDifference => &mut self.no_difference,
            Outcome::SameCode => &mut self.same_code,
            Outcome::OnlyHints => &mut self.only_hints,
            Outcome::Harmless => &mut self.harmless,
            Outcome::FalseAlarm { .. } => &mut self.false_alarms,
            Outcome::Killed { .. } => &mut self.killed,
            Outcome::Allowed => &mut self.allowed,
            Outcome::Survived { reason: Some(_) } => &mut self.explained,
            Outcome::Survived { reason: None } | Outcome::Panicked { .. } => &mut self.survived,
        };
        *count += 1;
    }

    fn row(&self, name: &str) -> String {
        let Counts { planted, invalid, not_reached, no_difference, same_code, only_hints, .. } = self;
        let Counts { harmless, false_alarms, killed, allowed, explained, survived, .. } = self;
        let without_effect = no_difference + same_code + only_hints;
        format!(
            "| {name} | {planted} | {invalid} | {not_reached} | {without_effect} | {harmless} | {false_alarms} | \
             {allowed} | {explained} | {killed} | {survived} |\n"
        )
    }
}

pub struct Report<'a> {
    done: &'a [(u64, Mutant, Outcome)],
}

impl<'a> Report<'a> {
    pub fn of(done: &'a [(u64, Mutant, Outcome)]) -> Report<'a> {
        Report { done }
    }

    pub fn text(&self) -> String {
        let (mut all, mut operators, mut families) = (Counts::default(), BTreeMap::new(), BTreeMap::new());
        let mut kinds = BTreeMap::<&'static str, u32>::new();
        for (_, mutant, outcome) in self.done {
            all.add(outcome);
            operators.entry(mutant.operator).or_insert_with(Counts::default).add(outcome);
            families.entry(mutant.family.as_str()).or_insert_with(Counts::default).add(outcome);
            if let Outcome::Killed { fault } = outcome {
                *kinds.entry(kind(fault)).or_default() += 1;
            }
        }
        const HEAD: &str = "planted | not read | not reached | no effect | hints that pass | false alarms | allowed | \
                            explained | killed | survived |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        let found = 100.0 * f64::from(all.killed) / f64::from((all.killed + all.survived).max(1));
        let everything = all.killed + all.survived + all.explained + all.allowed;
        let of_everything = 100.0 * f64::from(all.killed) / f64::from(everything.max(1));
        let mut text = format!("| operator | {HEAD}");
        for operator in Operator::ALL {
            text += &operators.get(&operator).copied().unwrap_or_default().row(operator.name());
        }
        text += &all.row("**all**");
        text += &format!(
            "\nKilled of killed and survived: {found:.2} %; of these, the allowed and the explained: {of_everything:.1} %.\n"
        );
        text += &format!(
            "Of those without effect, {} give the same bits, {} the same machine code.\n",
            all.no_difference, all.same_code
        );
        text += "\n| found by | kills |\n|---|--:|\n";
        for (kind, count) in kinds {
            text += &format!("| {kind} | {count} |\n");
        }
        text += &format!("\n| family | {HEAD}");
        for (family, counts) in families {
            text += &counts.row(&format!("`{family}`"));
        }
        text += "\n";
        for (index, mutant, outcome) in self.done {
            match outcome {
                Outcome::Survived { reason } => {
                    let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
                    text += &format!("- {index}: `{}`{reason}\n", mutant.shown());
                }
                Outcome::FalseAlarm { fault } | Outcome::Panicked { message: fault } => {
                    text += &format!("- {index}: `{}`: {fault}\n", mutant.shown());
                }
                _ => {}
            }
        }
        text
    }
}

/// A fault's kind, as far as its message tells.
fn kind(fault: &str) -> &'static str {
    const KINDS: [(&str, &str); 21] = [
        ("than the first rank", "other bits on another rank"),
        ("call of the group failed", "a rank that others wait for in vain"),
        ("ULP of", "accuracy"),
        ("of the sum", "the sum's bits"),
        ("other bits", "other bits in place or alone"),
        ("was changed, where", "bytes that are no output's"),
        ("with no barrier between", "race"),
        ("register", "register that nothing wrote"),
        ("nothing wrote", "memory that nothing wrote"),
        ("unwritten", "output that is not written"),
        ("are in no allocation", "out of bounds"),
        ("not a multiple of", "misaligned"),
        ("may only be read", "store to what may only be read"),
        ("non-coherently", "non-coherent load"),
        ("without .nc", "non-coherent load"),
        ("griddepcontrol", "dependent launch"),
        ("for ever", "deadlock"),
        ("mbarrier", "mbarrier"),
        ("limit", "endless loop"),
        ("lane", "lanes"),
        ("prefetch", "prefetch"),
    ];
    KINDS.iter().find(|(part, _)| fault.contains(part)).map_or("other", |(_, kind)| kind)
}
