//! One case: everything that a call depends on, and its text on the command line.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use norm_host::{DType, MAX_HEAD_DIM, NormKind, Pairing, RopeRounding};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::super::case::ValuePattern;

/// The most tokens, and heads of a token, of a case.
const MOST: usize = 1 << 16;

/// Rows of a case's tables.
pub const TABLE_ROWS: usize = 11;

/// Queries, keys and values, packed in one tensor. Its `Display` is its text, which parses to an equal case.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadsCase {
    /// Heads of queries, keys and values.
    pub heads: [usize; 3],
    pub tokens: usize,
    pub dim: usize,
    pub x: DType,
    /// The type of weights, if there are any.
    pub w: Option<DType>,
    /// Whether each head has its own.
    pub own: bool,
    pub norms: [Option<NormKind>; 3],
    pub eps: f32,
    pub weight_offset: f32,
    /// Pairs that are rotated, 0 where nothing is.
    pub pairs: usize,
    pub pairing: Pairing,
    pub table: DType,
    pub behind: bool,
    pub before_weight: bool,
    pub rounding: RopeRounding,
    /// Unused columns behind the heads of a token.
    pub gap: usize,
    /// Elements between an aligned address and the first.
    pub at: usize,
    /// Whether positions have 8 bytes.
    pub wide: bool,
    pub in_place: bool,
    pub data: ValuePattern,
    pub seed: u64,
}

impl HeadsCase {
    /// The simplest case.
    pub const SIMPLEST: HeadsCase = HeadsCase {
        heads: [1, 0, 0],
        tokens: 1,
        dim: 16,
        x: DType::F32,
        w: None,
        own: false,
        norms: [None; 3],
        eps: 1e-6,
        weight_offset: 0.0,
        pairs: 0,
        pairing: Pairing::Halves,
        table: DType::F32,
        behind: false,
        before_weight: false,
        rounding: RopeRounding::Single,
        gap: 0,
        at: 0,
        wide: false,
        in_place: false,
        data: ValuePattern::Normal,
        seed: 0,
    };

    /// The case of this seed and index.
    pub fn random(seed: u64, index: u64) -> HeadsCase {
        let rng = &mut Pcg64::new(seed.into(), u128::from(index) | 1 << 64);
        let x = *DType::ALL.choose(rng).unwrap_or(&DType::F16);
        let other = |rng: &mut Pcg64| if rng.random_bool(0.5) { x } else { DType::F32 };
        let is_whole = rng.random_bool(0.7);
        let dim = match is_whole {
            true => *[32, 64, 64, 80, 96, 128, 128, 192, 256, 512].choose(rng).unwrap_or(&64),
            false => rng.random_range(1..=MAX_HEAD_DIM as usize / 2),
        };
        let pairs = match rng.random_range(0..8) {
            0 => 0,
            1..6 => dim / 2,
            _ if is_whole => (dim / 4).next_multiple_of(8).min(dim / 2),
            _ => rng.random_range(0..=dim / 2),
        };
        let norm = |rng: &mut Pcg64| match rng.random_range(0..8) {
            0 => None,
            1..3 => Some(NormKind::Layer),
            _ => Some(NormKind::Rms),
        };
        let heads = [rng.random_range(1..=8), rng.random_range(0..=4), rng.random_range(0..=2)];
        let norms = [norm(rng), norm(rng).filter(|_| heads[1] > 0), norm(rng).filter(|_| heads[2] > 0)];
        let w = rng.random_bool(0.8).then(|| other(rng)).filter(|_| norms.iter().any(Option::is_some));
        // So many that threads go through several heads, in a few.
        let tokens = if rng.random_bool(0.03) { 2500 } else { rng.random_range(0..=12) };
        let data = match rng.random_range(0..3) {
            0 => ValuePattern::Normal,
            1 => ValuePattern::Mixed,
            _ => *ValuePattern::drawn().choose(rng).unwrap_or(&ValuePattern::Normal),
        };
        HeadsCase {
            heads: if tokens > 12 { [8, if heads[1] > 0 { 4 } else { 0 }, 0] } else { heads },
            tokens,
            dim: if tokens > 12 { dim.min(64) } else { dim },
            x,
            w,
            own: w.is_some() && rng.random_bool(0.3),
            norms: if tokens > 12 { [norms[0], norms[1], None] } else { norms },
            eps: *[1e-5, 1e-6, 0.1].choose(rng).unwrap_or(&1e-6),
            weight_offset: if w.is_some() && rng.random_bool(0.25) { 1.0 } else { 0.0 },
            pairs: if tokens > 12 { pairs.min(32) } else { pairs },
            pairing: *Pairing::ALL.choose(rng).unwrap_or(&Pairing::Halves),
            table: other(rng),
            behind: rng.random_bool(0.3),
            before_weight: rng.random_bool(0.4),
            rounding: *RopeRounding::ALL.choose(rng).unwrap_or(&RopeRounding::Single),
            gap: if rng.random_bool(0.3) { rng.random_range(0..3) * if is_whole { 8 } else { 3 } } else { 0 },
            at: if rng.random_bool(0.2) { rng.random_range(1..8) } else { 0 },
            wide: rng.random_bool(0.5),
            in_place: rng.random_bool(0.5),
            data,
            seed: rng.random_range(0..1 << 32),
        }
        .with_its_norms()
    }

