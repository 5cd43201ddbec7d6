#!/bin/sh
# Sets up what disk-faults.py needs, and runs it with the files of the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || fail "Small file systems and failing devices are made as root: run this as root."
need python3 qemu-utils
"$root/Scripts/guest.sh" >/dev/null
build_roost
exec python3 "$root/Scripts/disk-faults.py" --roost "$roost" --kernel "$cache/bzImage" --initrd "$cache/initrd.cpio" "$@"
