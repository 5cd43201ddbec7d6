#!/bin/sh
# Compares Roost with QEMU in one run of the bench kit and writes Documentation/Benchmarks.md.
#   BENCH     folder of the kit (../shared/bench)
#   ROWS      rows to run on one processor (int,mem,fp,code,sys,bb)
#   REPEAT    how often everything is run (3)
#   BT        milliseconds a row is calibrated to (the kit's own)
. "$(dirname "$0")/common.sh"

kit=${BENCH:-$root/../shared/bench}
[ -f "$kit/vmbench.py" ] || { say "There is no bench kit in $kit: name its folder with 'make bench BENCH=…'. Nothing was measured."; exit 0; }

need python3 qemu-system-x86
build_roost

# The kit reads how to start a monitor from a file; ours names the command that was just built.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed "s|@ROOST@|$roost|" "$root/Benchmarks/roost.json" > "$work/roost.json"
targets=qemu-tcg-max,$work/roost.json
repeat=${REPEAT:-3}

# measure TITLE ARGUMENT…: one run of the kit. Its progress goes to the terminal, its tables into the page.
measure() {
    title=$1
    shift
    say "Measuring: $title"
    python3 "$kit/vmbench.py" "$@" -t "$targets" -r "$repeat" --out "$work/result.json" > "$work/output" ||
        fail "The bench kit failed: $(tail -n 1 "$work/output")"
    { echo "## $title"; echo; sed -n '/^|/,$p' "$work/output" | grep -v '^saved '; } | cat -s >> "$work/page"
}

cat > "$work/page" <<EOF
# Benchmarks

Roost's software engine against QEMU's, written by \`make bench\`: the same guests, one monitor after the other, in one run.

- Roost: $(cd "$root" && git describe --always --dirty 2>/dev/null || echo unknown)
- QEMU: $(qemu-system-x86_64 --version | sed -n '1s/.*version //p'), \`-accel tcg,thread=multi -cpu max\`
- Host: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, Linux $(uname -r)
- Date: $(date -u +%Y-%m-%d), load of the host before: $(cut -d' ' -f1 /proc/loadavg)

A row's rate is work per second of the host's processor, higher is better; a boot's time is to the first process.
A ratio of rates is Roost's over QEMU's.

EOF
measure "Boot to the first process" boot
grep '^|' "$work/page" > "$work/boot"
measure "Boot without the kernel's self-tests of its ciphers" boot --append cryptomgr.notests
measure "Work inside the guest" run -b "${ROWS:-int,mem,fp,code,sys,bb}" ${BT:+--bt "$BT"}
measure "Two processors, a disk, a network: by the clock on the wall" run -b smp,blk,net,fs --cpus 2 ${BT:+--bt "$BT"}
measure "Memory, and an idle guest" memory
measure "From the start of the process to the guest's first byte" startup

# README.md quotes the means of the groups, under one heading, and the table of boots between two comments.
{
    sed -n '/^| group |/,/^$/p' "$work/page" | sed '/^$/d' | awk 'NR < 3 || !/^\| group|^\|---/'
    echo
    cat "$work/boot"
} > "$work/quoted"
mv "$work/page" "$root/Documentation/Benchmarks.md"
if grep -q '^<!-- benchmark -->$' "$root/README.md" 2>/dev/null; then
    awk -v table="$work/quoted" '
        /^<!-- \/benchmark -->$/ { while ((getline line < table) > 0) print line; quoting = 0 }
        !quoting
        /^<!-- benchmark -->$/ { quoting = 1 }
    ' "$root/README.md" > "$work/readme"
    cat "$work/readme" > "$root/README.md"
fi
say "Wrote Documentation/Benchmarks.md ($(elapsed))"
