#!/bin/sh
# Exchanges images with qemu-img over every option. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-utils
build_roost
exec python3 "$root/Scripts/image-exchange.py" --roost "$roost" "$@"
