//! Pseudo-instructions: the operations that depend on which 16-bit types x, w and y have, which a template leaves open.
//!
//! They pass through the compiler as `asm!`, and become PTX when the host expands them for the types of an entry point.
//! `norm_host::ptx::specialize` has the table of their meanings, beside the code that expands them. An expansion writes
//! all outputs on every path. Arithmetic is declared `pure, nomem`; loads and stores may touch any memory.

use super::asm;

/// `norm.unpack`: the two elements of a word.
macro_rules! unpack {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function(word: u32) -> [f32; 2] {
            let (low, high);
            // SAFETY: arithmetic on registers, defined for every value.
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
unpack! {
    /// The two elements of y in a word, the one in the lower half first.
    unpack_y: "norm.unpack.y"
}

/// `norm.pack`: two elements as a word.
macro_rules! pack {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function([low, high]: [f32; 2]) -> u32 {
            let word;
            // SAFETY: arithmetic on registers, defined for every value.
            unsafe {
                asm!(
                    concat!($instruction, " {word}, {{{low}, {high}}};"),
                    word = out(reg32) word,
                    low = in(reg32) low,
                    high = in(reg32) high,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            word
        }
    };
}

pack! {
    /// Two elements of x in a word, rounded to nearest even.
    pack_x: "norm.pack.x"
}
pack! {
    /// Two elements of y in a word, rounded to nearest even.
    pack_y: "norm.pack.y"
}

/// Two elements of x: f16 clamped to ±65504, bf16 as they are; NaN stays NaN.
#[inline(always)]
pub fn clamp_x(word: u32) -> u32 {
    let clamped;
    // SAFETY: arithmetic on registers, defined for every value.
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

/// A pseudo-instruction without effects: its outputs from its inputs, which lie in registers of 32 or 64 bits.
macro_rules! pure {
    ($text:expr, out [$($output:ident)+], [$($reg:ident $input:ident = $value:expr,)+]) => {{
        $(let $output;)+
        // SAFETY: arithmetic on registers, defined for every value.
        unsafe {
            asm!(
                $text,
                $($output = out(reg32) $output,)+
                $($input = in($reg) $value,)+
                options(pure, nomem, nostack, preserves_flags)
            )
        }
        [$($output),+]
    }};
}

/// `norm.total.x`: a total with four elements of x more, given as f32 and as the words that hold them.
#[inline(always)]
pub fn total_x_v4([s, t]: [u32; 2], [a, b, c, d]: [f32; 4], [p, q]: [u32; 2]) -> [u32; 2] {
    pure!(
        "norm.total.x.v4 {{{low}, {high}}}, {{{s}, {t}}}, {{{a}, {b}, {c}, {d}}}, {{{p}, {q}}};",
        out [low high],
        [reg32 s = s, reg32 t = t, reg32 a = a, reg32 b = b, reg32 c = c, reg32 d = d, reg32 p = p, reg32 q = q,]
    )
}

/// `norm.total.x`: a total with eight elements of x more, given as f32 and as the words that hold them.
#[inline(always)]
pub fn total_x_v8([s, t]: [u32; 2], [a, b, c, d, e, f, g, h]: [f32; 8], [p, q, u, v]: [u32; 4]) -> [u32; 2] {
    pure!(
        "norm.total.x.v8 {{{low}, {high}}}, {{{s}, {t}}}, {{{a}, {b}, {c}, {d}, {e}, {f}, {g}, {h}}}, {{{p}, {q}, {u}, {v}}};",
        out [low high],
        [
            reg32 s = s, reg32 t = t, reg32 a = a, reg32 b = b, reg32 c = c, reg32 d = d, reg32 e = e, reg32 f = f,
            reg32 g = g, reg32 h = h, reg32 p = p, reg32 q = q, reg32 u = u, reg32 v = v,
        ]
    )
}

/// `norm.total_f32`: a total with four f32 more.
#[inline(always)]
pub fn total_s_v4([s, t]: [u32; 2], [a, b, c, d]: [f32; 4]) -> [u32; 2] {
    pure!(
        "norm.total_f32.s.v4 {{{low}, {high}}}, {{{s}, {t}}}, {{{a}, {b}, {c}, {d}}};",
        out [low high],
        [reg32 s = s, reg32 t = t, reg32 a = a, reg32 b = b, reg32 c = c, reg32 d = d,]
    )
}

/// `norm.total_f32`: a total with eight f32 more.
#[inline(always)]
pub fn total_s_v8([s, t]: [u32; 2], [a, b, c, d, e, f, g, h]: [f32; 8]) -> [u32; 2] {
    pure!(
        "norm.total_f32.s.v8 {{{low}, {high}}}, {{{s}, {t}}}, {{{a}, {b}, {c}, {d}, {e}, {f}, {g}, {h}}};",
        out [low high],
        [
            reg32 s = s, reg32 t = t, reg32 a = a, reg32 b = b, reg32 c = c, reg32 d = d, reg32 e = e, reg32 f = f,
            reg32 g = g, reg32 h = h,
        ]
    )
}

/// What is done with totals of elements of x, or of f32.
macro_rules! totals {
    ($role:literal: $plus:ident $moments:ident $mean:ident $distance:ident $overflows:ident) => {
        /// `norm.plus`: the sum of two totals, with the same bits for either order of them.
        #[inline(always)]
        pub fn $plus([s, t]: [u32; 2], [u, v]: [u32; 2]) -> [u32; 2] {
            pure!(
                concat!("norm.plus.", $role, " {{{low}, {high}}}, {{{s}, {t}}}, {{{u}, {v}}};"),
                out [low high],
                [reg32 s = s, reg32 t = t, reg32 u = u, reg32 v = v,]
            )
        }

        /// `norm.moments`: of some elements the mean in f32, what the rounding added, and M2, given their total, the sum of
        /// their squares, their number, and one over it in f32 and f64.
        #[inline(always)]
        pub fn $moments([s, t]: [u32; 2], squares: f32, elements: f32, r32: f32, r64: f64) -> [f32; 3] {
            pure!(
                concat!(
                    "norm.moments.", $role,
                    " {{{mean}, {excess}, {centered}}}, {{{s}, {t}}}, {squares}, {elements}, {r32}, {r64};"
                ),
                out [mean excess centered],
                [
                    reg32 s = s, reg32 t = t, reg32 squares = squares, reg32 elements = elements, reg32 r32 = r32,
                    reg64 r64 = r64,
                ]
            )
        }

        /// `norm.mean`: of some elements the mean in f32 and what the rounding added, given their total, their number, and one
        /// over it. Of elements that are all the same the rounding adds 0.
        #[inline(always)]
        pub fn $mean([s, t]: [u32; 2], elements: f32, r32: f32, r64: f64) -> [f32; 2] {
            pure!(
                concat!("norm.mean.", $role, " {{{mean}, {excess}}}, {{{s}, {t}}}, {elements}, {r32}, {r64};"),
                out [mean excess],
                [reg32 s = s, reg32 t = t, reg32 elements = elements, reg32 r32 = r32, reg64 r64 = r64,]
            )
        }

        /// `norm.distance`: the mean of a share of a row minus that of the row, given the total of the share, its number of
        /// elements and one over it; and of the row the total, one over its number, and `norm.mean`.
        #[inline(always)]
        pub fn $distance(
            ([s, t], elements, share32, share64): ([u32; 2], f32, f32, f64),
            ([u, v], row64, [mean, excess]): ([u32; 2], f64, [f32; 2]),
        ) -> f32 {
            let [distance] = pure!(
                concat!(
                    "norm.distance.", $role,
                    " {distance}, {{{s}, {t}}}, {elements}, {share32}, {share64}, {{{u}, {v}}}, {row64}, {mean}, {excess};"
                ),
                out [distance],
                [
                    reg32 s = s, reg32 t = t, reg32 elements = elements, reg32 share32 = share32, reg64 share64 = share64,
                    reg32 u = u, reg32 v = v, reg64 row64 = row64, reg32 mean = mean, reg32 excess = excess,
                ]
            );
            distance
        }

        /// `norm.overflows`: not 0 if a total is beyond what it can hold, given the mean of it.
        #[inline(always)]
        pub fn $overflows(mean: f32) -> u32 {
            let [flag] = pure!(
                concat!("norm.overflows.", $role, " {flag}, {mean};"),
                out [flag],
                [reg32 mean = mean,]
            );
            flag
        }
    };
}

totals!("x": plus_x moments_x mean_x distance_x overflows_x);
totals!("s": plus_s moments_s mean_s distance_s overflows_s);

/// Two weights of one.
#[inline(always)]
pub fn ones_w() -> u32 {
    let word;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!("norm.ones.w {word};", word = out(reg32) word, options(pure, nomem, nostack, preserves_flags))
    }
    word
}

/// Stores two words of clamped elements of x to shared memory if x is f16; bf16 is not clamped, and nothing is stored.
///
/// # Safety
/// As [`st_shared_v2`](super::st_shared_v2).
#[inline(always)]
pub unsafe fn st_clamped_x_v2(slot: u32, [a, b]: [u32; 2]) {
    // SAFETY: the caller guarantees that the slot is 8 bytes of shared memory that belong to this thread.
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

/// Stores four words of clamped elements of x to shared memory if x is f16; bf16 is not clamped, and nothing is stored.
///
/// # Safety
/// As [`st_shared_v4`](super::st_shared_v4).
#[inline(always)]
pub unsafe fn st_clamped_x_v4(slot: u32, [a, b, c, d]: [u32; 4]) {
    // SAFETY: the caller guarantees that the slot is 16 bytes of shared memory that belong to this thread.
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

/// `norm.round`: two values, rounded where the order of roundings (`Rounding`) has a rounding here, else unchanged.
macro_rules! round {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function([a, b]: [f32; 2]) -> [f32; 2] {
            let (low, high);
            // SAFETY: arithmetic on registers, defined for every value.
            unsafe {
                asm!(
                    concat!($instruction, " {{{low}, {high}}}, {{{a}, {b}}};"),
                    low = out(reg32) low,
                    high = out(reg32) high,
                    a = in(reg32) a,
                    b = in(reg32) b,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            [low, high]
        }
    };
}

round! {
    /// Two normalized values, rounded to the type of x or of the weights where the order rounds before the weight.
    round_n: "norm.round.n"
}
round! {
    /// Two weights with their offset, rounded to the weights' type where the offset is rounded.
    round_w: "norm.round.w"
}
round! {
    /// Two values that go from the norm to the rotation, or from the rotation to the norm, rounded to the type of x where the
    /// kernel rounds between the two.
    round_m: "norm.round.m"
}
round! {
    /// Two products of a rotation, rounded to the type of x where the kernel rounds them.
    round_p: "norm.round.p"
}
/// `norm.turn`: a pair of elements rotated, `(a cos - b sin, b cos + a sin)`, with both products rounded to the type of x where
/// the kernel rounds them.
#[inline(always)]
pub fn turn_p([a, b]: [f32; 2], cos: f32, sin: f32) -> [f32; 2] {
    let (low, high);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.turn.p {{{low}, {high}}}, {{{a}, {b}}}, {cos}, {sin};",
            low = out(reg32) low,
            high = out(reg32) high,
            a = in(reg32) a,
            b = in(reg32) b,
            cos = in(reg32) cos,
            sin = in(reg32) sin,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [low, high]
}

/// All bits set if the kernel serves every norm of heads, on either side of the rotation; 0 if it is for RMSNorm in front alone.
#[inline(always)]
pub fn general_p() -> u32 {
    let general;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.general.p {general};",
            general = out(reg32) general,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    general
}

/// All bits set if the kernel is for grids whose blocks nearly all run at once, else 0.
#[inline(always)]
pub fn short_p() -> u32 {
    let short;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.short.p {short};",
            short = out(reg32) short,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    short
}

/// `norm.ld`: neighbouring elements as f32, from number `index` on of a tensor of any type. Where they are not `wanted`,
/// weights are 1, and what is read of a table is NaN.
macro_rules! ld {
    ($(#[$doc:meta])* $function:ident: $opcode:literal, [$($out:ident)+]) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Where they are `wanted`, these elements are readable global memory, aligned to their bytes in all, or to 16 where
        /// these are more.
        #[inline(always)]
        pub unsafe fn $function(base: u64, index: u32, wanted: bool) -> [f32; [$(stringify!($out)),+].len()] {
            $(let $out;)+
            // SAFETY: the caller guarantees that the elements are in memory and aligned, where they are wanted.
            unsafe {
                asm!(
                    concat!($opcode, ld!(@operands $($out)+)),
                    $($out = out(reg32) $out,)+
                    base = in(reg64) base,
                    index = in(reg32) index,
                    wanted = in(reg32) wanted as u32,
                    options(nostack, preserves_flags)
                )
            }
            [$($out),+]
        }
    };
    (@operands $first:ident $($out:ident)*) => {
        concat!(" {{{", stringify!($first), "}", $(", {", stringify!($out), "}",)* "}}, [{base}], {index}, {wanted};")
    };
}

ld! {
    /// A weight.
    ld_w: "norm.ld.w.v1", [a]
}
ld! {
    /// Four weights.
    ld_w_v4: "norm.ld.w.v4", [a b c d]
}
ld! {
    /// Eight weights.
    ld_w_v8: "norm.ld.w.v8", [a b c d e f g h]
}
ld! {
    /// A cosine or sine.
    ld_t: "norm.ld.t.v1", [a]
}
ld! {
    /// Two cosines or sines.
    ld_t_v2: "norm.ld.t.v2", [a b]
}
ld! {
    /// Four cosines or sines.
    ld_t_v4: "norm.ld.t.v4", [a b c d]
}
ld! {
    /// Eight cosines or sines.
    ld_t_v8: "norm.ld.t.v8", [a b c d e f g h]
}

round! {
    /// Two sums with a residual in front of a norm whose output is quantized: rounded to the type of x where the recipe
    /// normalizes the rounded sum, and clamped where it clamps.
    sum_x: "norm.sum.x"
}
/// Two neighbouring values of a norm whose output is quantized. Where the recipe rounds values to the type of x they are a word of
/// that type, and the second word is not used; else each is an f32.
pub type ValuePair = [u32; 2];

/// `norm.value`: two f32 as a pair of values, rounded where the recipe rounds them.
#[inline(always)]
pub fn value_v([a, b]: [f32; 2]) -> ValuePair {
    let (first, second);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.value.v {{{first}, {second}}}, {{{a}, {b}}};",
            first = out(reg32) first,
            second = out(reg32) second,
            a = in(reg32) a,
            b = in(reg32) b,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [first, second]
}

/// `norm.number`: a pair of values as f32.
#[inline(always)]
pub fn number_v([first, second]: ValuePair) -> [f32; 2] {
    let (low, high);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.number.v {{{low}, {high}}}, {{{first}, {second}}};",
            low = out(reg32) low,
            high = out(reg32) high,
            first = in(reg32) first,
            second = in(reg32) second,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [low, high]
}

/// `norm.weigh`: two normalized f32, rounded where the recipe rounds before the weights, times a word of weights of 16 bits, as a
/// pair of values.
#[inline(always)]
pub fn weigh_w([a, b]: [f32; 2], weights: u32) -> ValuePair {
    let (first, second);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.weigh.w {{{first}, {second}}}, {{{a}, {b}}}, {weights};",
            first = out(reg32) first,
            second = out(reg32) second,
            a = in(reg32) a,
            b = in(reg32) b,
            weights = in(reg32) weights,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [first, second]
}

/// `norm.larger`: of two pairs of values the larger magnitudes, place by place, as a pair of values of either sign. A NaN among them
/// is the result where the recipe keeps NaNs; else it is left out.
#[inline(always)]
pub fn larger_q([a, b]: ValuePair, [p, q]: ValuePair) -> ValuePair {
    let (first, second);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.larger.q {{{first}, {second}}}, {{{a}, {b}}}, {{{p}, {q}}};",
            first = out(reg32) first,
            second = out(reg32) second,
            a = in(reg32) a,
            b = in(reg32) b,
            p = in(reg32) p,
            q = in(reg32) q,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [first, second]
}

/// `norm.largest`: the larger magnitude of a pair of values, as an f32; of NaNs as [`larger_q`].
#[inline(always)]
pub fn largest_q([a, b]: ValuePair) -> f32 {
    let largest;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.largest.q {largest}, {{{a}, {b}}};",
            largest = out(reg32) largest,
            a = in(reg32) a,
            b = in(reg32) b,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    largest
}

/// What values are multiplied by, given their scale, the magnitude it is of, and what that is scaled to: the reciprocal of the
/// scale, or for one recipe `max / magnitude`.
#[inline(always)]
pub fn reciprocal_q(scale: f32, magnitude: f32, max: f32) -> f32 {
    let reciprocal;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.reciprocal.q {reciprocal}, {scale}, {magnitude}, {max};",
            reciprocal = out(reg32) reciprocal,
            scale = in(reg32) scale,
            magnitude = in(reg32) magnitude,
            max = in(reg32) max,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    reciprocal
}

/// `norm.quotient`: a pair of values over their scale: divided by it, or multiplied by its reciprocal, as the recipe has it.
macro_rules! quotient {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function([a, b]: ValuePair, scale: f32, reciprocal: f32) -> [f32; 2] {
            let (low, high);
            // SAFETY: arithmetic on registers, defined for every value.
            unsafe {
                asm!(
                    concat!($instruction, " {{{low}, {high}}}, {{{a}, {b}}}, {scale}, {reciprocal};"),
                    low = out(reg32) low,
                    high = out(reg32) high,
                    a = in(reg32) a,
                    b = in(reg32) b,
                    scale = in(reg32) scale,
                    reciprocal = in(reg32) reciprocal,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            [low, high]
        }
    };
}

quotient! {
    /// Any two values.
    quotient_q: "norm.quotient.q"
}
quotient! {
    /// Two finite values of 16 bits, of which the scale is no less than the largest
    /// magnitude over [`QuantFormat::max`](crate::abi::QuantFormat::max), and finite. Nothing is said of others.
    quotient_in_range_q: "norm.quotient_in_range.q"
}

/// `norm.codes`: four codes in a word, the first in its lowest byte: rounded to nearest even.
macro_rules! codes {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function([a, b, c, d]: [f32; 4]) -> u32 {
            let word;
            // SAFETY: arithmetic on registers, defined for every value.
            unsafe {
                asm!(
                    concat!($instruction, " {word}, {{{a}, {b}, {c}, {d}}};"),
                    word = out(reg32) word,
                    a = in(reg32) a,
                    b = in(reg32) b,
                    c = in(reg32) c,
                    d = in(reg32) d,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            word
        }
    };
}

codes! {
    /// Of any quotients, saturated.
    codes_q: "norm.codes.q"
}
codes! {
    /// Of quotients that round to a code without saturation; where the recipe does not keep NaNs, of NaNs, too.
    codes_in_range_q: "norm.codes_in_range.q"
}

/// Not 0 if quotients or codes in range take fewer instructions than others.
#[inline(always)]
pub fn has_range_q() -> u32 {
    let flag;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.has_range.q {flag};",
            flag = out(reg32) flag,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    flag
}

/// `norm.add`: `(a * branch + r) * sum` for two neighbours, `a + r` where the kernel is not scaled. The order of roundings
/// says whether `a`, the product and the sum are rounded.
macro_rules! add {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function([a0, a1]: [f32; 2], [r0, r1]: [f32; 2], branch: f32, sum: f32) -> [f32; 2] {
            let (low, high);
            // SAFETY: arithmetic on registers, defined for every value.
            unsafe {
                asm!(
                    concat!($instruction, " {{{low}, {high}}}, {{{a0}, {a1}}}, {{{r0}, {r1}}}, {branch}, {sum};"),
                    low = out(reg32) low,
                    high = out(reg32) high,
                    a0 = in(reg32) a0,
                    a1 = in(reg32) a1,
                    r0 = in(reg32) r0,
                    r1 = in(reg32) r1,
                    branch = in(reg32) branch,
                    sum = in(reg32) sum,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            [low, high]
        }
    };
}

add! {
    /// Two elements of x added to a residual in front of the norm.
    add_x: "norm.add.x"
}
add! {
    /// Two results of the norm added to a residual of y's type behind it.
    add_y: "norm.add.y"
}
add! {
    /// Two results of the first norm of a sandwich added to a residual of x's type.
    add_n: "norm.add.n"
}

/// `n * w + b` for two neighbours, in one rounding to f32; where the order rounds before the bias, the product is
/// rounded to the type of y first.
#[inline(always)]
pub fn affine_y([n0, n1]: [f32; 2], [w0, w1]: [f32; 2], [b0, b1]: [f32; 2]) -> [f32; 2] {
    let (low, high);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.affine.y {{{low}, {high}}}, {{{n0}, {n1}}}, {{{w0}, {w1}}}, {{{b0}, {b1}}};",
            low = out(reg32) low,
            high = out(reg32) high,
            n0 = in(reg32) n0,
            n1 = in(reg32) n1,
            w0 = in(reg32) w0,
            w1 = in(reg32) w1,
            b0 = in(reg32) b0,
            b1 = in(reg32) b1,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [low, high]
}

/// `act(g)` of two elements of a gate: SiLU or sigmoid.
#[inline(always)]
pub fn activate_x([g0, g1]: [f32; 2]) -> [f32; 2] {
    let (low, high);
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.activate.x {{{low}, {high}}}, {{{g0}, {g1}}};",
            low = out(reg32) low,
            high = out(reg32) high,
            g0 = in(reg32) g0,
            g1 = in(reg32) g1,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    [low, high]
}

/// Not 0 if the gate multiplies in front of the norm.
#[inline(always)]
pub fn gates_first() -> u32 {
    let first;
    // SAFETY: arithmetic on registers, defined for every value.
    unsafe {
        asm!(
            "norm.gates_first.x {first};",
            first = out(reg32) first,
            options(pure, nomem, nostack, preserves_flags)
        )
    }
    first
}

/// `norm.gate`: two values multiplied by the activations of a gate if it multiplies here, else unchanged.
macro_rules! gate {
    ($(#[$doc:meta])* $function:ident: $instruction:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $function([v0, v1]: [f32; 2], [a0, a1]: [f32; 2]) -> [f32; 2] {
            let (low, high);
            // SAFETY: arithmetic on registers, defined for every value.
            unsafe {
                asm!(
                    concat!($instruction, " {{{low}, {high}}}, {{{v0}, {v1}}}, {{{a0}, {a1}}};"),
                    low = out(reg32) low,
                    high = out(reg32) high,
                    v0 = in(reg32) v0,
                    v1 = in(reg32) v1,
                    a0 = in(reg32) a0,
                    a1 = in(reg32) a1,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
            [low, high]
        }
    };
}

gate! {
    /// Two elements of x gated in front of the norm.
    gate_x: "norm.gate.x"
}
gate! {
    /// Two results of the norm gated behind it; some orders of roundings round them to the type of y first.
    gate_y: "norm.gate.y"
}

/// The factor of the sum with a residual: the f32 at `address`, or `number` where the address is 0. Kernels that are not
/// scaled load nothing.
///
/// # Safety
/// The address is 0 or that of a readable f32 in global memory.
#[inline(always)]
pub unsafe fn ld_scale(address: u64, number: f32) -> f32 {
    let scale;
    // SAFETY: the caller guarantees that the address is that of a readable f32 in global memory, or 0, which is not read.
    unsafe {
        asm!(
            "norm.ld_scale.x {scale}, [{address}], {number};",
            scale = out(reg32) scale,
            address = in(reg64) address,
            number = in(reg32) number,
            options(nostack, preserves_flags)
        )
    }
    scale
}
