//! Errors that say something else: in their texts, and where they are made.

use super::faults;
use super::programs::{FAILURES, GROUPS, PLANS, TEXTS};

faults! {
    in "norm-host/src/error.rs" by TEXTS {
        "blocks and their limit are exchanged": text "expected rows for at most {max} blocks, given rows for {blocks}" => "expected rows for at most {blocks} blocks, given rows for {max}";
        "capabilities are exchanged": text "Arg::Device, «.expected.0, .expected.1, .given.0, .given.1»)]\n    Capability" => ".given.0, .given.1, .expected.0, .expected.1";
        "major and minor are exchanged": text "Arg::Device, «.expected.0, .expected.1», .given.0, .given.1)]\n    Capability" => ".expected.1, .expected.0";
        "a stream's index and launches are exchanged": text "stream {index} ({place}), after {launched} launches" => "stream {launched} ({place}), after {index} launches";
        "drivers are exchanged": text ".expected.0, .expected.1, .given.0, .given.1\n    )]\n    DriverTooOld" => ".given.0, .given.1, .expected.0, .expected.1\n    )]\n    DriverTooOld";
        "ordinals and their number are exchanged": text "ordinals(*.ordinal, *.count)" => "ordinals(*.count, *.ordinal)";
        "streams of one device are exchanged": text "given {first} and {second}, both" => "given {second} and {first}, both";
        "the code of a driver's error is left out": text "#[error(\"{call} failed: {name}« ({code})»\")]\n    Driver {" => "";
    }
    in "norm-host/src/plan.rs" by PLANS {
        "too many blocks are told as the limit": value "Error::GridTooLarge { arg: Arg::X, blocks: most, max: MAX_GRID }" => "Error::GridTooLarge { arg: Arg::X, blocks: MAX_GRID, max: most }";
    }
    in "norm-host/src/ptx.rs" by FAILURES {
        "the device's capability is told as the kernels'": value "Error::Capability { expected: lowest.capability, given: capability }" => "Error::Capability { expected: capability, given: lowest.capability }";
    }
    in "norm-host/src/device/fit.rs" by FAILURES {
        "the driver's version is told as the kernels'": value "if driver < expected => Err(«Error::DriverTooOld { expected, given: driver }»)" => "Error::DriverTooOld { expected: driver, given: expected }";
    }
    in "norm-host/src/tp.rs" by GROUPS {
        "launches are told as the index": value "Error::Tp { index, place, launched, source: Box::new(source) }" => "Error::Tp { index: launched, place, launched: index, source: Box::new(source) }";
        "the place of the first stream is told": value "self.streams[index].device().place()" => "self.streams[0].device().place()";
    }
    in "norm-host/src/device.rs" by FAILURES {
        "the number of devices is told as the ordinal": value "Error::NoDevice { ordinal, count }" => "Error::NoDevice { ordinal: count, count: ordinal }";
    }
}
