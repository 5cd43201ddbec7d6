# The host's loopback, when it is opened: --net user,host-loopback=on.
. /etc/roost/expect.sh
drivers net
udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/roost/dhcp-lease >/tmp/udhcpc 2>&1
for _ in $(seq 100); do
    ip -6 address show eth0 scope global | grep -v tentative | grep -q inet6 && break
    sleep 0.1
done

for address in 10.0.2.2 fd00::2; do
    expect "TCP to the host's loopback by $address" "of the loopback" "$(nc -w 5 $address 9000 < /dev/null)"
    expect "UDP to the host's loopback by $address" anybody "$(echo anybody | nc.openbsd -u -w 1 $address 9000)"
done
# Under no other name.
expect "TCP to an address on the host's loopback interface" 1 "$(nc -w 5 192.0.2.99 9000 < /dev/null > /tmp/closed 2>&1; echo $?)"
exit "$failures"
