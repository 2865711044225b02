//! The seven functions that the tour calls.

use norm_host::NormKind;

/// One of the seven functions.
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

    /// The name of the Rust function.
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

    /// The kind of norm. Head norms are RMSNorms, as models apply them to queries and keys.
    pub fn kind(self) -> NormKind {
        match self {
            Function::LayerNorm | Function::LayerNormInPlace => NormKind::Layer,
            _ => NormKind::Rms,
        }
    }

    /// Whether the norm is over heads, each with its own weights.
    pub fn heads(self) -> bool {
        matches!(self, Function::HeadNorm | Function::HeadNormInPlace)
    }

    pub fn in_place(self) -> bool {
        matches!(self, Function::RmsNormInPlace | Function::LayerNormInPlace | Function::HeadNormInPlace)
    }

    /// Whether the tour calls it with a bias.
    pub fn bias(self) -> bool {
        self.kind() == NormKind::Layer
    }
}
