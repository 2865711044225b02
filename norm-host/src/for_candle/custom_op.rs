//! What candle asks of an operation on one tensor, for those whose `forward` serves the storage of every device.

/// Implements [`CustomOp1`](candle_core::CustomOp1) by the type's `forward`, under the name of its norm.
macro_rules! custom_op {
    ($operation:ident) => {
        impl candle_core::CustomOp1 for $operation<'_> {
            fn name(&self) -> &'static str {
                self.norm.settings.name()
            }

            fn cpu_fwd(
                &self,
                x: &candle_core::CpuStorage,
                layout: &candle_core::Layout,
            ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
                self.forward(x, layout)
            }

            #[cfg(feature = "candle-cuda")]
            fn cuda_fwd(
                &self,
                x: &candle_core::CudaStorage,
                layout: &candle_core::Layout,
            ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
                self.forward(x, layout)
            }
        }
    };
}
pub(super) use custom_op;
