#!/bin/sh
# Sets up what network-services.py needs, and runs it with the files of the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 iproute2 util-linux
"$root/Scripts/network-initramfs.sh"
build_roost
exec python3 "$root/Scripts/network-services.py" --roost "$roost" --kernel "$cache/bzImage" --initrd "$cache/network.cpio" "$@"
