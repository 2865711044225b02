#!/usr/bin/env bash
# What takes a GPU and minutes: every kernel under compute-sanitizer, sixteen threads for a while, traps, lack of
# memory, groups of devices, many random cases. Writes a report; fails if anything in it is not ok.
#
#   tests/torture.sh [REPORT]          # docs/TORTURE.md unless told otherwise
#   SECONDS_OF_THREADS=60 CASES=1000000 tests/torture.sh
#   SANITIZERS="memcheck racecheck" JOBS=8 tests/torture.sh   # which, how many processes at a time
#   ONLY="sanitizers" tests/torture.sh        # some parts: sanitizers, threads, processes, rest, two-gpus, check
#   NORM_KERNELS=rust-cuda ONLY="sanitizers" tests/torture.sh    # the same of the kernels that rust-cuda made
#   LIMIT=500 tests/torture.sh                # seconds for all; what has not ended by then is 'not finished'
#   NORM=FILE DEVICE_TESTS=FILE COMMIT=HASH tests/torture.sh   # with programs that are built already
#
# Where there is a limit, parts fit several calls: each writes a report, and their tables are put together.
# What is not there (a GPU, a second one, NCCL, compute-sanitizer) is said to be skipped. NCCL is taken from
# NORM_LIBNCCL, the dynamic linker or PyTorch's packages, and NCCL's own variables stay as they are.
set -uo pipefail
cd "$(dirname "$0")/.."

report=${1:-docs/TORTURE.md}
threads=${SECONDS_OF_THREADS:-60}
cases=${CASES:-100000}
jobs=${JOBS:-8}
parts=${ONLY:-sanitizers threads processes rest two-gpus check}
until=$((SECONDS + ${LIMIT:-36000}))
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

gpus=$(nvidia-smi --list-gpus 2> /dev/null | grep -c '^GPU')

# asked PART
asked() { [[ " $parts " == *" $1 "* ]]; }

# left: seconds until the limit; at least one, as 0 would be none at all for `timeout`.
left() { local seconds=$((until - SECONDS)); echo $((seconds > 1 ? seconds : 1)); }

# say NAME OUTCOME DETAIL: a line of the report. Whatever is neither ok nor skipped is a failure of the script.
say() {
  printf '| %s | %s | %s |\n' "$1" "$2" "$(tr '\n|' ' /' <<< "$3" | sed 's/ *$//')" >> "$report"
  printf '%s: %s %s\n' "$1" "$2" "$3"
  case $2 in ok | skipped) ;; *) failed=1 ;; esac
}

# run NAME COMMAND...: of what it prints, `report: ` lines and those that match $detail are the detail; when it
# fails, the tests that did, and why.
run() {
  local name=$1 began=$SECONDS status
  shift
  timeout -k 5 "$(left)" "$@" > "$log" 2>&1
  status=$?
  case $status in
    0) say "$name" ok "$(grep -oE "report: .*|$detail" "$log" | sed 's/^report: //; s/$/;/')" ;;
    124 | 137) say "$name" '**not finished**' "ended after $((SECONDS - began)) s: $(tail -1 "$log")" ;;
    *) say "$name" '**failed**' "$(grep -E '^test .*\.\.\. .*FAILED' "$log" | sed 's/^test //; s/ *\.\.\. .*/;/')
$(sed -n '/^failures:/,$p' "$log" | grep -vE '^(failures:|)$' | head -20) $(tail -1 "$log")" ;;
  esac
}

{
  echo "# Torture"
  echo
  echo "Commit $commit, $(date -u +%F), by \`tests/torture.sh\` (${parts// /, })${NORM_KERNELS:+, with the kernels of $NORM_KERNELS}:"
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo "no GPU: nothing below was run on one"
  echo
  echo "| what | outcome | detail |"
  echo "|---|---|---|"
} > "$report"

# one TOOL TEST: a group of kernels under a sanitizer, with its verdict in a file.
one() {
  local out=$logs/$1/$2 status
  timeout -k 5 "$(left)" "$sanitizer" --tool "$1" --error-exitcode 9 --require-cuda-init=no \
    "$binary" --test-threads=1 --exact "$2" > "$out" 2>&1
  status=$?
  case $status in
    124 | 137) echo slow ;;
    # A test that was left out, or a tool that saw nothing, is no clean one.
    0) if grep -q '1 passed' "$out" && grep -qE 'SUMMARY: 0 (errors|hazards)' "$out"; then echo clean; else echo bad; fi ;;
    *) echo bad ;;
  esac > "$out.verdict"
}

