#!/bin/sh
# Carries out random instructions on the host's processor and on ours, and compares all that the manual defines.
#   --count N   how many, spread evenly over the groups of instructions (20000000)
#   --seed N    what they are made from; the same seed makes the same (1)
. "$(dirname "$0")/common.sh"
need_swift

count=20000000 seed=1
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || fail "$1 has no value: write it behind the option, as in --count 1000000."
    case "$1:$2" in
    --count:*[!0-9]* | --count: | --seed:*[!0-9]* | --seed:) fail "$1 $2: write a number." ;;
    --count:*) count="$2" ;;
    --seed:*) seed="$2" ;;
    *) fail "There is no option $1: write --count N or --seed N." ;;
    esac
    shift 2
done
[ "$(uname -m)" = x86_64 ] || fail "The host's processor is no x86-64: there is nothing to compare with."

cd "$root"
say "Building the proof"
export PART=X86Processor
swift build --build-tests >&2 || fail "The build failed: the compiler's messages above say where."
say "Comparing $count instances; each line says how many, how many differences, tenths of a microsecond each, and which"
export ROOST_PROOF_COUNT="$count" ROOST_PROOF_SEED="$seed"
swift test --skip-build --disable-xctest --filter ProcessorProofTests || fail "The processors differ: the lines marked with a cross above say where."
say "No difference ($(elapsed))"