    /// Without what only heads that are normed have, where none are.
    fn with_its_norms(self) -> HeadsCase {
        match self.norms.iter().any(Option::is_some) {
            true => self,
            false => HeadsCase { w: None, own: false, weight_offset: 0.0, ..self },
        }
    }

    /// A random number generator for one of its tensors.
    pub fn values(&self, which: u64) -> Pcg64 {
        Pcg64::seed_from_u64(self.seed ^ which.rotate_left(48))
    }

    pub fn columns(&self) -> usize {
        self.heads.iter().sum::<usize>() * self.dim
    }

    /// Elements from a token to the next.
    pub fn stride(&self) -> usize {
        self.columns() + self.gap
    }

    /// Which of queries, keys and values there are.
    pub fn parts(&self) -> impl Iterator<Item = usize> {
        let heads = self.heads;
        (0..3).filter(move |&part| part == 0 || heads[part] > 0)
    }

    /// Cases that are one step simpler, the longest steps first.
    pub fn simpler(&self) -> Vec<HeadsCase> {
        let simplest = HeadsCase::SIMPLEST;
        let mut steps: Vec<HeadsCase> = Vec::new();
        let mut step = |change: &dyn Fn(&mut HeadsCase)| {
            let mut candidate = self.clone();
            change(&mut candidate);
            for part in 0..3 {
                candidate.norms[part] = candidate.norms[part].filter(|_| candidate.heads[part] > 0);
            }
            candidate.pairs = candidate.pairs.min(candidate.dim / 2);
            let candidate = candidate.with_its_norms();
            if candidate != *self {
                steps.push(candidate);
            }
        };
        step(&|case| case.in_place = false);
        step(&|case| case.pairs = 0);
        for part in 0..3 {
            step(&|case| case.norms[part] = None);
            step(&|case| case.heads[part] = usize::from(part == 0));
            step(&|case| case.heads[part] /= 2);
            step(&|case| case.norms[part] = case.norms[part].map(|_| NormKind::Rms));
        }
        step(&|case| case.heads[0] = case.heads[0].max(1));
        step(&|case| case.tokens = 1);
        step(&|case| case.tokens /= 2);
        step(&|case| case.tokens -= usize::from(case.tokens > 1));
        for dim in [16, self.dim / 2, self.dim - usize::from(self.dim > 1)] {
            if 0 < dim && dim < self.dim {
                step(&|case| case.dim = dim);
            }
        }
        step(&|case| (case.w, case.own, case.weight_offset) = (None, false, 0.0));
        step(&|case| (case.own, case.weight_offset) = (false, 0.0));
        step(&|case| (case.behind, case.before_weight) = (false, false));
        step(&|case| case.rounding = RopeRounding::Single);
        step(&|case| case.pairing = Pairing::Halves);
        step(&|case| (case.gap, case.at, case.wide) = (0, 0, false));
        step(&|case| case.data = ValuePattern::Normal);
        step(&|case| case.eps = simplest.eps);
        step(&|case| case.seed = 0);
        step(&|case| {
            (case.x, case.table) = (DType::F32, DType::F32);
            case.w = case.w.map(|_| DType::F32);
        });
        steps.retain(|case| case.heads[0] > 0);
        steps
    }

