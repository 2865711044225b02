//! The decoder block gives what it gives with candle's own norms, and decoding what prefill gives.

use std::process::Command;

use candle_core::{DType, Device, Result, Tensor};
use norm_candle::{
    decoder::{Block, Sizes},
    norms::{Candle, Fused, Norms, Ours},
};

const TOKENS: usize = 9;

/// What is in the residual stream behind the block, token by token.
struct Run<'a> {
    block: &'a Block,
    xs: &'a Tensor,
    residual: &'a Tensor,
}

impl Run<'_> {
    /// The tokens in as many steps as there are numbers, each of so many.
    fn forward<N: Norms>(&self, steps: &[usize]) -> Result<Tensor> {
        let mut cache = Block::cache(TOKENS);
        let mut outputs = vec![];
        let mut done = 0;
        for &tokens in steps {
            let part = |tensor: &Tensor| tensor.narrow(1, done, tokens)?.copy();
            let (xs, residual) =
                self.block.forward::<N>(&part(self.xs)?, &part(self.residual)?, &mut cache, &mut ())?;
            outputs.push((xs + residual)?);
            done += tokens;
        }
        Tensor::cat(&outputs, 1)
    }
}

fn apart(a: &Tensor, b: &Tensor) -> Result<f32> {
    (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar()
}

#[test]
fn prefill_and_decode_agree_with_candles_norms() -> Result<()> {
    let sizes = Sizes::SMALL;
    let block = Block::random(sizes, TOKENS, DType::F32, &Device::Cpu)?;
    let random = || Tensor::randn(0_f32, 1.0, (1, TOKENS, sizes.hidden), &Device::Cpu);
    let run = Run { block: &block, xs: &random()?, residual: &random()? };
    let expected = run.forward::<Candle>(&[TOKENS])?;
    assert!(expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()? > 1.0);
    for steps in [&[TOKENS][..], &[TOKENS - 1, 1], &[1; TOKENS], &[4, 3, 1, 1]] {
        for given in
            [run.forward::<Candle>(steps)?, run.forward::<Ours>(steps)?, run.forward::<Fused>(steps)?]
        {
            let apart = apart(&given, &expected)?;
            assert!(apart < 2e-5, "{steps:?}: {apart}");
        }
    }
    Ok(())
}

/// It ends with success only where all norms lead to one result.
#[test]
fn the_example_finds_both_norms_to_agree() {
    let output = Command::new(env!("CARGO_BIN_EXE_decoder-block")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
    let rows = ["prefill", "decode", "candle", "norm-host", "fused", "apart by"].map(count);
    assert_eq!(rows, [1, 1, 2, 2, 2, 2], "{text}");
    let is_row = |line: &&str| ["candle", "norm-host", "fused"].iter().any(|name| line.starts_with(name));
    for row in text.lines().filter(is_row) {
        let columns: Vec<f64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [block, norms, share, host, with_host] = columns[..] else { panic!("{row}") };
        assert!(0.0 < norms && norms < block, "{row}");
        assert!(0.0 < host && host <= with_host, "{row}");
        assert!((share - 100.0 * norms / block).abs() < 1.0, "{row}");
    }
}
