//! Memory and streams of cudarc, cust and candle: of which device they are, and who waits for whom.

use super::faults;
use super::programs::{CANDLE, CUDARC, DRIVER};

faults! {
    in "norm-host/src/for_cudarc.rs" by CUDARC {
        "every stream of cudarc's is of device 0": value "u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX)" => "0";
        "all memory of cudarc's is of device 0": value "Place::Cuda(«ordinal(stream)»)" => "0";
        "memory of cudarc's is of the next device": value "Place::Cuda(«ordinal(stream)»)" => "ordinal(stream) + 1";
        "streams of cudarc's are of device 0": value "Device::new(«ordinal(stream)»)" => "0";
        "a view's event is recorded at once": value "Tracked { view, _event: «event» }" => "{\n            drop(event);\n            SyncOnDrop::Sync(None)\n        }";
    }
    in "norm-host/src/for_cust.rs" by DRIVER {
        "every context of cust's is of device 0": value "ordinal.unsigned_abs()" => "0";
        "all memory of cust's is of device 0": value "u32::try_from(«ordinal»).map(Place::Cuda)" => "0";
        "a part of cust's memory ends one element too late": value "buffer.len() as u64" => "buffer.len() as u64 + 1";
    }
    in "norm-host/src/for_candle/cpu.rs" by CANDLE {
        "a part of candle's memory is read from its beginning": value "elements.get(at.offset..).unwrap_or_default()" => "elements";
        "a part of candle's memory is written from its beginning": value "elements.get_mut(at.offset..).unwrap_or_default()" => "elements.get_mut(0..).unwrap_or_default()";
    }
}
