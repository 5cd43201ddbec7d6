# Prints the guest's clocks every few seconds; the host compares them with the times at which the lines arrive.
end=$((${ROOST_SECONDS:-60}))
step=5
[ "$end" -ge 10 ] || step=1
passed=0
while :; do
    read -r up _ < /proc/uptime
    monotonic=$(awk '/^now at/ { print $3; exit }' /proc/timer_list)
    echo "ROOST-CLOCK: uptime=$up monotonic=$monotonic seconds=$(date +%s) passed=$passed"
    [ "$passed" -lt "$end" ] || break
    sleep $step
    passed=$((passed + step))
done
