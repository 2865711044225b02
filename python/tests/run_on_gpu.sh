#!/usr/bin/env bash
# What wants a GPU and torch, in one go: the torch tests, the GPU tests beside exllamav2's own kernels, host times and the
# plot. It needs nvcc for the kernels to compare with, and no network:
#
#   pip download --no-deps -d WHEELS exllamav2==0.3.2 ninja pytest pluggy iniconfig packaging pygments rich \
#     safetensors tokenizers numpy pillow
#   maturin build --release -m python/Cargo.toml --out WHEELS
#   python/tests/run_on_gpu.sh WHEELS RESULTS      # from the repository's root
#
# RESULTS has log.txt with the summary, and the output of each part. It fails if a test fails.
set -uo pipefail
wheels=$(realpath "$1") results=$(mkdir -p "$2" && realpath "$2")
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
failed=0

say() { echo "== $*" | tee -a "$results/log.txt"; }

say install
needed=()
for wheel in "$wheels"/*.whl; do
  name=$(basename "$wheel")
  name=${name%%-*}
  module=$name
  [ "$name" = pillow ] && module=PIL
  case $name in
    norm_gpu | exllamav2 | ninja) needed+=("$wheel") ;;
    # What the machine's Python has stays its own.
    *) (cd / && "$python" -c "import $module" 2> /dev/null) || needed+=("$wheel") ;;
  esac
done
"$python" -m pip install --quiet --no-index --no-deps --target "$site" "${needed[@]}" || exit 2
export PYTHONPATH=$site PATH=$site/bin:$PATH PYTHONDONTWRITEBYTECODE=1 NORM_GPU_ORIGINAL=$site/original
if [ -z "${CUDA_HOME:-}" ] && [ -x /usr/local/cuda/bin/nvcc ]; then export CUDA_HOME=/usr/local/cuda; fi
"$python" -m norm_gpu doctor 2>&1 | tee -a "$results/log.txt"

# Some 40 s on 16 cores, beside the torch tests.
(
  cd python/tests && "$python" -c "import original; original.build('$NORM_GPU_ORIGINAL')" > "$results/original.txt" 2>&1
) &
builder=$!

# tests NAME SECONDS FILE...
tests() {
  local name=$1 limit=$2
  shift 2
  say "$name"
  timeout "$limit" "$python" -m pytest -q -rA -p no:cacheprovider "$@" > "$results/$name.txt" 2>&1 || failed=1
  grep -E "same bits|^(FAILED|ERROR|SKIPPED)|passed|failed" "$results/$name.txt" | tee -a "$results/log.txt"
}

tests test_torch 120 python/tests/test_torch.py python/tests/test_torch_residual.py python/tests/test_package.py
wait "$builder" || say "exllamav2's own kernels were not built: original.txt"
tests test_gpu 200 python/tests/test_gpu.py
say "host times"
timeout 100 "$python" python/bench_host.py 2>&1 | tee "$results/host.txt" | tee -a "$results/log.txt"
say throughput
timeout 60 "$python" python/examples/throughput.py --plot "$results/throughput.svg" 2>&1 | tee -a "$results/log.txt"
exit "$failed"
