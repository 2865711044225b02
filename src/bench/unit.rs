//! What throughputs are printed in.

use super::record::Record;

/// What throughputs are given in: a device's in TB/s, a CPU's in GB/s.
#[derive(Clone, Copy)]
pub struct Unit {
    pub name: &'static str,
    pub of_tb_s: f64,
    decimals: usize,
}

impl Unit {
    pub fn of(record: &Record) -> Unit {
        match record.device.place.as_str() {
            "cpu" => Unit { name: "GB/s", of_tb_s: 1e3, decimals: 1 },
            _ => Unit { name: "TB/s", of_tb_s: 1.0, decimals: 3 },
        }
    }

    /// A throughput, without the unit's name.
    pub fn text(self, tb_s: f64) -> String {
        format!("{:.*}", self.decimals, tb_s * self.of_tb_s)
    }
}
