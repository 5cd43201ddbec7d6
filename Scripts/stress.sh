#!/bin/sh
# Runs Tests/Guests/Stress in Linux on the software engine.
#   stress.sh SECONDS   how long
#   CPUS                processors (2)
#   ENGINE              software, or software:interpreter
. "$(dirname "$0")/common.sh"

seconds=$1
need gcc cpio
"$root/Scripts/guest.sh" >/dev/null
build_roost

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
gcc -O2 -Wall -Wextra -static -pthread -o "$work/root/init" "$root/Tests/Guests/Stress/stress.c"
(cd "$work/root" && echo init | cpio -o -H newc --quiet) > "$work/initrd"
say "Forks, threads, signals, changing code, mappings and litmus tests for $seconds seconds"
"$roost" run --engine "${ENGINE:-software}" --cpus "${CPUS:-2}" --memory 512M --kernel "$cache/bzImage" \
    --initrd "$work/initrd" --cmdline "console=ttyS0 quiet panic=-1 -- $seconds" --serial stdio --no-reboot \
    < /dev/null | tee "$work/output"
grep -q "^STRESS ok" "$work/output" || fail "The guest found something wrong, or did not come to its end."
