# The guest is up: who it is and what it runs on.
echo 'ROOST-TEST: hello from userspace'
uname -a
echo "ROOST-TEST: processors=$(grep -c '^processor' /proc/cpuinfo) memory=$(awk '/MemTotal/ { print $2 }' /proc/meminfo)K"
echo "ROOST-TEST: clocksource=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
