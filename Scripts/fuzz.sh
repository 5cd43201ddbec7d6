#!/bin/sh
# Fuzzes what reads hostile bytes: builds it with libFuzzer, lets each target run, and keeps what was found.
#   fuzz.sh [SECONDS=60] [TARGET…]   all targets if none is named
#   JOBS       targets that run at the same time (1)
#   SANITIZE   `address` has the address sanitizer watch too, and look for leaks
# Documentation/Fuzzing.md explains the rest.
. "$(dirname "$0")/common.sh"
need_swift
cd "$root"

# What the stored corpus of a target may take.
most_files=100
most_bytes=300000

seconds=${1:-60}
[ $# -eq 0 ] || shift
case $seconds in '' | *[!0-9]*) fail "The first argument is a number of seconds, not '$seconds'." ;; esac

resources=$(swiftc -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
ROOST_FUZZ=$(ls "$resources"/clang/lib/linux/libclang_rt.fuzzer_no_main-"$(uname -m)".a 2>/dev/null) ||
    fail "The Swift toolchain has no libFuzzer in $resources/clang/lib/linux."
export ROOST_FUZZ PART=Fuzzer SWIFT_BACKTRACE=enable=no
scratch=.build-fuzz
memory=512
if [ "${SANITIZE:-}" = address ]; then
    export ROOST_FUZZ_ADDRESS=1
    scratch=.build-fuzz-address
    # Its shadow, and what was freed and is held back.
    memory=2048
fi
say "Building the fuzzer"
swift build -c release --scratch-path $scratch --product Fuzzer >&2 || fail "The build failed: the compiler's messages above say where."
fuzzer=$root/$scratch/release/Fuzzer
[ $# -gt 0 ] || set -- $("$fuzzer")

# In memory, for those that share a folder.
work=$(TMPDIR=/dev/shm mktemp -d 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# Runs one target; its summary is one line of standard output.
fuzz() {
    target=$1 mine=$work/$1 stored=$root/Tests/Fuzz/Corpus/$1 found=$root/build/fuzz
    mkdir -p "$mine/new" "$mine/tmp" "$stored" "$found"
    export TMPDIR=$mine/tmp FUZZ_TARGET=$target

    status=0
    "$fuzzer" -max_total_time="$seconds" -timeout=1 -rss_limit_mb=$memory -max_len=8192 \
        -print_final_stats=1 -artifact_prefix="$found/$target-" "$mine/new" "$stored" >"$mine/log" 2>&1 || status=$?
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$mine/log")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$mine/log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$mine/log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$mine/log" | tail -n 1)
    printf '%-16s %9s runs %8s/s %6s edges %5s MiB %6s new inputs\n' "$target" "${runs:-?}" "${rate:-?}" "${edges:-?}" "${peak:-?}" "$(ls "$mine/new" | wc -l)"
    if [ $status -ne 0 ]; then
        grep -E 'Fatal error|ERROR:|Broken|Test unit written' "$mine/log" | sed "s/^/    /"
        tail -n 40 "$mine/log" >"$found/$target.log"
        echo "    The input is in $found; replay it with: FUZZ_TARGET=$target $fuzzer INPUT"
        touch "$work/failed"
        return
    fi
    keep
}

# Adds what reaches more to the stored corpus; when that grows too large, replaces it by the fewest that reach as much.
# Inputs named `regression-…` stay.
keep() {
    mkdir "$mine/small"
    cp "$stored"/* "$mine/small/" 2>/dev/null || :
    merge "$mine/new" || return 0
    if [ "$(ls "$mine/small" | wc -l)" -gt $most_files ] || [ "$(cat "$mine"/small/* | wc -c)" -gt $most_bytes ]; then
        rm -r "$mine/small"
        mkdir "$mine/small"
        merge "$mine/new" "$stored" || return 0
    fi
    find "$stored" -type f ! -name 'regression-*' -delete
    room=$most_bytes
    files=$(ls "$stored" | wc -l)
    # The longest reach the most.
    for input in $(ls -S "$mine/small"); do
        [ ! -e "$stored/$input" ] || continue
        size=$(wc -c <"$mine/small/$input")
        [ "$files" -lt $most_files ] && [ "$size" -le "$room" ] || continue
        cp "$mine/small/$input" "$stored/"
        files=$((files + 1)) room=$((room - size))
    done
}

# Adds those of the folders' inputs to `small` that reach what those there do not.
merge() {
    "$fuzzer" -merge=1 -use_counters=0 -timeout=5 -rss_limit_mb=0 "$mine/small" "$@" >"$mine/merge" 2>&1 && return
    tail -n 5 "$mine/merge" >&2
    touch "$work/failed"
    return 1
}

say "Fuzzing $# targets, $seconds s each, ${JOBS:-1} at a time"
running=0
for target; do
    fuzz "$target" &
    running=$((running + 1))
    if [ $running -ge "${JOBS:-1}" ]; then
        wait
        running=0
    fi
done
wait
[ ! -e "$work/failed" ] || fail "Something was found: the lines above say what."
say "Nothing was found ($(elapsed))"
