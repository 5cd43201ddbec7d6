#!/bin/sh
# Sets up what debian-compare.py needs, and runs it on a fresh disk in the cache. Arguments are handed on.
. "$(dirname "$0")/common.sh"
need python3 qemu-system-x86 mmdebstrap e2fsprogs openssl
[ "$(id -u)" = 0 ] || need uidmap
build_roost
mkdir -p "$cache"
disk=$cache/debian-compare.qcow2
[ -f "$disk" ] || "$roost" image build debian --output "$disk" --user debian --password debian --hostname debian ||
    fail "The Debian disk could not be made: the lines above say why."
exec python3 "$root/Scripts/debian-compare.py" --roost "$roost" --disk "$disk" "$@"
