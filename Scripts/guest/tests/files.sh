# Works in the file system of the first disk for `roost.seconds`, and tells what fsync has made durable. Three writers take
# steps, each with a number; what there is after step N follows from N alone, so that the host knows it too
# (Scripts/replay-cuts.py). Lines have 64 characters and sectors a line each, with the writer, the step and a count.
drivers disk
mkdir -p /mnt
mount -t ext4 -o discard /dev/vda /mnt || exit 1
end=$(($(cut -d . -f 1 /proc/uptime) + ${ROOST_SECONDS:-10}))
goes_on() { [ "$(cut -d . -f 1 /proc/uptime)" -lt $end ]; }

# lines WRITER STEP COUNT WIDTH
lines() {
    awk -v what="$1 $2" -v count="$3" -v form="%-$(($4 - 1))s\\n" \
        'BEGIN { for (i = 0; i < count; i++) printf form, what " " i }'
}

# Six files, each replaced under its name or, in every fifth step, removed.
write_names() {
    mkdir -p /mnt/names
    sync /mnt/names /mnt
    step=0
    while goes_on; do
        step=$((step + 1))
        place=/mnt/names/$((step % 6))
        if [ $((step % 5)) = 4 ]; then
            rm -f $place
        else
            lines names $step $((16 << step % 6)) 64 > /mnt/names/new
            sync /mnt/names/new
            mv /mnt/names/new $place
        fi
        sync /mnt/names
        echo "ROOST-FILES: names $step"
    done
}

# One file, which grows by some lines a step and becomes empty in every sixteenth.
write_log() {
    : > /mnt/log
    sync /mnt/log /mnt
    step=0
    while goes_on; do
        step=$((step + 1))
        if [ $((step % 16)) = 0 ]; then
            truncate -s 0 /mnt/log
        else
            lines log $step $((1 + step * 7 % 40)) 64 >> /mnt/log
        fi
        sync /mnt/log
        echo "ROOST-FILES: log $step"
    done
}

# One file of 128 sectors, of which a step writes some in place: every other time past the guest's page cache.
write_blocks() {
    dd if=/dev/zero of=/mnt/blocks bs=64k count=1 conv=fsync status=none
    sync /mnt
    step=0
    while goes_on; do
        step=$((step + 1)) flags=
        [ $((step % 2)) = 0 ] || flags=,direct
        lines blocks $step $((8 << step % 3)) 512 |
            dd of=/mnt/blocks bs=16k iflag=fullblock seek=$((step % 16 * 4096)) oflag="seek_bytes$flags" \
                conv=notrunc,fsync status=none
        echo "ROOST-FILES: blocks $step"
    done
}

trim() { while goes_on; do sleep 1; fstrim /mnt; done; }

write_names & write_log & write_blocks & trim &
wait
umount /mnt
awk '{ print "ROOST-TEST: files " $12 " discards, into which " $13 " others were merged" }' /sys/block/vda/stat
# How many flushes the disk has answered.
echo "ROOST-FILES: flushes $(awk '{ print $16 }' /sys/block/vda/stat)"
