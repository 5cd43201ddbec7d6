# Fills the first disk in pieces of 256 KiB, past the guest's page cache, and flushes each; says which are durable. A piece
# that fails is tried again every half second, and given up after 40 failures in a row. Each sector says to which piece
# and turn (`roost.name`) it belongs.
drivers disk
pieces=$(($(cat /sys/block/vda/size) / 512))
number=0 failures=0
while [ $number -lt $pieces ]; do
    if error=$(awk -v what="$ROOST_NAME $number" 'BEGIN { for (i = 0; i < 512; i++) printf "%-511s\n", what " " i }' |
        dd of=/dev/vda bs=64k iflag=fullblock seek=$((number * 262144)) oflag=seek_bytes,direct \
            conv=notrunc,fsync status=none 2>&1); then
        echo "ROOST-FAULT: $number durable"
        number=$((number + 1)) failures=0
        continue
    fi
    failures=$((failures + 1))
    echo "ROOST-FAULT: $number failed: $error"
    [ $failures -lt 40 ] || { echo "ROOST-FAULT: $number given up"; exit 1; }
    sleep 0.5
done
echo 'ROOST-FAULT: all durable'
exit 0
