//! What the stand-in makes of itself: a driver for which CUDA, with which devices, that fails in what.
//!
//! Spelled in words, such as `cuda=11.4 devices=8.7,9.0 apart=0.1 cuInit=803 cuStreamSynchronize@1=719`: the driver's version,
//! the capability of each device there is (at most [`DEVICES`]), pairs of devices of which the first does not reach the memory of
//! the second, and what functions return instead of doing their work,
//! everywhere or where one device's context is current. The variable `NORM_MOCK` has the settings to begin with, for
//! programs that open the stand-in in a process of their own.

use std::collections::HashMap;

use crate::interface::DEVICES;

pub struct Settings {
    pub cuda: (i32, i32),
    /// The capability of each device.
    pub devices: Vec<(i32, i32)>,
    /// Devices of which the first does not reach the memory of the second.
    pub apart: Vec<(i32, i32)>,
    /// By `name` or `name@device`.
    failures: HashMap<String, u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        let mut settings =
            Settings { cuda: (13, 0), devices: vec![(9, 0); DEVICES], apart: Vec::new(), failures: HashMap::new() };
        settings.set(&std::env::var("NORM_MOCK").unwrap_or_default());
        settings
    }
}

impl Settings {
    pub fn set(&mut self, text: &str) {
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').expect("NAME=VALUE");
            match name {
                "cuda" => self.cuda = version(value),
                "devices" => {
                    self.devices = value.split(',').filter(|text| !text.is_empty()).map(version).collect();
                    assert!(self.devices.len() <= DEVICES, "more devices than the stand-in has memory for");
                }
                "apart" => {
                    self.apart = value.split(',').filter(|text| !text.is_empty()).map(version).collect();
                }
                function => self.fail(function.to_owned(), value.parse().expect("a code")),
            }
        }
    }

    /// Lets a function fail with a code from now on; 0 ends that.
    pub fn fail(&mut self, name: String, code: u32) {
        match code {
            0 => drop(self.failures.remove(&name)),
            _ => drop(self.failures.insert(name, code)),
        }
    }

    /// What a function returns instead of doing its work for a device, or for none.
    pub fn failure(&self, function: &str, device: Option<usize>) -> Option<u32> {
        let here = device.and_then(|device| self.failures.get(&format!("{function}@{device}")));
        here.or(self.failures.get(function)).copied()
    }

    /// What the driver refuses a module's text for on a device, if it does: `.version` is newer than it, or `.target` is
    /// newer than the device.
    pub fn refusal(&self, text: &str, device: usize) -> Option<u32> {
        const NO_BINARY_FOR_GPU: u32 = 209;
        const UNSUPPORTED_PTX_VERSION: u32 = 222;
        let value = |directive| text.lines().find_map(|line| line.trim().strip_prefix(directive));
        let newest = match self.cuda {
            // CUDA 12.6 read what 12.5 did.
            (12, minor @ 6..) => (8, minor - 1),
            (major, minor) => (major - 4, minor),
        };
        if value(".version").is_some_and(|given| version(given.trim()) > newest) {
            return Some(UNSUPPORTED_PTX_VERSION);
        }
        let target = value(".target")?.trim().strip_prefix("sm_")?.parse::<i32>().ok()?;
        ((target / 10, target % 10) > self.devices[device]).then_some(NO_BINARY_FOR_GPU)
    }
}

/// Such as `11.4`.
fn version(text: &str) -> (i32, i32) {
    let (major, minor) = text.split_once('.').expect("MAJOR.MINOR");
    (major.parse().expect("a number"), minor.parse().expect("a number"))
}
