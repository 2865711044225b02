//! Groups of devices: what is checked of each, who waits for whom, and what an error keeps from being done.

use super::faults;
use super::programs::{FAILURES, GROUPS, RANKS};

faults! {
    in "norm-host/src/tp/sharded.rs" by GROUPS {
        "shards of different numbers of rows": value "given != expected" => "false";
        "weights of a shard on another device": value "shard.w.map(|w| w.raw)" => "None";
        "sums of a shard on another device": value "(Arg::Sums, «shard.sums.raw»)].into_iter()" => "shard.x.raw";
        "an output of a shard on another device": value "(Arg::Y, «shard.y.raw»)" => "shard.x.raw";
        "a shard's first step overlaps, whatever it is told": value "first.part.overlap = «norm.overlap»;" => "true";
        "the launches of the first step do not count": value "tp.at(index, «launched», error)" => "index";
        "a group of other streams is not refused": statement "reduce.check(tp)?;" => "";
        "shards longer than the row": value "here > dim" => "here > dim + 24";
    }
    in "norm-host/src/tp/replicated.rs" by GROUPS {
        "weights on another device": value "(Arg::W, «of_device(w)»)" => "None";
        "biases on another device": value "(Arg::B, «of_device(b)»)" => "None";
        "an output on another device": value "(Arg::Y, «Some(y[index].raw)»)" => "None";
        "an input on another device": value "(Arg::X, «Some(x[index].raw)»)" => "None";
        "rows of different shapes": statement "same_shape(&x[0].raw, &x[index].raw)?;" => "";
        "launches that do not count": value "tp.at(index, «index», error)" => "0";
        "a list of biases that is too short": statement "b.map_or(Ok(()), |b| tp.matches(Arg::B, b.len()))?;" => "";
    }
    in "norm-host/src/tp/all_reduce.rs" by RANKS {
        "ranks of different shapes": value "first.layout.shape != x.layout.shape" => "false";
        "a rank's input on another device": value "(Arg::X, «Some(self.x[index].raw)»)" => "None";
        "a rank's residual on another device": value "(Arg::R, «self.r.map(|r| r[index].raw)»)" => "None";
        "a rank's weights on another device": value "(Arg::W, «of(self.w)»)" => "None";
        "a rank's biases on another device": value "(Arg::B, «of(self.b)»)" => "None";
        "a rank's output on another device": value "(Arg::Y, «Some(self.y[index].raw)»)" => "None";
        "a rank's rows of another type": value "(Arg::X, «first.dtype», x.dtype)" => "x.dtype";
        "a rank's outputs of another type": value "(Arg::Y, «x.dtype», y.dtype)" => "y.dtype";
    }
    in "norm-host/src/tp/peers/offer.rs" by GROUPS {
        "offers of all ranks are the same": statement "bytes[32..].copy_from_slice(&handle.reserved);" => "";
        "another's offer at a process's own rank": value "own.is_some_and(|own| «bytes[MARK] != mark(own)»)" => "own.address() == 0";
        "an offer does not say how many blocks a launch has": statement "bytes[16..20].copy_from_slice(&self.blocks.to_le_bytes());" => "";
    }
    in "norm-host/src/nccl/group.rs" by FAILURES {
        "a lost device is not asked about in front of the sum": statement "sums.iter().try_for_each(|sum| sum.stream.device().ensure_live())?;" => "";
        "only the first device is asked about in front of the sum": statement "sums.iter().try_for_each(|sum| sum.stream.device().ensure_live())?;" => "sums.iter().take(1).try_for_each(|sum| sum.stream.device().ensure_live())?;";
        "a lost device is not asked about in front of joining": statement "drop(stream.device().enter()?);" => "";
    }
    in "norm-host/src/nccl/group.rs" by GROUPS {
        "communicators of other devices": value "«given != expected» {\n                return Err(Error::Communicator" => "false";
        "communicators that are too few": value "«given != expected» {\n            return Err(Error::ListLength" => "given > expected";
        "a call that fails is forgotten": value "self.broken.fetch_or(«result.is_err()», Relaxed)" => "false";
    }
    in "norm-host/src/tp.rs" by GROUPS {
        "an error keeps the others from being waited for": statement "first = first.and(stream.synchronize().map_err(|error| self.at(index, 0, error)));" => "stream.synchronize().map_err(|error| self.at(index, 0, error))?;";
        "the last error is returned": statement "first = first.and(stream.synchronize().map_err(|error| self.at(index, 0, error)));" => "first = stream.synchronize().map_err(|error| self.at(index, 0, error)).and(first);";
        "a group's first stream does not wait": value "self.each(|stream| stream.wait_for(&event))" => "self.streams[1..].iter().try_for_each(|stream| stream.wait_for(&event))";
        "a group's last stream is not waited for": value "self.each(|stream| other.wait(stream))" => "self.each(|stream| if stream.device().ordinal() == 1 { Ok(()) } else { other.wait(stream) })";
        "two streams of one device": value "«first.device().place() == place»)" => "first.raw() == stream.raw()";
    }
}
