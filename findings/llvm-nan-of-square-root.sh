#!/usr/bin/env bash
# LLVM drops a test for NaN behind a square root, and with it the NaN that the program puts in its place.
#
# Version:  LLVM 22.1.0, as llvmlite 0.48.0 has it; rustc 1.95.0, whose LLVM is of that version, does the same from -O1 on
# Source:   LLVM's InstCombine: `select (fcmp uno r, 0), NaN, r` becomes `r` where `r` is a call of llvm.sqrt. The Language Reference,
#           'Behavior of Floating-Point NaN values', leaves the bits of a NaN to the operation that gives it
# Expected: a constant in the program is kept: `if r.is_nan() { f32::from_bits(0x7fff_ffff) } else { r }` gives those bits
# Seen:     without optimization sqrt(-1) gives 7fffffff, with it x86's own ffc00000. Behind an addition or an FMA the constant
#           stays, and so it does behind a root if the test is one of the bits
# Matters:  GPUs have one NaN, 7fffffff, for all f32 arithmetic. Host code that makes it of the processor's, to compare bits with a
#           GPU's or to hash them, is right in a debug build and wrong in release, for roots alone
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check llvmlite==0.48.0

cat > seen.py <<'PY'
import ctypes

import llvmlite
import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

BY_VALUE = """
  %is_nan = fcmp uno float %r, 0.0
  %one = select i1 %is_nan, float bitcast (i32 2147483647 to float), float %r
  %bits = bitcast float %one to i32
"""
BY_BITS = """
  %of_r = bitcast float %r to i32
  %magnitude = and i32 %of_r, 2147483647
  %is_nan = icmp ugt i32 %magnitude, 2139095040
  %bits = select i1 %is_nan, i32 2147483647, i32 %of_r
"""
ROOT = "%r = call float @llvm.sqrt.f32(float %a)"
SUM = "%r = fadd float %a, %b"


def bits(operation, test, level, a, b):
    """What the function gives for two numbers, compiled at that level."""
    text = f"""
declare float @llvm.sqrt.f32(float)
define i32 @f(float %a, float %b) {{
  {operation}
  {test}
  ret i32 %bits
}}
"""
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_default_triple().create_target_machine(opt=level)
    module.triple = machine.triple
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    passes = llvm.create_pass_builder(machine, options).getModulePassManager()
    if level:
        passes.run(module, llvm.create_pass_builder(machine, options))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_float, ctypes.c_float)
    return f"{function(engine.get_function_address('f'))(a, b):08x}"


inf = float("inf")
print("llvmlite", llvmlite.__version__, "LLVM", ".".join(map(str, llvm.llvm_version_info)))
seen = {}
for name, operation, test, a, b in [
    ("root, a test of the value", ROOT, BY_VALUE, -1.0, 0.0),
    ("root, a test of the bits", ROOT, BY_BITS, -1.0, 0.0),
    ("sum, a test of the value", SUM, BY_VALUE, inf, -inf),
]:
    seen[name] = [bits(operation, test, level, a, b) for level in (0, 2)]
    print(f"{name}: {seen[name][0]} without optimization, {seen[name][1]} with it")
expected = {
    "root, a test of the value": ["7fffffff", "ffc00000"],
    "root, a test of the bits": ["7fffffff", "7fffffff"],
    "sum, a test of the value": ["7fffffff", "7fffffff"],
}
assert seen == expected, "it is no longer as described"
print("as described")
PY
venv/bin/python seen.py
