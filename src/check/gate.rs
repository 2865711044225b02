//! The gate of a case of `norm check`: what it does, where it lies, and its words in the case's text.

use norm_host::{Activation, DType, GateOrder, Gating};
use norm_kernels::abi::GatedKernel;

use super::case::{MAX_LEADING, Placement};

/// A gate that multiplies the norm, or what is normalized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateForm {
    pub gating: Gating,
    pub g: Placement,
}

impl GateForm {
    /// The text of its words, each with a blank in front: `gate=silu,norm-first,f16 [ggap=8,0,3] [gat=2]`.
    pub fn words(&self) -> String {
        let GateForm { gating: Gating { activation, order }, g: Placement { dtype, gaps, at } } = self;
        let mut words = format!(" gate={},{},{dtype}", activation.name(), order.name());
        if *gaps != [0; MAX_LEADING] {
            let [a, b, c] = gaps;
            words += &format!(" ggap={a},{b},{c}");
        }
        if *at != 0 {
            words += &format!(" gat={at}");
        }
        words
    }

    /// The value of the word `gate`; `None` if it is none.
    pub fn parse(value: &str) -> Option<(Gating, DType)> {
        let [activation, order, dtype] = value.split(',').collect::<Vec<_>>().try_into().ok()?;
        let activation = Activation::ALL.into_iter().find(|known| known.name() == activation)?;
        let order = GateOrder::ALL.into_iter().find(|known| known.name() == order)?;
        let dtype = DType::ALL.into_iter().find(|known| known.name() == dtype)?;
        Some((Gating { activation, order }, dtype))
    }

    /// Whether there are kernels for a gate of this type beside these types of `x`, `w` and `y`.
    pub fn fits(&self, x: DType, w: Option<DType>, y: DType) -> bool {
        let gate = self.g.dtype;
        let fits_x = x == gate || x == DType::F32;
        x == y
            && fits_x
            && w.is_none_or(|w| if x == DType::F32 { w == gate } else { GatedKernel::takes(x, w) })
    }
}
