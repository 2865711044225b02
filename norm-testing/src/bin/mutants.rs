//! `cargo xtask mutants kernels`: plants changes in kernels, and prints what became of them.

use std::process::ExitCode;
use std::{env, thread};

use norm_testing::mutants::operator::Operator;
use norm_testing::mutants::{Options, run};

fn main() -> ExitCode {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut options = Options {
        count: 2000,
        seed: 1,
        threads,
        kernel: String::new(),
        only: Vec::new(),
        minutes: 600,
        operator: None,
        cases: 2000,
        ptxas: norm_build::ptxas::find().ok(),
    };
    let mut arguments = env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        let number = value.parse();
        match (name.as_str(), number) {
            ("--count", Ok(number)) => options.count = number,
            ("--seed", Ok(number)) => options.seed = number,
            ("--cases", Ok(number)) => options.cases = number,
            ("--threads", Ok(number)) => options.threads = number as usize,
            ("--minutes", Ok(number)) => options.minutes = number,
            ("--only", _) => options.only = value.split(',').filter_map(|index| index.parse().ok()).collect(),
            ("--kernel", _) => options.kernel = value,
            ("--operator", _) => {
                options.operator = Operator::ALL.into_iter().find(|known| known.name() == value)
            }
            _ => {
                eprintln!(
                    "expected --count, --seed, --cases, --threads, --minutes, --only, --kernel or --operator, given {name} \
                     {value}"
                );
                return ExitCode::from(2);
            }
        }
    }
    match run(&options) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
