#!/bin/sh
# extract-vmlinux.sh BZIMAGE VMLINUX: unpacks the ELF kernel inside a bzImage.
#
# The setup header names the place of the packed kernel: payload_offset (248h) and payload_length (24Ch), counted from
# the end of the setup sectors (1F1h). Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
. "$(dirname "$0")/common.sh"

[ $# = 2 ] || fail "Usage: extract-vmlinux.sh BZIMAGE VMLINUX"
image=$1 vmlinux=$2
[ -r "$image" ] || fail "The kernel $image cannot be read."

# The unsigned number of SIZE bytes at OFFSET.
field() { od -A n -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }

[ "$(field 514 4)" = 1400005704 ] || fail "$image is no bzImage: it does not carry the signature HdrS at 202h."
sectors=$(field 497 1)
[ "$sectors" != 0 ] || sectors=4
offset=$(((sectors + 1) * 512 + $(field 584 4)))
length=$(field 588 4)

# `build` in the kernel tree appends the unpacked size, four bytes that are no part of the packed stream.
magic=$(od -A n -t x1 -j "$offset" -N 4 "$image" | tr -d ' ')
case $magic in
1f8b*) need gzip; unpack="gzip -dc" ;;
fd377a58) need xz-utils; unpack="xz -dc --single-stream" ;;
28b52ffd) need zstd; unpack="zstd -dcq" ;;
02214c18) need lz4; unpack="lz4 -dcq" ;;
7f454c46) unpack="cat" ;;
*) fail "The kernel in $image is packed in a form that is not known here (it starts with $magic)." ;;
esac
[ "$unpack" = "cat" ] || length=$((length - 4))

tail -c "+$((offset + 1))" "$image" | head -c "$length" | $unpack > "$vmlinux.new"
[ "$(od -A n -t x1 -N 4 "$vmlinux.new" | tr -d ' ')" = 7f454c46 ] || fail "What $image holds is no ELF file."
mv "$vmlinux.new" "$vmlinux"
