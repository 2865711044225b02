//! One case: a call as each rank makes it, and the group that makes it.

use std::fmt;
use std::str::FromStr;

use norm_host::{DType, NormKind, Rounding, Stray};
use norm_kernels::abi::{Exchange, workspace::packets_of_row};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::super::case::{AdditionOptions, CheckCase, MAX_LEADING, ResidualForm};
use super::super::{generate, shrink};

/// The most ranks of a group.
const MAX_RANKS: usize = 8;
/// The most blocks of a launch: with the most ranks, and 32 warps a block, as many as run beside each other on the simulator.
const MAX_BLOCKS: usize = 4;
/// The most calls.
const MAX_CALLS: usize = 16;
/// The most elements of one tensor, over all ranks and calls.
const MAX_ELEMENTS: usize = 1 << 24;
/// The same of a random case.
const RANDOM_ELEMENTS: usize = 1 << 15;

/// Calls that all ranks of a group make, one behind the other, each on tensors of its own. Its `Display` is its text: that of
/// [`rows`](GroupCase::rows), and behind it the group's words.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupCase {
    /// What each rank does with the sum. The values are those of the first rank in the first call.
    pub rows: CheckCase,
    /// Whether that is nothing: the sum itself is the output.
    pub sum: bool,
    pub ranks: usize,
    pub calls: usize,
    /// Blocks of a launch.
    pub blocks: usize,
    /// How rows get to other ranks.
    pub exchange: Exchange,
    /// Rows of a launch, if a call is several.
    pub piece: Option<usize>,
    /// What the last rank does wrong in its last launch, in a run of its own, where the backend lets one try it.
    pub stray: Option<Stray>,
    /// Launches that every rank has completed before, as far as the backend lets one say so: the simulator does.
    pub completed: u32,
}

/// A word of a group's, and what it is followed by.
const WORDS: [&str; 9] =
    ["ranks", "calls", "blocks", "piece", "completed", "strays", "sum", "twoshot", "packets"];

/// What `strays` may be.
const STRAYS: [(&str, Stray); 3] =
    [("absent", Stray::Absent), ("call", Stray::OtherCall), ("epoch", Stray::OtherEpoch)];

impl GroupCase {
    /// Whether a text is of a group.
    pub fn is_meant(text: &str) -> bool {
        text.split_whitespace().any(|word| word.starts_with("ranks="))
    }

    /// The case of this seed and index: a random case of one device, as far as groups take it.
    pub fn random(seed: u64, index: u64) -> GroupCase {
        let rng = &mut Pcg64::new(seed.into(), u128::from(index) | 1 << 65);
        let mut rows = generate::case(seed, index);
        let sum = rng.random_bool(0.3);
        let x = match rng.random_range(0..5) {
            0 if sum => DType::F32,
            0..3 => DType::F16,
            _ => DType::BF16,
        };
        rows.heads = false;
        (rows.x.dtype, rows.y.dtype) = (x, x);
        let ranks = rng.random_range(2..=4);
        let calls = rng.random_range(1..=3);
        while rows.rows() * rows.dim() * ranks * calls > RANDOM_ELEMENTS {
            let longest = (0..rows.shape.len()).max_by_key(|&axis| rows.shape[axis]).unwrap_or(0);
            // Whole vectors stay whole as long as there are some.
            let half = rows.shape[longest] / 2;
            rows.shape[longest] = if half >= 64 { half & !7 } else { half.max(1) };
        }
        let param = if rng.random_bool(0.6) { x } else { DType::F32 };
        for given in [&mut rows.w, &mut rows.b].into_iter().flatten() {
            (given.dtype, given.gap, given.shared) = (param, 0, false);
        }
        let is_added = !sum && rng.random_bool(0.7);
        rows.residual = match rows.residual {
            ResidualForm::PreNorm { .. } if is_added => rows.residual,
            _ if is_added => ResidualForm::PreNorm { gaps: [0; MAX_LEADING], at: 0 },
            _ => ResidualForm::None,
        };
        rows.in_place = rng.random_bool(0.4);
        let count = rows.rows();
        GroupCase {
            rows: plain(rows, sum),
            sum,
            ranks,
            calls,
            blocks: rng.random_range(1..=3),
            exchange: match rng.random_range(0..3) {
                0 => Exchange::OneShot,
                1 => Exchange::TwoShot,
                _ => Exchange::Packets,
            },
            piece: (count > 1 && rng.random_bool(0.3)).then(|| rng.random_range(1..count)),
            completed: if rng.random_bool(0.3) { u32::MAX - 1 } else { 0 },
            stray: rng.random_bool(0.2).then(|| STRAYS[rng.random_range(0..STRAYS.len())].1),
        }
    }

    /// Rows of one launch.
    pub fn rows_a_launch(&self) -> usize {
        self.piece.unwrap_or(self.rows.rows()).max(1)
    }

    /// Bytes of a buffer for so many rows.
    pub fn buffer_bytes(&self) -> usize {
        let pitch = (self.rows.dim() * self.rows.x.dtype.size()).next_multiple_of(16);
        self.rows_a_launch() * pitch
    }