    /// Why no operation can run this case, or `None` if one can.
    fn invalid_reason(&self) -> Option<String> {
        let takes = |given: DType| given == self.x || given == DType::F32;
        let heads: Option<usize> = self.heads.iter().try_fold(0_usize, |all, heads| all.checked_add(*heads));
        let missing = (1..3).find(|&part| self.heads[part] == 0 && self.norms[part].is_some());
        Some(match () {
            () if self.heads[0] == 0 => "there are no queries".to_owned(),
            () if heads.is_none_or(|heads| heads > MOST) || self.tokens > MOST => {
                format!("it has more than {MOST} tokens or heads")
            }
            () if self.dim == 0 || self.dim > MAX_HEAD_DIM as usize => {
                format!("heads have 1 to {MAX_HEAD_DIM} elements")
            }
            () if self.pairs > self.dim / 2 => "there are more pairs than a head has".to_owned(),
            () if self.tokens.saturating_mul(self.stride()) > 1 << 26
                || self.gap > MOST
                || self.at > MOST =>
            {
                "its tensors are too large".to_owned()
            }
            () if missing.is_some() => "there is a norm of heads that are not there".to_owned(),
            () if self.w.is_some_and(|w| !takes(w)) || !takes(self.table) => {
                "weights and tables are of the heads' type or f32".to_owned()
            }
            () if self.w.is_some() && self.norms.iter().all(Option::is_none) => {
                "there are weights without a norm".to_owned()
            }
            () if self.w.is_none() && (self.own || self.weight_offset != 0.0) => {
                "own and offset need w".to_owned()
            }
            () => return None,
        })
    }
}

impl fmt::Display for HeadsCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeadsCase { heads: [q, k, v], tokens, dim, x, eps, pairs, .. } = self;
        let norm = |kind: Option<NormKind>| kind.map_or("-", NormKind::name);
        let [nq, nk, nv] = self.norms.map(norm);
        write!(f, "op=qkrope heads={q},{k},{v} tokens={tokens} dim={dim} x={x} norms={nq},{nk},{nv}")?;
        if let Some(w) = self.w {
            write!(f, " w={w}")?;
        }
        write!(f, " eps={eps:e} pairs={pairs} table={}", self.table)?;
        if self.weight_offset != 0.0 {
            write!(f, " offset={}", self.weight_offset)?;
        }
        for (word, is_there) in [
            ("own", self.own),
            ("neighbours", self.pairing == Pairing::Neighbours),
            ("behind", self.behind),
            ("beforeweight", self.before_weight),
            ("wide", self.wide),
            ("inplace", self.in_place),
        ] {
            if is_there {
                write!(f, " {word}")?;
            }
        }
        if self.rounding != RopeRounding::Single {
            write!(f, " rotation={}", self.rounding)?;
        }
        for (word, number) in [("gap", self.gap), ("at", self.at)] {
            if number != 0 {
                write!(f, " {word}={number}")?;
            }
        }
        write!(f, " data={} seed={}", self.data.name(), self.seed)
    }
}

impl FromStr for HeadsCase {
    type Err = String;

