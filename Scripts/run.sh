#!/bin/sh
# Boots Debian's Linux to a shell on this terminal. Arguments are handed on to `roost run`.
#   CPUS MEMORY CMDLINE   the machine (1, 512M, console=ttyS0)
#   KERNEL INITRD         other files than the ones in the cache
. "$(dirname "$0")/common.sh"

"$root/Scripts/guest.sh" >/dev/null
build_roost

cmdline=${CMDLINE:-console=ttyS0}
# A serial line carries no size: the guest's shell is told that of the terminal.
if [ -t 0 ]; then
    size=$(stty size | tr ' ' x)
    [ "${size%x*}" = 0 ] || cmdline="$cmdline roost.terminal=$size"
fi

say "Booting (ready to boot after $(elapsed))"
exec "$roost" run --kernel "${KERNEL:-$cache/bzImage}" --initrd "${INITRD:-$cache/initrd.cpio}" \
    --cmdline "$cmdline" --memory "${MEMORY:-512M}" --cpus "${CPUS:-1}" --serial stdio "$@"
