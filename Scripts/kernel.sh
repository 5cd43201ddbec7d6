#!/bin/sh
# Puts Debian's cloud kernel into the cache, packed (bzImage) and unpacked (vmlinux). Nothing is installed.
# Remove the cache folder to take the newest one.
. "$(dirname "$0")/common.sh"
open_cache

# linux-image-cloud-amd64 only names the package of the current kernel.
current_kernel() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p'; }

if ! intact bzImage; then
    package=$(current_kernel)
    [ -n "$package" ] || { refresh_package_lists; package=$(current_kernel); }
    [ -n "$package" ] || fail "Debian's package linux-image-cloud-amd64 is not known to apt: add Debian 12's main archive to /etc/apt/sources.list."
    fetch "$package"
    say "Taking the kernel out of $package"
    unpack_file "$deb" "boot/vmlinuz-${package#linux-image-}" > "$cache/bzImage"
    record bzImage "$package" "$(version_of "packages/$package.deb")"
fi

if ! intact vmlinux || [ "$(version_of vmlinux)" != "$(version_of bzImage)" ]; then
    say "Unpacking the kernel"
    "$root/Scripts/extract-vmlinux.sh" "$cache/bzImage" "$cache/vmlinux"
    record vmlinux bzImage "$(version_of bzImage)"
fi
