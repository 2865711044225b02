//! The command line, as it is typed: the real binary, its output, its files and its exit status.

mod apply;
mod bench;
mod check;
mod destination;
mod doctor;
mod driver;
mod errors;
mod file;
mod formats;
mod large;
mod mutants;
mod names;
mod pipe;
mod ptx;
mod quantize;
mod report;
mod run;
mod shapes;
mod sharded;
mod sim;
mod suggestions;
mod tensors;
mod text;
mod tour;
