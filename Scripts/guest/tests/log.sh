# The kernel's log, each line with its level in front.
dmesg -r | sed 's/^/ROOST-LOG: /'
