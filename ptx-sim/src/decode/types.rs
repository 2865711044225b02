//! Types that instructions name.

use crate::text::registers::Class;

macro_rules! types {
    ($($variant:ident $name:literal $class:ident,)*) => {
        /// A type, as in `add.f32`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Type {
            $($variant,)*
        }

        impl Type {
            pub fn parse(word: &str) -> Option<Type> {
                Some(match word {
                    $($name => Type::$variant,)*
                    _ => return None,
                })
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Type::$variant => $name,)*
                }
            }

            /// The registers that hold it.
            pub fn class(self) -> Class {
                match self {
                    $(Type::$variant => Class::$class,)*
                }
            }
        }
    };
}

types! {
    Pred "pred" Predicate,
    B8 "b8" Half,
    U8 "u8" Half,
    S8 "s8" Half,
    B16 "b16" Half,
    U16 "u16" Half,
    S16 "s16" Half,
    F16 "f16" Half,
    Bf16 "bf16" Half,
    E4m3x2 "e4m3x2" Half,
    E5m2x2 "e5m2x2" Half,
    B32 "b32" Word,
    U32 "u32" Word,
    S32 "s32" Word,
    F32 "f32" Word,
    F16x2 "f16x2" Word,
    Bf16x2 "bf16x2" Word,
    B64 "b64" Wide,
    U64 "u64" Wide,
    S64 "s64" Wide,
    F64 "f64" Wide,
}

impl Type {
    /// Bits of a value.
    pub fn bits(self) -> u32 {
        match self {
            Type::Pred => 1,
            Type::B8 | Type::U8 | Type::S8 => 8,
            _ => match self.class() {
                Class::Wide => 64,
                Class::Word => 32,
                Class::Half | Class::Predicate => 16,
            },
        }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    pub fn is_float(self) -> bool {
        matches!(
            self,
            Type::F16
                | Type::Bf16
                | Type::F32
                | Type::F64
                | Type::F16x2
                | Type::Bf16x2
                | Type::E4m3x2
                | Type::E5m2x2
        )
    }
}
