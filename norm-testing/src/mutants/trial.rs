//! What becomes of a change: whether the simulator reads it, a check finds it, and if none does, why that may be so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;

use norm::testing::RandomCases;
use norm_host::ptx::Ptx;
use ptx_sim::Module;

use super::operator::{Change, Operator, inverted, side_by_side};
use super::pool::Mutant;
use super::reason;
use super::statement::statements;

/// What becomes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text is no PTX, or none that the simulator knows; or it passes, and ptxas refuses it.
    Invalid,
    /// No case executes the statement: with a `trap` in its place, under the same guard, all pass.
    NotReached,
    /// The statement and its change, executed side by side, give the same bits in every execution.
    NoDifference,
    /// ptxas makes the same machine code of both.
    SameCode,
    /// It does once prefetches and what lets the next kernel start are left out of both, which have no effect on results.
    OnlyHints,
    /// A hint, of which PTX says that it has no effect on results, raises no alarm.
    Harmless,
    /// A hint raises an alarm, which is wrong.
    FalseAlarm { fault: String },
    /// A check finds it.
    Killed { fault: String },
    /// Outputs have other bits, and all keep the accuracy that is promised: it is no fault by what is promised.
    Allowed,
    /// No check finds it, and all outputs have the same bits; why that is so, if it is known.
    Survived { reason: Option<&'static str> },
    /// The check itself panics.
    Panicked { message: String },
}

pub struct Trial<'a> {
    cases: &'a RandomCases,
    ptxas: Option<PathBuf>,
}

impl Trial<'_> {
    pub fn new(cases: &RandomCases, ptxas: Option<PathBuf>) -> Trial<'_> {
        Trial { cases, ptxas }
    }

    pub fn outcome(&self, mutant: &Mutant) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| self.tried(mutant))).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Panicked { message: message.unwrap_or_default() }
        })
    }

    fn tried(&self, mutant: &Mutant) -> Outcome {
        let module = &mutant.module.text;
        let changed = mutant.change.in_module(module);
        if !is_read(&changed, mutant) {
            return Outcome::Invalid;
        }
        let is_hint = mutant.operator == Operator::Hint;
        match self.run(mutant, changed.clone()) {
            Err(fault) if is_hint => return Outcome::FalseAlarm { fault },
            Err(fault) => return Outcome::Killed { fault },
            Ok(digest) if digest != mutant.module.digest => return Outcome::Allowed,
            Ok(_) => {}
        }
        let here = mutant.statement();
        let trapping = |guard: Option<&str>| {
            let trap = here.text(guard, "trap", &[]);
            let text = format!("{trap} {}", here.with_opcode(&here.opcode));
            let change = Change { text, behind: None, ..mutant.change.clone() };
            self.run(mutant, change.in_module(module)).is_err()
        };
        // A guard that is left out makes a difference where it is false, and one that is inverted wherever it is executed.
        let guard = match (&here.guard, mutant.operator) {
            (Some(_), Operator::Guard) if mutant.change.text.starts_with('@') => None,
            (Some(guard), Operator::Guard) => Some(inverted(guard)),
            (guard, _) => guard.clone(),
        };
        if !trapping(guard.as_deref()) {
            return Outcome::NotReached;
        }
        if is_hint {
            return Outcome::Harmless;
        }
        if let Some(both) = side_by_side(here, &mutant.change) {
            let text = Change { text: both, ..mutant.change.clone() }.in_module(module);
            if is_read(&text, mutant) && self.run(mutant, text).is_ok() {
                return Outcome::NoDifference;
            }
        }
        if self.code(module).is_some() && self.code(&changed).is_none() {
            return Outcome::Invalid;
        }
        let is_same = |a: &str, b: &str| self.code(a).is_some_and(|code| self.code(b) == Some(code));
        if is_same(module, &changed) {
            return Outcome::SameCode;
        }
        let name = mutant.entry.to_string();
        if is_same(&without_hints(module, &name), &without_hints(&changed, &name)) {
            return Outcome::OnlyHints;
        }
        Outcome::Survived { reason: reason::of(mutant) }
    }

    /// Runs all cases of a text, which stays in memory until the process ends.
    fn run(&self, mutant: &Mutant, text: String) -> Result<u64, String> {
        let ptx = Ptx::from_text(text.leak()).ok_or("it has no target")?;
        self.cases.run(mutant.entry, ptx)
    }

    /// What ptxas makes of a module, where it is there.
    fn code(&self, text: &str) -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().ok()?;
        let [source, cubin] = ["k.ptx", "k.cubin"].map(|name| folder.path().join(name));
        std::fs::write(&source, text).ok()?;
        let mut command = Command::new(self.ptxas.as_ref()?);
        let output = command.args(["-arch", "sm_90", "-o"]).args([&cubin, &source]).output().ok()?;
        output.status.success().then(|| std::fs::read(cubin).ok()).flatten()
    }
}

/// A module whose kernel of that name neither prefetches nor lets the next kernel start.
fn without_hints(module: &str, name: &str) -> String {
    let mut text = module.to_owned();
    for statement in statements(module, name).iter().rev() {
        if statement.opcode.contains("prefetch") || statement.opcode == "griddepcontrol.launch_dependents" {
            text.replace_range(statement.span.clone(), "");
        }
    }
    text
}

/// Whether the simulator reads the changed kernel.
fn is_read(text: &str, mutant: &Mutant) -> bool {
    let module = Module::parse(text);
    module.is_ok_and(|module| module.kernel(&mutant.entry.to_string()).is_ok())
}
