//! What the driver is asked for: attributes of a launch, captures, waits; and which of its errors mean that all is lost.

use super::faults;
use super::programs::{DRIVER, FAILURES, ORDER, RANKS};

faults! {
    in "norm-host/src/launch.rs" by DRIVER {
        "overlap(false) is ignored": value "if overlap { 0 } else { 1 }" => "0";
        "launches never overlap": value "if overlap { 0 } else { 1 }" => "1";
        "attributes of 9.0 for every device": value "if «device.profile().dependent_launch» {" => "true";
        "no attribute of a cluster": value "if cluster > 1 { 2 } else { 1 }" => "1";
        "a gated norm overlaps, whatever it is told": value "(plan.cluster, «plan.overlap»), &mut params) }\n}\n\n/// Enqueues the kernel of a norm whose output is quantized" => "true";
        "a quantized norm overlaps, whatever it is told": value "(1, «plan.overlap»), &mut params) }\n}\n\n/// Enqueues the kernel of a step of a norm" => "true";
        "heads are rotated beside what is in front, whatever is told": value "(1, «plan.overlap»), &mut params) }\n}\n\n/// Enqueues a rank's kernel" => "true";
    }
    in "norm-host/src/launch.rs" by RANKS {
        "a rank overlaps, whatever it is told": value "(1, «plan.overlap»), &mut params) }\n}\n\n/// Enqueues the kernel of a plan with" => "true";
    }
    in "norm-host/src/graph.rs" by DRIVER {
        "a capture begins in global mode": value "CaptureMode::ThreadLocal" => "CaptureMode::Global";
        "a capture begins in relaxed mode": value "CaptureMode::ThreadLocal" => "CaptureMode::Relaxed";
        "a graph is launched on any device": value "*on.device() != self.device" => "false";
        "a capture that fails goes on": value "        if «self.running» {" => "false";
        "a graph is not destroyed": statement "let _ = unsafe { self.device.driver().graph_exec_destroy(self.exec) };" => "";
        "a captured graph is not destroyed": statement "let _ = unsafe { self.device.driver().graph_destroy(self.raw) };" => "";
    }
    in "norm-host/src/device/kernels.rs" by DRIVER {
        "no module is loaded while a stream is captured": value "CaptureMode::Relaxed" => "CaptureMode::ThreadLocal";
        "the mode of captures stays relaxed": statement "let _ = self.driver.exchange_capture_mode(self.before);" => "";
    }
    in "norm-host/src/device/lost.rs" by FAILURES {
        "memory that failed loses nothing": value "FATAL.contains(&code)" => "code != 214 && FATAL.contains(&code)";
        "a link that failed loses nothing": value "FATAL.contains(&code)" => "code != 220 && FATAL.contains(&code)";
        "an address of nobody loses nothing": value "FATAL.contains(&code)" => "code != 700 && FATAL.contains(&code)";
        "a kernel that took too long loses nothing": value "FATAL.contains(&code)" => "code != 702 && FATAL.contains(&code)";
        "a context that is gone loses nothing": value "FATAL.contains(&code)" => "code != 709 && FATAL.contains(&code)";
        "an assertion loses nothing": value "FATAL.contains(&code)" => "code != 710 && FATAL.contains(&code)";
        "a stack that failed loses nothing": value "FATAL.contains(&code)" => "code != 714 && FATAL.contains(&code)";
        "an illegal instruction loses nothing": value "FATAL.contains(&code)" => "code != 715 && FATAL.contains(&code)";
        "a misaligned address loses nothing": value "FATAL.contains(&code)" => "code != 716 && FATAL.contains(&code)";
        "another address space loses nothing": value "FATAL.contains(&code)" => "code != 717 && FATAL.contains(&code)";
        "a program counter of nothing loses nothing": value "FATAL.contains(&code)" => "code != 718 && FATAL.contains(&code)";
        "a kernel that failed loses nothing": value "FATAL.contains(&code)" => "code != 719 && FATAL.contains(&code)";
        "a lack of resources loses all": value "FATAL.contains(&code)" => "code == 701 || FATAL.contains(&code)";
        "a loss while a device is opened is another error": value "Error::Driver { call, code, name } if «is_fatal(code)» =>" => "code == 719";
    }
    in "norm-host/src/stream.rs" by ORDER {
        "a stream does not wait for another": value "self.wait_for(&Event::after(other)?)" => "Event::after(other).map(drop)";
    }
    in "norm-host/src/stream/event.rs" by ORDER {
        "an event is not recorded": statement "device.check(unsafe { device.driver().event_record(event.raw, stream.raw) })?;" => "";
    }
    in "norm-host/src/tp.rs" by ORDER {
        "a group does not wait for a stream": value "self.each(|stream| stream.wait_for(&event))" => "Ok(())";
        "a stream does not wait for a group": value "self.each(|stream| other.wait(stream))" => "Ok(())";
    }
    in "tests/simulated/order.rs" by ORDER {
        "a test's second stream waits for nothing": value "if «waits» {" => "false";
        "a test's second stream always waits": value "if «waits» {" => "true";
        "a test of the order of streams is not alone": text "fn a_stream_that_does_not_wait_reads_what_was_there() -> Result<(), Failed> {\n    let _alone = «alone()»;" => "()";
    }
    in "norm-host/src/stream.rs" by DRIVER {
        "a stream of another device": value "context != device.context()" => "context.is_null()";
    }
}
