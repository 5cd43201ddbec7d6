#!/bin/sh
# Packs network.cpio: the guest's first file system with the programs that its network tests need beside busybox's. They
# are not in initrd.cpio, which every boot unpacks.
. "$(dirname "$0")/common.sh"
"$root/Scripts/guest.sh" >/dev/null
open_cache
need cpio

packages="isc-dhcp-client libc-bin libc6 netcat-openbsd libbsd0 libmd0"
for package in $packages; do fetch "$package"; done

sources=$(
    { cat "$root/Scripts/network-initramfs.sh"; awk -F '\t' '/\t(packages\/|initrd.cpio\t)/ { print $1 }' "$manifest" | sort; } |
        sha256sum | cut -c 1-16
)
if intact network.cpio && [ "$(version_of network.cpio)" = "$sources" ]; then exit 0; fi

say "Packing the programs of the guest's network tests"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cd "$tree"
mkdir -p bin lib/x86_64-linux-gnu

# take PACKAGE PATH DESTINATION
take() { unpack_file "$cache/packages/$1.deb" "$2" > "$3"; }

take isc-dhcp-client sbin/dhclient bin/dhclient
take libc-bin usr/bin/getent bin/getent
take netcat-openbsd bin/nc.openbsd bin/nc.openbsd
take libc6 lib/x86_64-linux-gnu/libresolv.so.2 lib/x86_64-linux-gnu/libresolv.so.2
chmod 755 bin/*
# Libraries by the names that programs know them by, which are links in their packages.
for library in bsd md; do
    file=$(dpkg-deb --fsys-tarfile "$cache/packages/lib${library}0.deb" | tar -t | grep "/lib$library\.so\.0\..*")
    take "lib${library}0" "${file#./}" "lib/x86_64-linux-gnu/lib$library.so.0"
done

# The kernel unpacks archives that lie behind each other.
find . -exec touch -h -d @0 {} +
find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0 | cat "$cache/initrd.cpio" - > "$cache/network.cpio"
record network.cpio Scripts/guest "$sources"
