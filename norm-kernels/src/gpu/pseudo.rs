//! Pseudo-instructions: what depends on the types that an entry point leaves open.
//!
//! They pass through the compiler as `asm!` and are no PTX until the host expands them for the types of x, w and y.
//! `norm_host::ptx::specialize` has the table of their meanings, beside the code that expands them. All outputs are written, on every
//! path. Arithmetic is `pure, nomem`; loads and stores count as touching any memory.

use super::asm;

/// `norm.unpack`: the two elements of a word.
macro_rules! unpack {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function(word: u32) -> [f32; 2] {
            let (low, high);
            // SAFETY: register arithmetic.
            unsafe {
                asm!(
                    concat!($instruction, " {{{low}, {high}}}, {word};"),
                    low = out(reg32) low,
                    high = out(reg32) high,
                    word = in(reg32) word,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            [low, high]
        }
    };
}

unpack! {
    /// The two elements of x in a word, the one in the lower half first.
    unpack_x: "norm.unpack.x"
}
unpack! {
    /// The two weights or biases in a word, the one in the lower half first.
    unpack_w: "norm.unpack.w"
}

/// Two elements of x in a word, rounded to nearest even.
#[inline(always)]
pub fn pack_x([low, high]: [f32; 2]) -> u32 {
    let word;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "norm.pack.x {word}, {{{low}, {high}}};",
            word = out(reg32) word,
            low = in(reg32) low,
            high = in(reg32) high,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    word
}

/// Two elements of x, f16 held to ±65504, bf16 as they are; NaN stays NaN.
#[inline(always)]
pub fn clamp_x(word: u32) -> u32 {
    let clamped;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "norm.clamp.x {clamped}, {word};",
            clamped = out(reg32) clamped,
            word = in(reg32) word,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    clamped
}

/// The upper words of two f64, the lower ones being zero, that have exponent and mantissa of the elements of x in a
/// word: they count in [`unit_x`].
///
/// A number, subnormal or not, times the power of two that the exponents' biases differ by. Five integer
/// instructions a word, where two conversions occupy a unit that has an eighth of the throughput: LayerNorm at 8192 f16 takes 0.95 instead of 0.80
/// of a copy's bandwidth, at 16384 0.90 instead of 0.54 (NVIDIA H200, 2026-11-23).
#[inline(always)]
pub fn widen_x(word: u32) -> [u32; 2] {
    let (low, high);
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "norm.widen.x {{{low}, {high}}}, {word};",
            low = out(reg32) low,
            high = out(reg32) high,
            word = in(reg32) word,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [low, high]
}

/// What [`widen_x`] counts in.
#[inline(always)]
pub fn unit_x() -> f64 {
    let unit;
    // SAFETY: register arithmetic.
    unsafe {
        asm!("norm.unit.x {unit};", unit = out(reg64) unit, options(pure, nomem, nostack, preserves_flags))
    }
    unit
}

/// Two weights of one.
#[inline(always)]
pub fn ones_w() -> u32 {
    let word;
    // SAFETY: register arithmetic.
    unsafe {
        asm!("norm.ones.w {word};", word = out(reg32) word, options(pure, nomem, nostack, preserves_flags))
    }
    word
}

/// Stores two words of clamped elements of x, if the type of x is one that is clamped.
///
/// # Safety
/// As [`st_shared_v2`](super::st_shared_v2).
#[inline(always)]
pub unsafe fn st_clamped_x_v2(slot: u32, [a, b]: [u32; 2]) {
    // SAFETY: the caller keeps the place in this thread's shared memory.
    unsafe {
        asm!(
            "norm.st_clamped.x.v2 [{slot}], {{{a}, {b}}};",
            slot = in(reg32) slot,
            a = in(reg32) a,
            b = in(reg32) b,
            options(nostack, preserves_flags)
        )
    }
}

/// Stores four words of clamped elements of x, if the type of x is one that is clamped.
///
/// # Safety
/// As [`st_shared_v4`](super::st_shared_v4).
#[inline(always)]
pub unsafe fn st_clamped_x_v4(slot: u32, [a, b, c, d]: [u32; 4]) {
    // SAFETY: the caller keeps the place in this thread's shared memory.
    unsafe {
        asm!(
            "norm.st_clamped.x.v4 [{slot}], {{{a}, {b}, {c}, {d}}};",
            slot = in(reg32) slot,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// Bytes of so many elements of y.
#[inline(always)]
pub fn bytes_y(elements: u64) -> u64 {
    let bytes;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "norm.bytes.y {bytes}, {elements};",
            bytes = out(reg64) bytes,
            elements = in(reg64) elements,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    bytes
}

/// Bytes of so many elements of y, which are part of a row: one instruction, where [`bytes_y`] takes two.
#[inline(always)]
pub fn offset_y(elements: u32) -> u64 {
    let bytes;
    // SAFETY: register arithmetic.
    unsafe {
        asm!(
            "norm.offset.y {bytes}, {elements};",
            bytes = out(reg64) bytes,
            elements = in(reg32) elements,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    bytes
}

/// Rounds an element of y to nearest even and stores it.
///
/// # Safety
/// `address` is that of a writable element in global memory.
#[inline(always)]
pub unsafe fn st_y(address: u64, value: f32) {
    // SAFETY: the caller keeps the address that of an element in global memory.
    unsafe {
        asm!(
            "norm.st.y [{address}], {value};",
            address = in(reg64) address,
            value = in(reg32) value,
            options(nostack, preserves_flags)
        )
    }
}

/// Loads an element of y.
///
/// # Safety
/// `address` is that of a readable element in global memory.
#[inline(always)]
pub unsafe fn ld_y(address: u64) -> f32 {
    let value;
    // SAFETY: the caller keeps the address that of an element in global memory.
    unsafe {
        asm!(
            "norm.ld.y {value}, [{address}];",
            value = out(reg32) value,
            address = in(reg64) address,
            options(nostack, preserves_flags)
        )
    }
    value
}

/// Rounds four elements of y to nearest even and stores them; this kernel reads them no more.
///
/// # Safety
/// `address` is that of four writable elements in global memory, aligned to all four.
#[inline(always)]
pub unsafe fn st_y_v4(address: u64, [a, b, c, d]: [f32; 4]) {
    // SAFETY: the caller keeps the elements in memory, aligned to the vector.
    unsafe {
        asm!(
            "norm.st.y.v4 [{address}], {{{a}, {b}, {c}, {d}}};",
            address = in(reg64) address,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            options(nostack, preserves_flags)
        )
    }
}

/// Rounds eight elements of y to nearest even and stores them; this kernel reads them no more.
///
/// # Safety
/// `address` is that of eight writable elements in global memory, aligned to 16 bytes.
#[inline(always)]
pub unsafe fn st_y_v8(address: u64, [a, b, c, d, e, f, g, h]: [f32; 8]) {
    // SAFETY: the caller keeps the elements in memory, aligned to the vector.
    unsafe {
        asm!(
            "norm.st.y.v8 [{address}], {{{a}, {b}, {c}, {d}, {e}, {f}, {g}, {h}}};",
            address = in(reg64) address,
            a = in(reg32) a,
            b = in(reg32) b,
            c = in(reg32) c,
            d = in(reg32) d,
            e = in(reg32) e,
            f = in(reg32) f,
            g = in(reg32) g,
            h = in(reg32) h,
            options(nostack, preserves_flags)
        )
    }
}

/// Loads four elements of y where `wanted`, else gives zeros.
///
/// # Safety
/// Where `wanted`, `address` is that of four readable elements in global memory, aligned to all four.
#[inline(always)]
pub unsafe fn ld_y_v4(address: u64, wanted: bool) -> [f32; 4] {
    let (a, b, c, d);
    // SAFETY: the caller keeps the elements in memory, aligned to the vector.
    unsafe {
        asm!(
            "norm.ld.y.v4 {{{a}, {b}, {c}, {d}}}, [{address}], {wanted};",
            a = out(reg32) a,
            b = out(reg32) b,
            c = out(reg32) c,
            d = out(reg32) d,
            address = in(reg64) address,
            wanted = in(reg32) wanted as u32,
            options(nostack, preserves_flags)
        )
    }
    [a, b, c, d]
}

/// Loads eight elements of y where `wanted`, else gives zeros.
///
/// # Safety
/// Where `wanted`, `address` is that of eight readable elements in global memory, aligned to 16 bytes.
#[inline(always)]
pub unsafe fn ld_y_v8(address: u64, wanted: bool) -> [f32; 8] {
    let (a, b, c, d, e, f, g, h);
    // SAFETY: the caller keeps the elements in memory, aligned to the vector.
    unsafe {
        asm!(
            "norm.ld.y.v8 {{{a}, {b}, {c}, {d}, {e}, {f}, {g}, {h}}}, [{address}], {wanted};",
            a = out(reg32) a,
            b = out(reg32) b,
            c = out(reg32) c,
            d = out(reg32) d,
            e = out(reg32) e,
            f = out(reg32) f,
            g = out(reg32) g,
            h = out(reg32) h,
            address = in(reg64) address,
            wanted = in(reg32) wanted as u32,
            options(nostack, preserves_flags)
        )
    }
    [a, b, c, d, e, f, g, h]
}
