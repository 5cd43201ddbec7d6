#!/bin/sh
# Sets up what exit-cost.py needs, and runs it. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-system-x86
build_roost
say "Building the guests and the tests"
(cd "$root" && swift build --build-tests >&2) || fail "The build failed: the compiler's messages above say where."
tests=$(cd "$root" && swift build --show-bin-path)
exec python3 "$root/Scripts/exit-cost.py" --roost "$roost" --tests "$tests/roostPackageTests.xctest" \
    --guests "$(find "$tests/.." "$root/.build/plugins" -name guests.elf | head -n 1)" "$@"
