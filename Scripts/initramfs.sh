#!/bin/sh
# Packs the guest's first file system, initrd.cpio, from Scripts/guest and from Debian packages that are not installed.
#
# It is not compressed: an uncompressed archive costs the guest one copy, and inflating it would be most of what a guest
# of an interpreter does before its first process.
. "$(dirname "$0")/common.sh"
open_cache
need cpio

# The kernel's modules must fit the kernel.
kernel=$(awk -F '\t' '$2 == "bzImage" { print $3 }' "$manifest")
[ -n "$kernel" ] || fail "There is no kernel in the cache yet: run Scripts/kernel.sh first."
packages="busybox-static libc6 dmidecode $kernel"
for package in $packages; do fetch "$package"; done

# Made again when anything that goes into it changed.
sources=$(
    cd "$root/Scripts"
    { cat initramfs.sh; find guest -type f | sort | xargs sha256sum; awk -F '\t' '/\tpackages\// { print $1 }' "$manifest" | sort; } |
        sha256sum | cut -c 1-16
)
if intact initrd.cpio && [ "$(version_of initrd.cpio)" = "$sources" ]; then exit 0; fi

say "Packing the guest's first file system"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cd "$tree"
mkdir -p bin dev etc/acpi/PWRF etc/roost lib64 lib/x86_64-linux-gnu proc root run sys tmp
ln -s bin sbin

# take PACKAGE PATH DESTINATION
take() { unpack_file "$cache/packages/$1.deb" "$2" > "$3"; }

take busybox-static bin/busybox bin/busybox
chmod 755 bin/busybox
for applet in $(bin/busybox --list); do
    [ -e "bin/$applet" ] || ln -s busybox "bin/$applet"
done

# dmidecode is the one program here that is not static.
take dmidecode usr/sbin/dmidecode bin/dmidecode
take libc6 lib/x86_64-linux-gnu/libc.so.6 lib/x86_64-linux-gnu/libc.so.6
take libc6 lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 lib64/ld-linux-x86-64.so.2
chmod 755 bin/dmidecode lib64/* lib/x86_64-linux-gnu/*

# The power button, which this kernel has as a module, and the drivers of virtio devices.
modules=$(printf 'drivers/acpi/button\ndrivers/input/evdev\n' | cat - "$root/Scripts/guest/virtio-modules" |
    sed "s|.*|./lib/modules/${kernel#linux-image-}/kernel/&.ko|")
mkdir modules
# shellcheck disable=SC2086
dpkg-deb --fsys-tarfile "$cache/packages/$kernel.deb" | tar -xC modules $modules
find modules -name '*.ko' -exec mv {} lib/ \;
rm -r modules

guest=$root/Scripts/guest
cp "$guest/init" init
cp "$guest/inittab" "$guest/passwd" "$guest/group" "$guest/profile" "$guest/banner" etc/
cp "$guest/lspci" "$guest/drivers" bin/
cp "$guest/virtio-modules" "$guest/dhcp-lease" "$guest/expect.sh" etc/roost/
cp "$guest/power-button" etc/acpi/PWRF/00000080
cp -r "$guest/tests" etc/roost/tests
chmod 755 init bin/lspci bin/drivers etc/roost/dhcp-lease etc/acpi/PWRF/00000080

# The same input gives the same archive, to the byte.
find . -exec touch -h -d @0 {} +
find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0 > "$cache/initrd.cpio"
record initrd.cpio Scripts/guest "$sources"
