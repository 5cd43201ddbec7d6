# Does nothing for a while; the host measures what that costs.
echo 'ROOST-TEST: idle from here'
sleep "${ROOST_SECONDS:-20}"
echo 'ROOST-TEST: idle until here'
