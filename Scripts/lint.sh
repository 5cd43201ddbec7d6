#!/bin/sh
# Checks the style of all Swift files, and the rules that no compiler checks.
. "$(dirname "$0")/common.sh"
need_swift
cd "$root"

say "Checking the style"
swift format lint --strict --recursive Sources Tests Package.swift ||
    fail "Some files are not in the project's style: run 'swift format --in-place --recursive Sources Tests Package.swift'."

# What reads a guest's, a file's or a peer's bytes has no unsafe code at all, not even code that is marked as such.
say "Checking the rules"
safe="Sources/Devices Sources/Firmware Sources/Machine/SavedState Sources/Machine/Inspection Sources/Backends/UserNetwork Sources/Backends/Shares Sources/Backends/Volumes"
# shellcheck disable=SC2086
if grep -rnw --include='*.swift' unsafe $safe >&2; then
    fail "The lines above say 'unsafe' in a target that may not: $safe."
fi
