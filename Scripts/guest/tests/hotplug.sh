# Says when it is ready, uses the disk that the host then plugs into a slot, lets it go when the host asks, and does the
# same with a second one.
. /etc/roost/expect.sh
drivers disk

# until COMMAND…: waits until it succeeds, half a minute at most.
until_it() {
    for _ in $(seq 300); do
        "$@" && return
        usleep 100000
    done
    echo "ROOST-TEST: hotplug waited in vain for: $*"
}
is_there() { [ -b /dev/vda ]; }
is_gone() { [ ! -e /dev/vda ]; }
sum() { sha256sum | cut -d ' ' -f 1; }

for slot in /sys/bus/pci/slots/*; do
    echo "ROOST-TEST: hotplug slot ${slot##*/} is at $(cat "$slot/address"), power $(cat "$slot/power")"
done
for round in first second; do
    expect "disk before the $round" none "$(is_there && echo there || echo none)"
    echo "ROOST-TEST: hotplug waits for the $round disk"
    until_it is_there
    place=$(readlink -f /sys/block/vda/device/..)
    expect "link of the $round" '5.0 GT/s PCIe, 16' \
        "$(cat "$place/current_link_speed"), $(cat "$place/current_link_width")"
    head -c 1048576 /dev/urandom > /tmp/pattern
    dd if=/tmp/pattern of=/dev/vda bs=64k conv=fsync status=none
    echo 3 > /proc/sys/vm/drop_caches
    expect "content of the $round" "$(sum < /tmp/pattern)" "$(dd if=/dev/vda bs=64k count=16 status=none | sum)"
    echo "ROOST-TEST: hotplug wrote $(sum < /tmp/pattern)"
    until_it is_gone
done
expect complaints '' "$(dmesg | grep -iE 'no space|failed to assign|conflict|timeout|not claim' | head -3)"
exit "$failures"
