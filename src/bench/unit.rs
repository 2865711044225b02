//! The unit in which throughputs are printed.

use super::record::Record;

/// A unit of throughput: TB/s for a device, GB/s for a CPU.
#[derive(Clone, Copy)]
pub struct Unit {
    pub name: &'static str,
    /// How many of this unit are 1 TB/s.
    pub of_tb_s: f64,
    /// Digits behind the decimal point.
    decimals: usize,
}

impl Unit {
    /// The unit of a record's device.
    pub fn of(record: &Record) -> Unit {
        match record.device.place.as_str() {
            "cpu" => Unit { name: "GB/s", of_tb_s: 1e3, decimals: 1 },
            _ => Unit { name: "TB/s", of_tb_s: 1.0, decimals: 3 },
        }
    }

    /// A throughput in this unit, without the unit's name.
    pub fn text(self, tb_s: f64) -> String {
        format!("{:.*}", self.decimals, tb_s * self.of_tb_s)
    }
}
