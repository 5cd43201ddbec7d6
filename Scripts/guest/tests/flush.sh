# Writes on the first disk until it is ended from outside, and tells what is durable. Two writers have half of the disk
# each, in slots of 64 KiB that they take in turn. Write N of a writer fills 8 << N % 5 sectors; each says who wrote it in
# which turn (`roost.name`) and where. `flushed` is printed once fsync has returned.
drivers disk
half=$(($(cat /sys/block/vda/size) / 2))

# write_slots NAME FIRST-SECTOR FLAGS
write_slots() {
    slots=$((half / 128)) number=0
    while :; do
        number=$((number + 1))
        sectors=$((8 << number % 5))
        awk -v what="$1 $ROOST_NAME $number" -v count=$sectors \
            'BEGIN { for (i = 0; i < count; i++) printf "%-511s\n", what " " i }' |
            dd of=/dev/vda bs=4k iflag=fullblock seek=$((($2 + number % slots * 128) * 512)) \
                oflag="seek_bytes$3" conv=notrunc,fsync status=none || break
        echo "ROOST-FLUSH: $1 $ROOST_NAME flushed $number"
    done
    echo "ROOST-FLUSH: $1 failed"
}

write_slots direct 0 ,direct &
write_slots buffered "$half" '' &
wait
exit 1
