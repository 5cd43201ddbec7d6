#!/bin/sh
# Sets up what save-points.py needs, and runs it with the files of the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3
"$root/Scripts/guest.sh" >/dev/null
build_roost
exec python3 "$root/Scripts/save-points.py" --roost "$roost" --kernel "$cache/bzImage" --initrd "$cache/initrd.cpio" "$@"
