# Takes an address by DHCP, looks around, and fetches what the host sends at the first of `roost.ports`. The second gets
# the same back, and says how many bytes came.
. /etc/roost/expect.sh
drivers net
set -- $ROOST_PORTS

gateway=10.0.2.2

expect DHCP 0 "$(udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/roost/dhcp-lease >/tmp/udhcpc 2>&1; echo $?)"
expect address 10.0.2.15/24 "$(ip -4 address show eth0 | awk '$1 == "inet" { print $2 }')"
expect "way out" "default via $gateway dev eth0" "$(ip route | grep default | xargs)"
expect ping 3 "$(ping -c 3 -i 0.1 -s 1000 $gateway | grep -c 'bytes from')"
expect name $gateway "$(nslookup -type=a host.roost.internal | awk '/^Name/ { found = 1 } found && /^Address/ { print $2 }')"
expect "no name" 1 "$(nslookup -type=a nobody.roost.internal 2>&1 | grep -c NXDOMAIN)"
if [ -n "$1" ]; then
    nc $gateway "$1" < /dev/null > /tmp/file
    echo "ROOST-TEST: net downloaded $(sha256sum < /tmp/file | cut -d ' ' -f 1)"
    expect upload "$(stat -c %s /tmp/file)" "$(nc $gateway "$2" < /tmp/file)"
    rm /tmp/file
fi
expect "lost frames" "0 0 0 0" "$(cd /sys/class/net/eth0/statistics && cat rx_errors rx_dropped tx_errors tx_dropped | xargs)"
exit "$failures"
