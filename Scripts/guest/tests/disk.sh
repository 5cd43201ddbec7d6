# Fills each disk with chance, reads it back past the cache, and discards a part; says what the host must find in the end.
. /etc/roost/expect.sh
drivers disk

forget() { echo 3 > /proc/sys/vm/drop_caches; }
sum() { sha256sum | cut -d ' ' -f 1; }

for disk in /sys/block/vd*; do
    name=${disk##*/}
    [ -e "$disk" ] || { expect disks some none; break; }
    bytes=$(($(cat "$disk/size") * 512))
    echo "ROOST-TEST: disk $name has $bytes bytes, serial $(cat "$disk/serial"), $(cat "$disk/queue/write_cache")," \
        "on $(basename "$(readlink -f "$disk/device/..")")"
    if [ "$(cat "$disk/ro")" = 1 ]; then
        expect "$name refuses to be written" refused \
            "$(dd if=/dev/zero of="/dev/$name" bs=512 count=1 conv=fsync status=none 2>/dev/null || echo refused)"
        echo "ROOST-TEST: disk $name ends as $(dd if="/dev/$name" bs=64k status=none | sum)"
        continue
    fi

    head -c "$bytes" /dev/urandom > /tmp/pattern
    wanted=$(sum < /tmp/pattern)
    dd if=/tmp/pattern of="/dev/$name" bs=64k conv=fsync status=none
    forget
    expect "$name buffered" "$wanted" "$(dd if="/dev/$name" bs=64k status=none | sum)"
    expect "$name direct" "$wanted" "$(dd if="/dev/$name" bs=256k iflag=direct status=none | sum)"

    # Something else, a quarter at a time, all at once and each in pieces of its own size.
    head -c "$bytes" /dev/urandom > /tmp/pattern
    quarter=$((bytes / 4))
    for index in 3 0 2 1; do
        dd if=/tmp/pattern of="/dev/$name" bs=$((2048 << index)) skip=$((index * quarter)) seek=$((index * quarter)) \
            count=$((quarter / (2048 << index))) iflag=skip_bytes oflag=seek_bytes,direct conv=fsync,notrunc status=none &
    done
    wait
    forget
    expect "$name in quarters" "$(sum < /tmp/pattern)" "$(dd if="/dev/$name" bs=64k status=none | sum)"

    # The second quarter.
    if [ "$(cat "$disk/queue/discard_max_bytes")" != 0 ]; then
        expect "$name segments in a discard" 64 "$(cat "$disk/queue/max_discard_segments" 2>/dev/null)"
        blkdiscard -o $quarter -l $quarter "/dev/$name"
        expect "$name discarded" "$(head -c $quarter /dev/zero | sum)" \
            "$(dd if="/dev/$name" bs=$quarter skip=1 count=1 iflag=direct status=none | sum)"
    fi
    sync
    forget
    echo "ROOST-TEST: disk $name ends as $(dd if="/dev/$name" bs=64k status=none | sum)"
done
rm -f /tmp/pattern
exit "$failures"
