//! What arguments are held to, and what stands in files.

use super::faults;
use super::programs::{APPLY, CHECKS, DRIVER, MISUSE, SHARDED};

faults! {
    in "norm-host/src/check/sharded.rs" by SHARDED {
        "sums that overlap y": statement "overlap::apart((Arg::Sums, sums), (Arg::Y, y))?;" => "";
        "sums that overlap x": statement "overlap::apart((Arg::X, x), (Arg::Sums, sums))?;" => "";
        "sums with gaps between them": value "fit::dense_rows(Arg::Sums, sums)" => "Ok(())";
        "whole rows of the longest length are refused": value "Ok(dim) if «dim <= MAX_DIM» =>" => "dim < MAX_DIM";
        "whole rows one longer than the longest": value "Ok(dim) if «dim <= MAX_DIM» =>" => "dim <= MAX_DIM + 1";
        "sums of 16 bits": value "sums.dtype != DType::F32" => "false";
        "a whole row shorter than the shard": value "Ok(dim) if «dim < here» =>" => "dim + 1 < here";
    }
    in "norm-host/src/check/fit.rs" by MISUSE {
        "rows of the longest length are refused": value "(_, dim) if «dim > max» =>" => "dim >= max";
        "rows one longer than the longest": value "(_, dim) if «dim > max» =>" => "dim > max + 1";
    }
    in "norm-host/src/device/kernels.rs" by DRIVER {
        "rows of the longest length are not loaded": value "«dim <= MAX_DIM»)" => "dim < MAX_DIM";
        "rows one longer than the longest are loaded": value "«dim <= MAX_DIM»)" => "dim <= MAX_DIM + 1";
    }
    in "norm-host/src/check/dense.rs" by CHECKS {
        "rows of the longest length take the longer way": value "(1..=MAX_DIM).contains(dim)" => "(1..MAX_DIM).contains(dim)";
        "rows one longer than the longest take the shorter way": value "(1..=MAX_DIM).contains(dim)" => "(1..=MAX_DIM + 1).contains(dim)";
    }
    in "src/apply/input/tensor.rs" by APPLY {
        "bf16 is read as f16": value "\"BF16\" => («DType::BF16», false)" => "DType::F16";
        "f16 is read as bf16": value "\"F16\" => («DType::F16», false)" => "DType::BF16";
    }
    in "src/apply/sink/layout.rs" by APPLY {
        "bf16 is written as F16": value "DType::BF16 => «\"BF16\"»" => "\"F16\"";
        "f16 is written as BF16": value "DType::F16 => «\"F16\"»" => "\"BF16\"";
    }
    in "src/apply.rs" by APPLY {
        "weights have the type of x": value "View::from_raw_parts(at.place, address, «tensor.dtype», shape)" => "self.x.dtype";
        "the output has the type of x": value "args.out_dtype.unwrap_or(x.dtype)" => "x.dtype";
        "groups of a row share their weights": value "Form::Groups(_) | Form::Heads => «norm.heads(x, &mut y, on)»" => "norm.rows(x, &mut y, on)";
    }
}
