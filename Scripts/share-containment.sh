#!/bin/sh
# Proves with strace that the file servers open nothing outside what is shared, while names move under them and
# while hostile guests ask: every call that names a file from a descriptor is looked at.
. "$(dirname "$0")/common.sh"
need strace
need python3
cd "$root"

export PART=Shares
say "Building the tests"
swift build --build-tests >&2 || fail "The build failed: the compiler's messages above say where."
trace=$(mktemp)
trap 'rm -f "$trace"' EXIT
say "Running them under strace"
calls=openat,openat2,mkdirat,mknodat,symlinkat,linkat,unlinkat,renameat2,fchmodat,fchownat,utimensat,faccessat2
strace -f -y -qq --seccomp-bpf -e "trace=$calls" -o "$trace" \
    swift test --skip-build --disable-xctest --filter 'hostile guest|host that moves names' >&2 ||
    fail "Tests failed: the lines marked with a cross above say which."
"$root/Scripts/share-containment.py" "$trace" || fail "The calls above reach outside the share."
say "Nothing was reached outside the share ($(elapsed))"