    /// Bytes of a buffer with which there is room for the packets of a call that is one launch, where rows are packets.
    pub fn packet_bytes(&self) -> usize {
        if self.exchange != Exchange::Packets || self.piece.is_some() {
            return 0;
        }
        let pitch = (self.rows.dim() * self.rows.x.dtype.size()).next_multiple_of(16);
        self.ranks * self.rows.rows() * packets_of_row(pitch as u32) as usize
    }

    /// Why no group can run this case, or `None` if one can.
    pub fn invalid_reason(&self) -> Option<String> {
        let CheckCase { x, y, w, b, shards, alone, .. } = &self.rows;
        let is_plain = plain(self.rows.clone(), self.sum) == self.rows;
        let takes = |given: DType| given == x.dtype || given == DType::F32;
        let residual = matches!(self.rows.residual, ResidualForm::None | ResidualForm::PreNorm { .. });
        let elements = self.rows.rows().saturating_mul(self.rows.dim());
        let elements = elements.saturating_mul(self.ranks).saturating_mul(self.calls);
        Some(match () {
            () if !(1..=MAX_RANKS).contains(&self.ranks) => format!("a group has 1 to {MAX_RANKS} ranks"),
            () if !(1..=MAX_CALLS).contains(&self.calls) => format!("it has 1 to {MAX_CALLS} calls"),
            () if !(1..=MAX_BLOCKS).contains(&self.blocks) => format!("it has 1 to {MAX_BLOCKS} blocks"),
            () if self.stray.is_some() && self.ranks < 2 => "strays needs two ranks or more".to_owned(),
            () if self.piece == Some(0) => "a piece has 1 row or more".to_owned(),
            () if elements > MAX_ELEMENTS => "its tensors are too large".to_owned(),
            () if x.dtype != y.dtype => "x and y of a group need one dtype".to_owned(),
            () if self.sum && !is_plain => "sum has neither weights nor what a norm has else".to_owned(),
            () if !self.sum && x.dtype == DType::F32 => "a group's norm needs x of 16 bits".to_owned(),
            () if ![w, b].into_iter().flatten().all(|param| takes(param.dtype)) => {
                "weights of a group's norm have the dtype of x or f32".to_owned()
            }
            () if !residual || *shards != 1 || alone.is_some() || !is_plain => {
                "a group's norm is over rows, at most behind an addition in place, without apart, wide, factors, gate, \
                 quantize, shards and alone"
                    .to_owned()
            }
            () => return None,
        })
    }

    /// Cases that are one step simpler, the longest steps first.
    pub fn simpler(&self) -> Vec<GroupCase> {
        let mut steps = Vec::new();
        let mut step = |change: &dyn Fn(&mut GroupCase)| {
            let mut candidate = self.clone();
            change(&mut candidate);
            if candidate != *self && candidate.invalid_reason().is_none() {
                steps.push(candidate);
            }
        };
        step(&|case| (case.sum, case.rows) = (true, plain(case.rows.clone(), true)));
        step(&|case| case.calls = 1);
        step(&|case| case.calls -= 1);
        step(&|case| case.ranks = 1);
        step(&|case| case.ranks = 2);
        step(&|case| case.ranks -= 1);
        step(&|case| case.blocks = 1);
        step(&|case| case.exchange = Exchange::OneShot);
        step(&|case| case.piece = None);
        step(&|case| case.completed = 0);
        step(&|case| case.stray = None);
        for rows in shrink::simpler(&self.rows) {
            step(&|case| case.rows = rows.clone());
        }
        steps
    }
}

/// The rows without what no group does, and for a sum without what a norm has.
fn plain(rows: CheckCase, sum: bool) -> CheckCase {
    let rows = CheckCase {
        heads: false,
        alone: None,
        addition: AdditionOptions::PLAIN,
        gate: None,
        shards: 1,
        quantize: None,
        ..rows
    };
    if !sum {
        let (offset, round) = match rows.w {
            Some(_) => (rows.weight_offset, rows.round_offset),
            None => (0.0, false),
        };
        let bare = rows.w.is_none() && rows.rounding == Rounding::T5;
        let rounding = if bare { Rounding::Single } else { rows.rounding };
        return CheckCase { weight_offset: offset, round_offset: round, rounding, ..rows };
    }
    CheckCase {
        kind: NormKind::Rms,
        w: None,
        b: None,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        residual: ResidualForm::None,
        ..rows
    }
}

