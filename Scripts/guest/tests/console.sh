# Speaks through the virtio console: the host answers each line with what it has to say.
. /etc/roost/expect.sh
drivers console entropy

for try in $(seq 1 50); do [ -c /dev/hvc0 ] && break; sleep 0.1; done
exec 3<> /dev/hvc0
stty raw -echo <&3
echo 'ROOST-CONSOLE: says the guest' >&3
read -r answer <&3
expect answer 'says the host' "$answer"
seq 1 5000 >&3
echo 'ROOST-CONSOLE: end' >&3
read -r answer <&3
expect 'second answer' 'heard it all' "$answer"

expect 'source of randomness' virtio_rng.0 "$(cat /sys/class/misc/hw_random/rng_current)"
expect 'random bytes' 4096 "$(head -c 4096 /dev/hwrng | wc -c)"
expect 'bytes that differ' 1 "$([ "$(head -c 64 /dev/hwrng | xxd -p)" != "$(head -c 64 /dev/hwrng | xxd -p)" ] && echo 1)"
exit "$failures"
