# Shows what the guest found in its machine.
section() { echo "--- $* ---"; }

section cpuinfo; cat /proc/cpuinfo
section interrupts; cat /proc/interrupts
section iomem; cat /proc/iomem
section ioports; cat /proc/ioports
section clocksources; cat /sys/devices/system/clocksource/clocksource0/available_clocksource
section rtc; cat /proc/driver/rtc
section serial; cat /proc/tty/driver/serial
section input; cat /proc/bus/input/devices
section lspci; lspci -v
section acpi tables; ls -l /sys/firmware/acpi/tables
section acpi devices
for device in /sys/bus/acpi/devices/*; do
    echo "${device##*/} $(cat "$device/path" 2>/dev/null)"
done
section dmidecode; dmidecode
section dmesg; dmesg -r
section end
