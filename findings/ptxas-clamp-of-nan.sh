#!/usr/bin/env bash
# ptxas makes one instruction of max(min(x, 1), 0) and of min(max(x, 0), 1), though they differ where x is NaN.
#
# Version:  ptxas 13.5.37 (package nvidia-cuda-nvcc) for sm_80, sm_90 and sm_100, read with nvdisasm 13.5.37
# Source:   the PTX ISA: `min.f32` and `max.f32` give the other operand where one is NaN, so that a NaN becomes 1 in the
#           first and 0 in the second; a `.sat` gives 0 for it
# Expected: FADD.SAT for the second alone, or two FMNMX for both, at every optimization level
# Seen:     from -O1 up both are the same FADD.SAT, so that one of them is wrong whatever the instruction does. At
#           -O0 either is two FMNMX
# Matters:  what a kernel makes of a NaN depends on -O, and a clamp written so that a NaN ends at 1 gives 0 by the rule
#           of `.sat`. `min.NaN` and `max.NaN`, which pass a NaN on, are left as they are
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps \
    nvidia-cuda-nvcc==13.5.37 nvidia-cuda-nvdisasm==13.5.37
ptxas=$(find venv -path '*/bin/ptxas')
nvdisasm=$(find venv -path '*/bin/nvdisasm')
chmod +x "$ptxas" "$nvdisasm"

# The arithmetic that ptxas makes of instructions that take x to y: clamp ARCH LEVEL INSTRUCTIONS.
clamp() {
    cat > clamp.ptx <<PTX
.version 8.6
.target $1
.address_size 64
.visible .entry clamp(.param .u64 p)
{
    .reg .f32 %x, %y;
    .reg .u64 %p;
    ld.param.u64 %p, [p];
    ld.global.f32 %x, [%p];
    $3
    st.global.f32 [%p], %y;
    ret;
}
PTX
    "$ptxas" "-arch=$1" "$2" -o clamp.cubin clamp.ptx
    "$nvdisasm" -c clamp.cubin | grep -oE '(FADD|FMNMX)[^;]*[^; ]' | paste -sd ';'
}

one_then_zero='min.f32 %y, %x, 0f3F800000; max.f32 %y, %y, 0f00000000;'
zero_then_one='max.f32 %y, %x, 0f00000000; min.f32 %y, %y, 0f3F800000;'
passing_nan='min.NaN.f32 %y, %x, 0f3F800000; max.NaN.f32 %y, %y, 0f00000000;'
for arch in sm_80 sm_90 sm_100; do
    for level in -O0 -O1 -O2 -O3; do
        first=$(clamp "$arch" "$level" "$one_then_zero")
        second=$(clamp "$arch" "$level" "$zero_then_one")
        printf '%-6s %s  max(min(x, 1), 0): %-44s min(max(x, 0), 1): %s\n' "$arch" "$level" "$first" "$second"
        case $level in
            -O0) [[ $first == FMNMX*\;FMNMX* && $second == FMNMX*\;FMNMX* && $first != "$second" ]] ;;
            *) [[ $first == FADD.SAT* && $second == "$first" ]] ;;
        esac || { echo "the behaviour changed" >&2; exit 1; }
    done
    nan=$(clamp "$arch" -O3 "$passing_nan")
    printf '%-6s -O3  with min.NaN and max.NaN: %s\n' "$arch" "$nan"
    [[ $nan == FMNMX.NAN*\;FMNMX.NAN* ]] || { echo "min.NaN and max.NaN changed" >&2; exit 1; }
done
