//! A table of function pointers, for a list of the driver's functions.

/// Defines a struct with one function pointer for each line `name(argument: type, ...);`, and its `load`, which looks all of
/// them up in a library. A function that the library lacks is `None`.
///
/// Every function of the driver returns a `CUresult`, which is a plain number here: newer drivers return codes that the enum
/// does not have, and an enum with such a value is undefined behaviour.
macro_rules! functions {
    ($(#[$meta:meta])* struct $table:ident;
     $($name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {
        $(#[$meta])*
        #[allow(non_snake_case)]
        pub(crate) struct $table {
            $(pub(crate) $name: Option<unsafe extern "C" fn($($type),*) -> u32>,)*
        }

        impl $table {
            /// # Safety
            /// The library's functions of these names have these types, and it stays open for as
            /// long as the table is used.
            pub(crate) unsafe fn load(library: &libloading::Library) -> Self {
                Self {
                    // SAFETY: the caller guarantees that the library's function of this name has this type.
                    $($name: unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                        .ok()
                        .map(|symbol| *symbol),)*
                }
            }
        }
    };
}

pub(crate) use functions;
