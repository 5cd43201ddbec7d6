#!/bin/sh
# Sets up what save-devices.py needs, and runs it with the files of the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-utils
"$root/Scripts/guest.sh" >/dev/null
build_roost
exec python3 "$root/Scripts/save-devices.py" --roost "$roost" --kernel "$cache/bzImage" --initrd "$cache/initrd.cpio" "$@"
