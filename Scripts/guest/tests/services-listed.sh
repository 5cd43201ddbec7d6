# What a user network's list lets through, and what it does not: --net user,allow=www.outside.test:7001.
. /etc/roost/expect.sh
drivers net
udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/roost/dhcp-lease >/tmp/udhcpc 2>&1

listed=198.51.100.80 other=198.51.100.81
# How a connection to an address and port ends.
connect() { nc -w 5 "$1" "$2" < /dev/null 2>&1 > /dev/null | grep -o '[^:]*$' | xargs; }
refusal="No route to host"

# Before it was looked up, the address is as closed as any.
expect "an address that no answer gave" "$refusal" "$(connect $listed 7001)"
expect "a name on the list" $listed "$(nslookup -type=a www.outside.test | awk '/^Name/ { found = 1 } found && /^Address/ { print $2 }')"
expect "the address that it has" "" "$(connect $listed 7001)"
expect "another port of it" "$refusal" "$(connect $listed 7002)"
expect "another address" "$refusal" "$(connect $other 7001)"
expect "a name that is not on the list" 1 "$(nslookup -type=a other.outside.test 2>&1 | grep -c REFUSED)"
expect "the same by TCP" 2 "$(echo 'options use-vc' >> /etc/resolv.conf; getent ahostsv4 other.outside.test > /dev/null; echo $?)"
# An entry's ports say nothing of pings, which have none.
expect "a ping to the address of a name on the list" 2 "$(ping -c 2 -i 0.2 -W 1 $listed | grep -c 'bytes from')"
expect "a ping to another" 0 "$(ping -c 2 -i 0.2 -W 1 $other | grep -c 'bytes from')"
echo anybody | nc.openbsd -u -w 1 $listed 7007 > /tmp/answer 2>&1
expect "a datagram" "" "$(cat /tmp/answer)"
exit "$failures"
