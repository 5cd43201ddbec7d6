# Takes an address by DHCP and one by a router's advertisement, looks around, and fetches what the host sends at the first
# of `roost.ports`. The second gets the same back, and says how many bytes came. Last it reads boot.img by TFTP.
# Scripts/network-services.py shows more than that.
. /etc/roost/expect.sh
drivers net
set -- $ROOST_PORTS

gateway=10.0.2.2

# Nobody else is on this cable: no time is spent on finding that out.
for setting in accept_dad router_solicitation_delay; do echo 0 > /proc/sys/net/ipv6/conf/eth0/$setting; done
expect DHCP 0 "$(udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/roost/dhcp-lease >/tmp/udhcpc 2>&1; echo $?)"
expect address 10.0.2.15/24 "$(ip -4 address show eth0 | awk '$1 == "inet" { print $2 }')"
expect "way out" "default via $gateway dev eth0" "$(ip route | grep default | xargs)"
expect ping 3 "$(ping -c 3 -i 0.1 -s 1000 $gateway | grep -c 'bytes from')"
expect name $gateway "$(nslookup -type=a host.roost.internal | awk '/^Name/ { found = 1 } found && /^Address/ { print $2 }')"
expect "no name" 1 "$(nslookup -type=a nobody.roost.internal 2>&1 | grep -c NXDOMAIN)"
# A question by TCP, and the last bytes of its answer.
question='\0\45\0\7\1\0\0\1\0\0\0\0\0\0\4host\5roost\10internal\0\0\1\0\1'
ask() { printf "$question" | nc "$1" 53 | tail -c 4 | hexdump -e '4/1 "%d."'; }
expect "name by TCP" $gateway. "$(ask 10.0.2.3)"
if [ -n "$1" ]; then
    nc $gateway "$1" < /dev/null > /tmp/file
    echo "ROOST-TEST: net downloaded $(sha256sum < /tmp/file | cut -d ' ' -f 1)"
    expect upload "$(stat -c %s /tmp/file)" "$(nc $gateway "$2" < /tmp/file)"
    rm /tmp/file
    tftp -g -b 1400 -r boot.img -l /tmp/file $gateway
    echo "ROOST-TEST: net read $(sha256sum < /tmp/file | cut -d ' ' -f 1)"
fi

# The card asked for a router when it came up.
for _ in $(seq 100); do
    ip -6 address show eth0 scope global | grep -q inet6 && break
    sleep 0.1
done
expect "address of version 6" fd00::5054:ff:fe12:3456/64 "$(ip -6 address show eth0 scope global | awk '$1 == "inet6" { print $2 }')"
expect "way out of version 6" "via fe80::2" "$(ip -6 route show default | grep -o 'via [^ ]*')"
expect "ping of version 6" 3 "$(ping -c 3 -i 0.1 -s 1000 fd00::2 | grep -c 'bytes from')"
expect "name by TCP over version 6" $gateway. "$(ask fd00::3)"
expect "lost frames" "0 0 0 0" "$(cd /sys/class/net/eth0/statistics && cat rx_errors rx_dropped tx_errors tx_dropped | xargs)"
exit "$failures"
