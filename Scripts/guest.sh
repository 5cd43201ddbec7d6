#!/bin/sh
# Puts the guest's kernel and first file system into the cache, and prints what is there.
. "$(dirname "$0")/common.sh"
"$root/Scripts/kernel.sh"
"$root/Scripts/initramfs.sh"
for file in bzImage vmlinux initrd.cpio; do
    printf '%s\t%s\n' "$cache/$file" "$(version_of "$file")"
done
