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
if [ "$(uname -m)" = x86_64 ]; then
    say "Checking the machine code of the interpreter's handlers"
    need python3
    "$root/Scripts/handlers.py" objdump "$(swift build --show-bin-path)"/X86Processor.build/*.o >&2 ||
        fail "Handlers of the interpreter do not end as they should: the lines above say which."
else
    say "Skipping the check of the interpreter's machine code: it reads x86-64's only"
fi
say "Running the tests"
swift test --skip-build --disable-xctest ${FILTER:+--filter "$FILTER"} || fail "Tests failed: the lines marked with a cross above say which."
if [ "$(uname -m)" = x86_64 ] && [ -z "${FILTER:-}" ]; then
    say "Running the processor's tests on the translator"
    ROOST_TEST_TIER=translator swift test --skip-build --disable-xctest --filter X86ProcessorTests ||
        fail "Tests failed on the translator: the lines marked with a cross above say which."
fi
say "Everything passed ($(elapsed))"