# sanitize TOOL...: every kernel under each of them, all processes from one queue, so many at a time.
sanitize() {
  local tool group slow bad clean outcome detail
  mapfile -t groups < <("$binary" --list small_everything 2> /dev/null | sed -n 's/^\(\[.*\] *\)\?\(.*\): test$/\2/p')
  # What takes two devices is left to a machine that has them.
  [ "$gpus" -ge 2 ] || mapfile -t groups < <(printf '%s\n' "${groups[@]}" | grep -v two_devices)
  logs=$(mktemp -d)
  export -f one left
  export logs sanitizer binary until
  # `SECONDS` counts from the start of each shell.
  until_epoch=$(($(date +%s) + until - SECONDS))
  export until_epoch
  for tool; do
    mkdir "$logs/$tool"
    printf "$tool %s\n" "${groups[@]}"
  done | xargs -P "$jobs" -L 1 bash -c 'until=$((until_epoch - $(date +%s))) SECONDS=0; one "$@"' _
  for tool; do
    slow=() bad=() clean=0
    for group in "${groups[@]}"; do
      case $(cat "$logs/$tool/$group.verdict" 2> /dev/null) in
        clean) clean=$((clean + 1)) ;;
        bad) bad+=("$group: $(grep -E 'SUMMARY|panicked|FAILED|rror' "$logs/$tool/$group" | tail -1)") ;;
        *) slow+=("$group") ;;
      esac
    done
    outcome=ok detail="0 findings in $clean of ${#groups[@]} groups of kernels"
    [ ${#groups[@]} != 0 ] || { outcome='**failed**' detail+=": no tests"; }
    [ ${#slow[@]} = 0 ] || { outcome='**not finished**' detail+="; not done within the limit: ${slow[*]}"; }
    [ ${#bad[@]} = 0 ] || { outcome='**failed**' detail+="; ${bad[*]}"; }
    say "compute-sanitizer $tool, every kernel" "$outcome" "$detail"
  done
  rm -r "$logs"
}

# What is asked for must be there, or it fails; only what this script knows to be missing is skipped.
export NORM_TORTURE_SECONDS=$threads NORM_REQUIRE=cuda

if asked sanitizers; then
  sanitizer=${SANITIZER:-$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null || true)}
  tools=${SANITIZERS-memcheck initcheck synccheck racecheck}
  if [ -n "$sanitizer" ] && [ "$gpus" != 0 ]; then
    # shellcheck disable=SC2086 # a list of words
    sanitize $tools
  else
    for tool in $tools; do
      say "compute-sanitizer $tool, every kernel" skipped "it, or a GPU, is not there"
    done
  fi
fi

detail='test result: .*'
# part PART NAME ARGUMENTS...: tests of the device's that need one GPU.
part() {
  local name=$2
  asked "$1" || return 0
  shift 2
  if [ "$gpus" != 0 ]; then run "$name" "$binary" "$@"; else say "$name" skipped "no GPU"; fi
}

part threads "16 threads of 4 streams for $threads s, every function" many_threads
part processes "in a process of its own: a_trap" a_trap
part processes "in a process of its own: little_memory" little_memory
part processes "in a process of its own: a_device_that" a_device_that
part rest "everything else on a device: profiles, guard bands, misuse, graphs, groups" \
  --skip many_threads --skip small_everything --skip a_trap --skip little_memory --skip a_device_that \
  --skip two_devices

if asked two-gpus; then
  if [ "$gpus" -ge 2 ]; then
    if [ -z "${NORM_LIBNCCL:-}" ] && ! ldconfig -p 2> /dev/null | grep -q 'libnccl\.so\.2'; then
      NORM_LIBNCCL=$(python3 -c 'import glob, sys
print(*[f for p in sys.path for f in glob.glob(p + "/nvidia/nccl/lib/libnccl.so.2")][:1])' 2> /dev/null)
      export NORM_LIBNCCL
    fi
    export NORM_REQUIRE="cuda two_devices nccl"
    run "two devices: bits of one, sharded rows, an engine's communicators, two processes, a graph" \
      "$binary" two_devices --skip timed_
    # By themselves, one after the other, on devices that do nothing else.
    run "two devices: both busy" "$binary" --test-threads=1 timed_rms_norm_tp
    run "two devices: overhead over NCCL" "$binary" --test-threads=1 timed_rms_norm_sharded
    export NORM_REQUIRE=cuda
  else
    say "two devices: bits of one, sharded rows, two processes, both busy, overhead over NCCL" skipped "no second GPU"
  fi
fi

detail='.* cases of seed .*'
if asked check; then
  if [ "$gpus" != 0 ]; then
    run "norm check --cases $cases" "$norm" check --cases "$cases" --device cuda:0
  else
    say "norm check --cases $cases" skipped "no GPU"
  fi
fi

rm -f "$log"
exit $failed
