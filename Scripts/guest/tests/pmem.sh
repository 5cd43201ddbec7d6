# Puts a file system on persistent memory and maps its files (DAX). Then the host cuts the file off behind the memory:
# the guest goes on, and hears of it when it wants something to be durable.
. /etc/roost/expect.sh
drivers pmem
# Linux makes the disks of several regions side by side, after the driver is loaded.
for _ in $(seq 100); do
    [ -b /dev/pmem0 ] && [ -b /dev/pmem1 ] && break
    usleep 100000
done

sum() { sha256sum | cut -d ' ' -f 1; }
echo "ROOST-TEST: pmem has $(cat /sys/block/pmem0/size) sectors, dax $(cat /sys/block/pmem0/queue/dax)"
expect 'content from the host' 'words of the host' "$(head -n 1 /dev/pmem0)"

mke2fs -b 4096 /dev/pmem0 > /dev/null
mkdir -p /mnt
mount -t ext4 -o dax /dev/pmem0 /mnt
expect mount dax=always "$(sed -n 's/.*pmem0.*\(dax=always\).*/\1/p' /proc/mounts)"
head -c 4194304 /dev/urandom > /tmp/pattern
dd if=/tmp/pattern of=/mnt/pattern bs=64k conv=fsync status=none
expect content "$(sum < /tmp/pattern)" "$(sum < /mnt/pattern)"
umount /mnt
# Where the loss will show, whatever the file system put there.
dd if=/tmp/pattern of=/dev/pmem0 bs=4k seek=1023 count=1 conv=fsync,notrunc status=none
echo "ROOST-TEST: pmem holds $(sum < /tmp/pattern), and all of it is $(sum < /dev/pmem0)"

# Read-only memory.
expect 'read-only content' "$(head -c 65536 /dev/zero | tr '\0' r | sum)" "$(dd if=/dev/pmem1 bs=64k count=1 status=none | sum)"
expect 'durable write of read-only memory' refused \
    "$(dd if=/dev/zero of=/dev/pmem1 bs=4k count=1 conv=fsync status=none 2> /dev/null || echo refused)"

echo 'ROOST-TEST: pmem waits for the cut'
for _ in $(seq 300); do
    echo 3 > /proc/sys/vm/drop_caches
    [ "$(dd if=/dev/pmem0 bs=4k skip=1023 count=1 status=none | sum)" = "$(head -c 4096 /dev/zero | sum)" ] && break
    usleep 100000
done
dd if=/tmp/pattern of=/dev/pmem0 bs=4k seek=1000 count=1 status=none
echo 3 > /proc/sys/vm/drop_caches
expect 'memory behind the cut' "$(head -c 4096 /tmp/pattern | sum)" \
    "$(dd if=/dev/pmem0 bs=4k skip=1000 count=1 status=none | sum)"
expect 'durable write behind the cut' refused \
    "$(dd if=/tmp/pattern of=/dev/pmem0 bs=4k count=1 conv=fsync,notrunc status=none 2> /dev/null || echo refused)"
exit "$failures"
