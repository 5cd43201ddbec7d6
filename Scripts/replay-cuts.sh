#!/bin/sh
# Sets up what replay-cuts.py needs, and runs it with the files of the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-utils e2fsprogs gcc libc6-dev
"$root/Scripts/guest.sh" >/dev/null
build_roost
recorder=$(mktemp --suffix=.so)
trap 'rm -f "$recorder"' EXIT
gcc -O2 -Wall -shared -fPIC -o "$recorder" "$root/Scripts/recorder/recorder.c" ||
    fail "The recorder could not be compiled: the messages above say why."
python3 "$root/Scripts/replay-cuts.py" --roost "$roost" --kernel "$cache/bzImage" --initrd "$cache/initrd.cpio" \
    --recorder "$recorder" "$@"