    fn from_str(text: &str) -> Result<HeadsCase, String> {
        let mut words: HashMap<&str, &str> = HashMap::new();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if words.insert(key, value).is_some() {
                return Err(format!("{key} is there twice"));
            }
        }
        let mut flag = |name: &str| words.remove(name).is_some_and(str::is_empty);
        let [own, neighbours, behind, before_weight, wide, in_place] =
            ["own", "neighbours", "behind", "beforeweight", "wide", "inplace"].map(&mut flag);
        let mut value = |name: &'static str, usual: Option<&'static str>| {
            words.remove(name).or(usual).ok_or_else(|| format!("{name}= is missing"))
        };
        fn read<T: FromStr>(key: &str, text: &str) -> Result<T, String> {
            text.parse().map_err(|_| format!("'{text}' is no value of {key}"))
        }
        let dtype = |key: &str, text: &str| {
            let found = DType::ALL.into_iter().find(|dtype| dtype.name() == text);
            found.ok_or_else(|| format!("'{text}' is no value of {key}: expected f16, bf16 or f32"))
        };
        let three = |key: &str, text: &'_ str| -> Result<[String; 3], String> {
            let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
            parts
                .try_into()
                .map_err(|_| format!("'{text}' is no value of {key}: expected three, with commas"))
        };
        if value("op", None)? != "qkrope" {
            return Err("op=qkrope is missing".to_owned());
        }
        let heads = three("heads", value("heads", None)?)?;
        let heads = heads.each_ref().map(|text| read("heads", text));
        let [q, k, v] = heads;
        let norms = three("norms", value("norms", Some("-,-,-"))?)?;
        let norm = |text: &String| match text.as_str() {
            "-" => Ok(None),
            "rms" => Ok(Some(NormKind::Rms)),
            "layer" => Ok(Some(NormKind::Layer)),
            _ => Err(format!("'{text}' is no value of norms: expected rms, layer or -")),
        };
        let [nq, nk, nv] = norms.each_ref().map(norm);
        let x = dtype("x", value("x", None)?)?;
        let eps: f32 = read("eps", value("eps", Some("1e-6"))?)?;
        let weight_offset: f32 = read("offset", value("offset", Some("0"))?)?;
        let tokens = read("tokens", value("tokens", None)?)?;
        let dim = read("dim", value("dim", None)?)?;
        let pairs = read("pairs", value("pairs", Some("0"))?)?;
        let table = value("table", Some(""))?;
        let table = if table.is_empty() { x } else { dtype("table", table)? };
        let rotation = value("rotation", Some("single"))?;
        let rounding = RopeRounding::ALL.into_iter().find(|rounding| rounding.name() == rotation);
        let data = value("data", Some("normal"))?;
        let pattern = ValuePattern::ALL.into_iter().find(|pattern| pattern.name() == data);
        let [gap, at] = ["gap", "at"].map(|key| value(key, Some("0")).and_then(|text| read(key, text)));
        let seed = read("seed", value("seed", Some("0"))?)?;
        let w = words.remove("w").map(|text| dtype("w", text)).transpose()?;
        if let Some(word) = words.keys().next() {
            return Err(format!("'{word}' is not a part of such a case"));
        }
        if !(eps.is_finite() && eps >= 0.0 && weight_offset.is_finite()) {
            return Err("eps is a number of 0 or more, offset a finite one".to_owned());
        }
        let case = HeadsCase {
            heads: [q?, k?, v?],
            tokens,
            dim,
            x,
            w,
            own,
            norms: [nq?, nk?, nv?],
            eps,
            weight_offset,
            pairs,
            pairing: if neighbours { Pairing::Neighbours } else { Pairing::Halves },
            table,
            behind,
            before_weight,
            rounding: rounding.ok_or_else(|| format!("'{rotation}' is no value of rotation"))?,
            gap: gap?,
            at: at?,
            wide,
            in_place,
            data: pattern.ok_or_else(|| format!("'{data}' is no value of data"))?,
            seed,
        };
        case.invalid_reason().map_or(Ok(case), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back_and_reach_every_choice() {
        let cases: Vec<HeadsCase> = (0..600).map(|index| HeadsCase::random(1, index)).collect();
        for case in &cases {
            assert_eq!(case.to_string().parse(), Ok(case.clone()), "{case}");
            for simpler in case.simpler() {
                assert_eq!(simpler.to_string().parse(), Ok(simpler.clone()), "{case}");
            }
        }
        let some = |found: &dyn Fn(&HeadsCase) -> bool| cases.iter().any(found);
        for rounding in RopeRounding::ALL {
            for pairing in Pairing::ALL {
                assert!(some(&|case| case.rounding == rounding && case.pairing == pairing && case.pairs > 0));
            }
        }
        for dtype in DType::ALL {
            assert!(some(&|case| case.x == dtype && case.w == Some(dtype) && case.table == dtype));
            assert!(some(&|case| case.x == dtype && case.w == Some(DType::F32)));
        }
        assert!(some(&|case| case.tokens > 1000), "threads that go through several heads");
        assert!(some(&|case| case.tokens == 0) && some(&|case| case.at > 0) && some(&|case| case.own));
        assert!(some(&|case| case.behind && case.norms.contains(&Some(NormKind::Layer))));
    }

    #[test]
    fn wrong_texts_are_explained() {
        let good = HeadsCase::SIMPLEST.to_string();
        let error = |from: &str, to: &str| good.replace(from, to).parse::<HeadsCase>().unwrap_err();
        assert_eq!(
            error("heads=1,0,0", "heads=1,0"),
            "'1,0' is no value of heads: expected three, with commas"
        );
        assert_eq!(error("heads=1,0,0", "heads=0,1,0"), "there are no queries");
        assert_eq!(error("x=f32", "x=f32 x=f16"), "x is there twice");
        assert_eq!(error("pairs=0", "pairs=9"), "there are more pairs than a head has");
        assert_eq!(error("eps", "epsilon"), "'epsilon' is not a part of such a case");
        assert_eq!(error("tokens=1", ""), "tokens= is missing");
    }
}
