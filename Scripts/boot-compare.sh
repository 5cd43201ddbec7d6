#!/bin/sh
# Sets up what boot-compare.py needs, and runs it with the files of the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-system-x86
"$root/Scripts/guest.sh" >/dev/null
build_roost
exec python3 "$root/Scripts/boot-compare.py" --roost "$roost" --kernel "$cache/bzImage" --vmlinux "$cache/vmlinux" \
    --initrd "$cache/initrd.cpio" "$@"
