#!/bin/sh
# Measures how quickly images answer beside qemu-img. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-utils
build_roost
exec python3 "$root/Scripts/image-bench.py" --roost "$roost" "$@"
