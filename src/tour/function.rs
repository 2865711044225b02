//! The seven functions.

use norm_host::NormKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    RmsNorm,
    RmsNormInPlace,
    RmsNormTp,
    LayerNorm,
    LayerNormInPlace,
    HeadNorm,
    HeadNormInPlace,
}

impl Function {
    pub const ALL: [Function; 7] = [
        Function::RmsNorm,
        Function::RmsNormInPlace,
        Function::RmsNormTp,
        Function::LayerNorm,
        Function::LayerNormInPlace,
        Function::HeadNorm,
        Function::HeadNormInPlace,
    ];

    /// Its name in Rust.
    pub fn name(self) -> &'static str {
        match self {
            Function::RmsNorm => "rms_norm",
            Function::RmsNormInPlace => "rms_norm_",
            Function::RmsNormTp => "rms_norm_tp",
            Function::LayerNorm => "layer_norm",
            Function::LayerNormInPlace => "layer_norm_",
            Function::HeadNorm => "head_norm",
            Function::HeadNormInPlace => "head_norm_",
        }
    }

    /// Head norms are shown as models use them, on queries and keys: RMS.
    pub fn kind(self) -> NormKind {
        match self {
            Function::LayerNorm | Function::LayerNormInPlace => NormKind::Layer,
            _ => NormKind::Rms,
        }
    }

    /// Whether each head has its own weights.
    pub fn heads(self) -> bool {
        matches!(self, Function::HeadNorm | Function::HeadNormInPlace)
    }

    pub fn in_place(self) -> bool {
        matches!(
            self,
            Function::RmsNormInPlace | Function::LayerNormInPlace | Function::HeadNormInPlace
        )
    }

    /// Whether it is shown with a bias.
    pub fn bias(self) -> bool {
        self.kind() == NormKind::Layer
    }
}
