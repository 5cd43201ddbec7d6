# Uses all that a user network offers, among hosts that Scripts/network-services.py plays, which looks at what came of it.
# Needs the programs of `network.cpio` beside busybox's.
. /etc/roost/expect.sh
drivers net

gateway=10.0.2.2 gateway6=fd00::2
outside=198.51.100.80 outside6=2001:db8:51::80

# All addresses of one kind that the card has: `addresses -4`.
addresses() { ip "$1" address show eth0 scope global | awk '$1 ~ /^inet/ { print $2 }' | sort | xargs; }
# Waits until a command succeeds, 10 s at most.
wait_until() {
    for _ in $(seq 100); do
        eval "$1" && return
        sleep 0.1
    done
    return 1
}
digest() { sha256sum | cut -d ' ' -f 1; }

# --- Addresses ---

cat > /tmp/lease.sh <<'END'
#!/bin/sh
[ "$1" != bound ] || env > /tmp/lease
exec /etc/roost/dhcp-lease "$@"
END
chmod 755 /tmp/lease.sh
expect "DHCPv4 lease" 0 "$(udhcpc -i eth0 -n -q -t 5 -T 1 -O bootfile -O tftp -O mtu -O search -s /tmp/lease.sh >/tmp/udhcpc 2>&1; echo $?)"
lease() { sed -n "s/^$1=//p" /tmp/lease; }
expect "DHCPv4 address" 10.0.2.15/24 "$(addresses -4)"
expect "DHCPv4 router, resolver and server" "$gateway 10.0.2.3 $gateway" "$(lease router) $(lease dns) $(lease serverid)"
expect "DHCPv4 names" "guest roost.internal" "$(lease hostname) $(lease domain)"
expect "DHCPv4 boot file" "boot.img $gateway" "$(lease bootfile) $(lease siaddr)"

# The prefix's address is made of the card's (RFC 4291 appendix A).
wait_until 'ip -6 address show eth0 scope global | grep -v tentative | grep -q inet6'
expect "router advertisement, address" fd00::5054:ff:fe12:3456/64 "$(addresses -6)"
expect "router advertisement, route" "via fe80::2" "$(ip -6 route show default | grep -o 'via [^ ]*')"

cat > /tmp/lease6.sh <<'END'
#!/bin/sh
case $reason in BOUND6)
    ip -6 address add "$new_ip6_address/128" dev "$interface"
    env > /tmp/lease6
    ;;
esac
END
chmod 755 /tmp/lease6.sh
expect "DHCPv6 lease" 0 "$(dhclient -6 -1 -cf /dev/null -lf /tmp/leases6 -pf /tmp/dhclient.pid -sf /tmp/lease6.sh eth0 >/tmp/dhclient 2>&1; echo $?)"
expect "DHCPv6 address and resolver" "fd00::15 fd00::3" "$(sed -n 's/^new_ip6_address=//p' /tmp/lease6) $(sed -n 's/^new_dhcp6_name_servers=//p' /tmp/lease6)"
kill "$(cat /tmp/dhclient.pid)"
wait_until '! ip -6 address show eth0 scope global | grep -q tentative'

# --- Names ---

# Looks up a name: `name TYPE NAME [SERVER]`.
name() { nslookup "-type=$1" "$2" "${3:-10.0.2.3}" | awk '/^Name/ { found = 1 } found && /^Address/ { print $2 }' | xargs; }
expect "DNS by UDP, A" $outside "$(name a www.outside.test)"
expect "DNS by UDP, AAAA" $outside6 "$(name aaaa www.outside.test)"
expect "DNS by UDP over IPv6" $outside "$(name a www.outside.test fd00::3)"
expect "DNS, no such name" 1 "$(nslookup -type=a nobody.outside.test 2>&1 | grep -c NXDOMAIN)"
# A hundred addresses do not fit into a datagram: the C library's resolver asks again by TCP.
expect "DNS by TCP after a cut answer" "$(seq 100 | sed 's/^/203.0.113./' | digest)" \
    "$(getent ahostsv4 big.outside.test | awk '{ print $1 }' | sort -u | sort -t . -k 4n | digest)"
echo 'options use-vc' >> /etc/resolv.conf
expect "DNS by TCP, a name of the network's own" $gateway "$(getent ahostsv4 host.roost.internal | awk '{ print $1; exit }')"
sed -i 's/nameserver.*/nameserver fd00::3/' /etc/resolv.conf
expect "DNS by TCP over IPv6" $outside6 "$(getent ahostsv6 www.outside.test | awk '{ print $1; exit }')"

# --- Echo ---

answers() { ping -c 3 -i 0.2 -W 2 -s 1000 "$1" | grep -c 'bytes from'; }
for address in $gateway $gateway6 $outside $outside6; do expect "ping $address" 3 "$(answers $address)"; done

# --- Connections and datagrams from the guest ---

for address in $outside $outside6; do
    nc $address 7001 < /dev/null > /tmp/file
    echo "ROOST-TEST: $ROOST_TEST downloaded from $address $(digest < /tmp/file)"
    expect "TCP upload to $address" "$(stat -c %s /tmp/file)" "$(nc $address 7002 < /tmp/file)"
    # One that has to be cut into packets of the cable's, and put together again at the other end.
    head -c 4000 /tmp/file > /tmp/datagram
    expect "UDP to $address and back" "$(digest < /tmp/datagram)" "$(nc.openbsd -u -w 1 $address 7007 < /tmp/datagram | digest)"
done

# --- What is closed ---

expect "TCP to the host's loopback" 1 "$(nc -w 5 $gateway 9000 < /dev/null > /tmp/closed 2>&1; echo $?)"
expect "TCP to an address on the host's loopback interface" 1 "$(nc -w 5 192.0.2.99 9000 < /dev/null > /tmp/closed 2>&1; echo $?)"
echo anybody | nc.openbsd -u -w 1 $gateway 9000 > /tmp/closed 2>&1
expect "UDP to the host's loopback" "" "$(cat /tmp/closed)"

# --- The file that the guest would boot ---

tftp -g -b 1400 -r boot.img -l /tmp/boot.img $gateway
echo "ROOST-TEST: $ROOST_TEST fetched $(digest < /tmp/boot.img)"
rm /tmp/boot.img

# --- Connections and datagrams to the guest ---

nc -ll -p 8080 -e cat &
mkfifo /tmp/line
while read -r line; do echo "the guest heard $line"; done < /tmp/line | nc.openbsd -u -l 8081 > /tmp/line &
nc -l -p 8082 > /tmp/end &
wait_until 'netstat -ltu | grep -c ":808[012]" | grep -qx 3'
echo "ROOST-TEST: $ROOST_TEST listens"
wait_until 'grep -q end /tmp/end' || echo "ROOST-TEST: $ROOST_TEST was never told to end"

expect "lost frames" "0 0 0 0" "$(cd /sys/class/net/eth0/statistics && cat rx_errors rx_dropped tx_errors tx_dropped | xargs)"
exit "$failures"
