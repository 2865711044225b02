//! The command line, as it is typed: the real binary, its output, its files and its exit status.

#[path = "cli/apply.rs"]
mod apply;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/destination.rs"]
mod destination;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/driver.rs"]
mod driver;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/file.rs"]
mod file;
#[path = "cli/formats.rs"]
mod formats;
#[path = "cli/large.rs"]
mod large;
#[path = "../cuda-driver/tests/mock/mod.rs"]
mod mock;
#[path = "cli/names.rs"]
mod names;
#[path = "cli/pipe.rs"]
mod pipe;
#[path = "cli/ptx.rs"]
mod ptx;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/shapes.rs"]
mod shapes;
#[path = "cli/sharded.rs"]
mod sharded;
#[path = "cli/sim.rs"]
mod sim;
#[path = "cli/suggestions.rs"]
mod suggestions;
#[path = "cli/tensors.rs"]
mod tensors;
#[path = "cli/text.rs"]
mod text;
#[path = "cli/tour.rs"]
mod tour;
