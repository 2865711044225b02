#!/usr/bin/env bash
# What takes a GPU and minutes: every kernel under compute-sanitizer, sixteen threads for a while, traps, lack of
# memory, groups of devices, many random cases. Writes a report; fails if anything did.
#
#   tests/torture.sh [REPORT]          # docs/TORTURE.md unless told otherwise
#   SECONDS_OF_THREADS=60 CASES=1000000 tests/torture.sh
#   SANITIZERS="memcheck racecheck" JOBS=8 PATIENCE=3600 tests/torture.sh   # which, how many processes, for how long
#   NORM=FILE DEVICE_TESTS=FILE COMMIT=HASH tests/torture.sh   # with programs that are built already
#
# What is not there (a GPU, a second one, NCCL, compute-sanitizer) is said to be skipped in the report.
set -uo pipefail
cd "$(dirname "$0")/.."

report=${1:-docs/TORTURE.md}
threads=${SECONDS_OF_THREADS:-60}
cases=${CASES:-100000}
jobs=${JOBS:-8} patience=${PATIENCE:-3600}
log=$(mktemp)
failed=0

# A machine without cargo gets both programs built elsewhere, and is told of which commit they are.
norm=${NORM:-} binary=${DEVICE_TESTS:-} commit=${COMMIT:-$(git rev-parse --short HEAD)}
if [ -z "$norm" ] || [ -z "$binary" ]; then
  cargo build --release --quiet || exit 2
  binary=$(cargo test --release --test device --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*device-[^"]*\)".*/\1/p' | tail -1)
  norm=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/norm
fi
[ -x "$binary" ] && [ -x "$norm" ] || { echo "no device tests: '$binary', or no norm: '$norm'" >&2; exit 2; }

# say NAME OUTCOME DETAIL
say() {
  printf '| %s | %s | %s |\n' "$1" "$2" "$3" >> "$report"
  printf '%s: %s %s\n' "$1" "$2" "$3"
}

# run NAME COMMAND...: its last line that says something is the detail.
run() {
  local name=$1
  shift
  if "$@" > "$log" 2>&1; then
    say "$name" ok "$(grep -E "$detail" "$log" | tail -"${lines:-1}" | tr '\n' ' ')"
  else
    say "$name" "**failed**" "$(tail -3 "$log" | tr '\n|' '  ')"
    failed=1
  fi
}

{
  echo "# Torture"
  echo
  echo "Commit $commit, $(date -u +%F), by \`tests/torture.sh\`:"
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo "no GPU: nothing below was run on one"
  echo
  echo "| what | outcome | detail |"
  echo "|---|---|---|"
} > "$report"

# sanitize TOOL: every kernel under it, in as many processes as there are tests of them, so many at a time.
sanitize() {
  local logs part slow=() bad=() clean=0
  logs=$(mktemp -d)
  xargs -P "$jobs" -I '{}' sh -c 'timeout "$0" "$@" --exact "{}" > "'"$logs"'/{}" 2>&1; echo $? > "'"$logs"'/{}.status"' \
    "$patience" "$sanitizer" --tool "$1" --error-exitcode 9 --require-cuda-init=no "$binary" --test-threads=1 <<< "$parts"
  for part in $parts; do
    case $(cat "$logs/$part.status") in
      0) clean=$((clean + 1)) ;;
      124) slow+=("$part") ;;
      *) bad+=("$part: $(grep -E 'SUMMARY|panicked|FAILED' "$logs/$part" | tail -1)") ;;
    esac
  done
  local outcome=ok detail="0 findings in $clean of $(wc -l <<< "$parts") groups of kernels"
  [ ${#slow[@]} = 0 ] || { outcome="not finished"; detail+="; not done after $patience s: ${slow[*]}"; }
  [ ${#bad[@]} = 0 ] || { outcome="**failed**"; detail+="; ${bad[*]}"; }
  [ "$outcome" = ok ] || failed=1
  say "compute-sanitizer $1, every kernel" "$outcome" "$detail"
  rm -r "$logs"
}

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
parts=$("$binary" --list small_everything 2> /dev/null | sed -n 's/^\(\[.*\] *\)\?\(.*\): test$/\2/p')
for tool in ${SANITIZERS-memcheck initcheck synccheck racecheck}; do
  if [ -n "$sanitizer" ] && nvidia-smi > /dev/null 2>&1; then
    sanitize "$tool"
  else
    say "compute-sanitizer $tool, every kernel" skipped "it, or a GPU, is not there"
  fi
done

export NORM_TORTURE_SECONDS=$threads NORM_REQUIRE=cuda
detail='growth'
run "16 threads of 4 streams for $threads s, every function" "$binary" --nocapture many_threads
detail='test result'
for test in a_trap little_memory a_device_that; do
  run "in a process of its own: $test" "$binary" "$test"
done
run "everything else on a device: limits, guard bands, misuse, graphs, groups" \
  "$binary" --skip many_threads --skip small_everything
detail='busy|µs'
lines=4
if [ "$(nvidia-smi --list-gpus 2> /dev/null | wc -l)" -ge 2 ]; then
  run "two devices: both busy, overhead over NCCL" "$binary" --nocapture says_what_it_adds keeps_two_devices_busy
else
  say "two devices: both busy, overhead over NCCL" skipped "no second GPU"
fi
lines=1
detail='cases'
if nvidia-smi > /dev/null 2>&1; then
  run "norm check --cases $cases" "$norm" check --cases "$cases" --device cuda:0
else
  say "norm check --cases $cases" skipped "no GPU"
fi

rm -f "$log"
exit $failed
