#!/bin/sh
# Boots Debian's Linux to a shell on this terminal; with GUEST=debian, a whole Debian from a disk. Arguments are handed
# on to `roost run`.
#   GUEST                 shell, or debian
#   CPUS MEMORY CMDLINE   the machine (1, 512M or 1G, console=ttyS0)
#   KERNEL INITRD         other files than the ones in the cache
#   SSH_PORT              the host's port that leads to the guest's sshd (2222)
. "$(dirname "$0")/common.sh"

# A disk in the cache, made once; what is done to the guest lasts.
run_debian() {
    build_roost
    disk=$cache/debian.qcow2
    mkdir -p "$cache"
    if [ ! -f "$disk" ]; then
        need mmdebstrap e2fsprogs openssl
        [ "$(id -u)" = 0 ] || need uidmap
        "$roost" image build debian --output "$disk" --hostname debian --user debian --password debian ||
            fail "The Debian disk could not be made: the lines above say why."
    fi
    port=${SSH_PORT:-2222}
    say "Log in as debian with the password debian, here or by: ssh -p $port debian@127.0.0.1"
    say "Remove $disk to begin with a fresh one."
    exec "$roost" run --kernel "${KERNEL:-$disk.vmlinuz}" --initrd "${INITRD:-$disk.initrd}" \
        --cmdline "${CMDLINE:-root=LABEL=root console=ttyS0 quiet}" --memory "${MEMORY:-1G}" --cpus "${CPUS:-1}" \
        --disk "path=$disk" --disk "path=$disk.seed,format=raw,readonly=on" --net user --publish "$port:22" "$@"
}

case ${GUEST:-shell} in
    shell) ;;
    debian) run_debian "$@" ;;
    *) fail "GUEST=$GUEST is not known: write GUEST=shell or GUEST=debian." ;;
esac

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