impl fmt::Display for GroupCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupCase { rows, sum, ranks, calls, blocks, exchange, piece, stray, completed } = self;
        write!(f, "{rows} ranks={ranks} calls={calls} blocks={blocks}")?;
        if let Some(piece) = piece {
            write!(f, " piece={piece}")?;
        }
        if *completed != 0 {
            write!(f, " completed={completed}")?;
        }
        if let Some((word, _)) = STRAYS.iter().find(|(_, known)| Some(*known) == *stray) {
            write!(f, " strays={word}")?;
        }
        let words = [
            ("twoshot", *exchange == Exchange::TwoShot),
            ("packets", *exchange == Exchange::Packets),
            ("sum", *sum),
        ];
        for (word, is_there) in words {
            if is_there {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for GroupCase {
    type Err = String;

    fn from_str(text: &str) -> Result<GroupCase, String> {
        let key = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
        let (of_group, of_rows): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|word| WORDS.contains(&key(word).as_str()));
        let rows: CheckCase = of_rows.join(" ").parse().map_err(|error| format!("{error}"))?;
        let mut case = GroupCase {
            rows,
            sum: false,
            ranks: 0,
            calls: 1,
            blocks: 1,
            exchange: Exchange::OneShot,
            piece: None,
            stray: None,
            completed: 0,
        };
        let mut seen: Vec<String> = Vec::new();
        for word in of_group {
            if seen.contains(&key(word)) {
                return Err(format!("{} is there twice", key(word)));
            }
            seen.push(key(word));
            let number = |text: &str| {
                let number = text.parse::<usize>();
                number.map_err(|_| format!("'{text}' is no value of {}: expected a whole number", key(word)))
            };
            match word.split_once('=') {
                None if word == "sum" => case.sum = true,
                None if word == "twoshot" || word == "packets" => {
                    if case.exchange != Exchange::OneShot {
                        return Err("rows are exchanged in one way".to_owned());
                    }
                    case.exchange = if word == "packets" { Exchange::Packets } else { Exchange::TwoShot };
                }
                Some(("ranks", text)) => case.ranks = number(text)?,
                Some(("calls", text)) => case.calls = number(text)?,
                Some(("blocks", text)) => case.blocks = number(text)?,
                Some(("piece", text)) => case.piece = Some(number(text)?),
                Some(("strays", text)) => {
                    let found = STRAYS.iter().find(|(word, _)| *word == text);
                    let expected =
                        || format!("'{text}' is no value of strays: expected absent, call or epoch");
                    case.stray = Some(found.ok_or_else(expected)?.1);
                }
                Some(("completed", text)) => {
                    let limit = || format!("'{text}' is no value of completed: expected a number below 2^32");
                    case.completed = text.parse().map_err(|_| limit())?;
                }
                _ => return Err(format!("'{word}' is not a part of a case")),
            }
        }
        case.invalid_reason().map_or(Ok(case), |reason| Err(format!("there is no such case: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back_and_reach_every_choice() {
        let cases: Vec<GroupCase> = (0..400).map(|index| GroupCase::random(1, index)).collect();
        for case in &cases {
            assert_eq!(case.to_string().parse(), Ok(case.clone()), "{case}");
            assert!(GroupCase::is_meant(&case.to_string()));
        }
        for simpler in cases.iter().take(20).flat_map(GroupCase::simpler) {
            assert_eq!(simpler.to_string().parse(), Ok(simpler.clone()), "{simpler}");
        }
        let some = |found: &dyn Fn(&GroupCase) -> bool| cases.iter().any(found);
        for dtype in DType::ALL {
            assert!(some(&|case| case.sum && case.rows.x.dtype == dtype));
        }
        for kind in NormKind::ALL {
            for dtype in [DType::F16, DType::BF16] {
                assert!(some(&|case| !case.sum && case.rows.kind == kind && case.rows.x.dtype == dtype));
            }
        }
        assert!(some(&|case| case.exchange == Exchange::TwoShot && case.ranks == 4 && case.calls == 3));
        assert!(some(&|case| case.exchange == Exchange::Packets && case.completed != 0 && case.calls == 3));
        for (_, stray) in STRAYS {
            assert!(some(&|case| case.stray == Some(stray)));
        }
        assert!(some(&|case| case.piece.is_some()) && some(&|case| case.rows.in_place));
    }

    #[test]
    fn wrong_texts_are_explained() {
        let good = "op=rms over=rows shape=3x8 x=f16 y=f16 w=f16 eps=1e-6 data=normal seed=1 ranks=2";
        assert!(good.parse::<GroupCase>().is_ok());
        for (from, to, part) in [
            ("ranks=2", "ranks=9", "a group has 1 to 8 ranks"),
            ("ranks=2", "ranks=2 ranks=3", "ranks is there twice"),
            ("ranks=2", "ranks=2 blocks=5", "it has 1 to 4 blocks"),
            ("ranks=2", "ranks=two", "'two' is no value of ranks"),
            ("ranks=2", "ranks=2 sum", "sum has neither weights"),
            ("ranks=2", "ranks=2 packets twoshot", "in one way"),
            ("ranks=2", "ranks=2 shards=2", "a group's norm is over rows"),
            ("w=f16", "w=bf16", "the dtype of x or f32"),
            ("x=f16 y=f16", "x=f32 y=f32", "needs x of 16 bits"),
            ("seed=1", "sead=1", "'sead=1'"),
            ("ranks=2", "ranks=2 strays=away", "'away' is no value of strays"),
        ] {
            let error = good.replace(from, to).parse::<GroupCase>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
