# Keeps the first disk and, with a port, the network busy for `roost.seconds`, and looks at every byte again. The host may
# save and restore the machine meanwhile: the disk must not notice. Connections do not survive that, but none may carry
# anything wrong, and new ones must be possible.
. /etc/roost/expect.sh
drivers disk net
end=$(($(cut -d . -f 1 /proc/uptime) + ${ROOST_SECONDS:-10}))
goes_on() { [ "$(cut -d . -f 1 /proc/uptime)" -lt $end ]; }

bytes=$(($(cat /sys/block/vda/size) * 512))
half=$((bytes / 2))

# write_disk NAME OFFSET BLOCK FLAGS: fills half of the disk anew each round, every sector with a stamp of its own.
write_disk() {
    round=0 wrong=0
    while goes_on; do
        round=$((round + 1))
        awk -v name="$1" -v round=$round -v count=$((half / 512)) \
            'BEGIN { for (i = 0; i < count; i++) printf "%-511s\n", name " round " round " sector " i }' > "/tmp/$1"
        dd if="/tmp/$1" of=/dev/vda bs="$3" seek="$2" oflag="seek_bytes$4" conv=notrunc,fsync status=none ||
            wrong=$((wrong + 1))
        [ -n "$4" ] || echo 1 > /proc/sys/vm/drop_caches
        dd if=/dev/vda bs="$3" skip="$2" count=$((half / $3)) iflag="skip_bytes$4" status=none | cmp - "/tmp/$1" ||
            wrong=$((wrong + 1))
    done
    echo "$round $wrong" > "/tmp/$1.result"
}

# Lines of 64 characters with their numbers in front, and the last one `end`.
download() {
    { echo down; while sleep 0.3; do echo; done; } | timeout 20 nc 10.0.2.2 "$1" |
        awk '$1 == "end" { whole = 1; next } $1 + 0 != NR && length($0) == 63 { wrong++ }
             END { print whole ? "whole" : "cut", wrong + 0 }'
}

upload() {
    answer=$({ echo up; awk 'BEGIN { for (i = 1; i <= 5000; i++) printf "%-63d\n", i; print "end" }'; } |
        timeout 20 nc 10.0.2.2 "$1")
    case $answer in whole) echo whole 0 ;; wrong*) echo cut 1 ;; *) echo cut 0 ;; esac
}

# use_network NAME PORT
use_network() {
    while goes_on; do "$1" "$2"; done > "/tmp/$1"
    awk '{ count[$1]++; wrong += $2 } END { print count["whole"] + 0, count["cut"] + 0, wrong + 0 }' "/tmp/$1" > "/tmp/$1.result"
}

if [ -n "$ROOST_PORTS" ]; then
    expect DHCP 0 "$(udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/roost/dhcp-lease >/dev/null 2>&1; echo $?)"
    use_network download "$ROOST_PORTS" &
    use_network upload "$ROOST_PORTS" &
fi
echo 'ROOST-LOAD: begins'
write_disk direct 0 4096 ,direct &
write_disk buffered $half 65536 '' &
wait
# From here on the machine is left in peace.
echo 'ROOST-LOAD: is over'

for name in direct buffered; do
    read -r rounds wrong < /tmp/$name.result
    expect "$name disk" 0 "$wrong"
    echo "ROOST-LOAD: $name disk, $rounds rounds"
done
if [ -n "$ROOST_PORTS" ]; then
    for name in download upload; do
        read -r whole cut wrong < /tmp/$name.result
        expect $name 0 "$wrong"
        echo "ROOST-LOAD: $name, $whole whole, $cut cut"
    done
    # The first attempt may have been cut.
    expect 'last download' 'whole 0' "$(download "$ROOST_PORTS" | grep whole || download "$ROOST_PORTS")"
    expect 'last upload' 'whole 0' "$(upload "$ROOST_PORTS" | grep whole || upload "$ROOST_PORTS")"
fi
echo "ROOST-LOAD: disk ends as $(dd if=/dev/vda bs=64k iflag=direct status=none | sha256sum | cut -d ' ' -f 1)"
exit "$failures"
