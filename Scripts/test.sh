#!/bin/sh
# Runs every check. Tests that boot Linux find its files through the ROOST_TEST_ variables.
#   FILTER   the tests to run, as `swift test --filter` reads it
. "$(dirname "$0")/common.sh"

need acpica-tools
"$root/Scripts/guest.sh" >/dev/null
"$root/Scripts/lint.sh"

export ROOST_TEST_KERNEL="$cache/bzImage" ROOST_TEST_VMLINUX="$cache/vmlinux" ROOST_TEST_INITRD="$cache/initrd.cpio"
cd "$root"
say "Building the tests"
swift build --build-tests >&2 || fail "The build failed: the compiler's messages above say where."
say "Running the tests"
swift test --skip-build --disable-xctest ${FILTER:+--filter "$FILTER"} || fail "Tests failed: the lines marked with a cross above say which."
say "Everything passed ($(elapsed))"
