//! Times of a block's work, by the clock of the device that does it.

use std::time::Instant;

#[cfg(feature = "cuda")]
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, sys::CUevent_flags};
use candle_core::{DType, Device, Result, Tensor};

use crate::decoder::Watch;

/// Points in time between pieces of work.
pub enum Marks {
    /// On the CPU, where a call returns when its work is done: the host's clock.
    Host(Vec<Instant>),
    /// On a CUDA device: events in its stream, which the device records when it has done the work in front of them.
    #[cfg(feature = "cuda")]
    Stream(std::sync::Arc<CudaStream>, Vec<CudaEvent>),
}

impl Marks {
    /// No marks yet.
    pub fn new(device: &Device) -> Marks {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Marks::Stream(device.cuda_stream(), vec![]),
            _ => Marks::Host(vec![]),
        }
    }

    /// Marks the end of the work that has been enqueued so far.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub fn mark(&mut self) -> Result<()> {
        match self {
            Marks::Host(moments) => moments.push(Instant::now()),
            // By default cudarc's events record no time.
            #[cfg(feature = "cuda")]
            Marks::Stream(stream, events) => events.push(
                stream
                    .record_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
                    .map_err(candle_core::Error::wrap)?,
            ),
        }
        Ok(())
    }

    /// Whether the device has reached the first mark.
    pub fn has_begun(&self) -> bool {
        match self {
            Marks::Host(moments) => !moments.is_empty(),
            #[cfg(feature = "cuda")]
            Marks::Stream(_, events) => events.first().is_some_and(CudaEvent::is_complete),
        }
    }

    /// The seconds between each mark and the next. Waits until the device has reached all of them.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub fn intervals(&self) -> Result<Vec<f64>> {
        match self {
            Marks::Host(moments) => {
                Ok(moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect())
            }
            #[cfg(feature = "cuda")]
            Marks::Stream(_, events) => events
                .windows(2)
                .map(|pair| {
                    let milliseconds = pair[0].elapsed_ms(&pair[1]).map_err(candle_core::Error::wrap)?;
                    Ok(f64::from(milliseconds) / 1e3)
                })
                .collect(),
        }
    }
}

/// Marks in front of each norm and behind it, so that every second interval is a norm.
impl Watch for Marks {
    fn norm<T>(&mut self, norm: impl FnOnce() -> Result<T>) -> Result<T> {
        self.mark()?;
        let result = norm()?;
        self.mark()?;
        Ok(result)
    }
}

/// Work in front of what is timed. A CUDA device is still busy with it when the host has enqueued all the rest, so that the
/// device never waits for the host while it is timed.
pub struct Ahead {
    matrix: Option<Tensor>,
    products: usize,
}

impl Ahead {
    /// Work of a few milliseconds on a CUDA device; none on the CPU, where nothing runs asynchronously.
    ///
    /// # Errors
    ///
    /// candle's.
    pub fn new(device: &Device) -> Result<Ahead> {
        let zeros = || Tensor::zeros((8192, 8192), DType::F16, device);
        Ok(Ahead { matrix: device.is_cuda().then(zeros).transpose()?, products: 8 })
    }

    /// Runs `work` and returns its marks. Repeats it, behind more work in front, until the host has enqueued all of it before
    /// the device has begun with it.
    ///
    /// # Errors
    ///
    /// Those of `work`, and one if the host is slower than any amount of work in front.
    pub fn of(&mut self, device: &Device, mut work: impl FnMut(&mut Marks) -> Result<()>) -> Result<Marks> {
        loop {
            if let Some(matrix) = &self.matrix {
                for _ in 0..self.products {
                    matrix.matmul(matrix)?;
                }
            }
            let mut marks = Marks::new(device);
            work(&mut marks)?;
            if self.matrix.is_none() || !marks.has_begun() {
                return Ok(marks);
            }
            self.products *= 2;
            if self.products > 1024 {
                candle_core::bail!("something in what is timed makes the host wait for the device");
            }
        }
    }
}
