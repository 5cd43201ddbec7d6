#!/usr/bin/env python3
"""Boots the same Linux under QEMU and Roost in turn, to the first line of user space, and compares.

For each kernel image and number of processors it prints wall and processor time of both monitors, the ratio (taken
per repeat, then the median), and the lines of the guest's log at level warning or above that only one guest shows.
Run it through boot-compare.sh or `make boot-compare`, which set up the files.
"""
import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

FIRST_LINE = "ROOST-GUEST: first line of userspace"
LOG_LINE = "ROOST-LOG: "
WARNING = 4  # <linux/kern_levels.h>


@dataclass
class Boot:
    """What one boot showed. Times are in seconds from the start of the monitor to the guest's first line."""

    wall: float | None = None
    cpu: float | None = None
    warnings: set[str] = field(default_factory=set)
    status: int | None = None
    tail: list[str] = field(default_factory=list)


def qemu_command(options, kernel, cpus, cmdline):
    return ["qemu-system-x86_64", "-machine", options.machine, "-accel", "tcg,thread=multi", "-cpu", options.cpu,
            "-smp", str(cpus), "-m", str(options.memory), "-kernel", kernel, "-initrd", options.initrd,
            "-append", cmdline, "-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
            "-serial", "stdio", "-monitor", "none"]


def roost_command(options, kernel, cpus, cmdline):
    return [options.roost, "run", "--engine", options.engine, "--cpus", str(cpus), "--memory", f"{options.memory}M",
            "--kernel", kernel, "--initrd", options.initrd, "--cmdline", cmdline, "--no-reboot", "--serial", "stdio"]


def processor_time(pid):
    """Seconds of processor time that all threads of a process took so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def boot(command, limit):
    """Runs one monitor until it ends by itself or the limit is reached."""
    result = Boot()
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # Only the process that was started here is ended.
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.alarm(limit)
    for line in process.stdout:
        line = line.decode(errors="replace").rstrip()
        if FIRST_LINE in line and result.wall is None:
            result.wall = time.monotonic() - start
            result.cpu = processor_time(process.pid)
        if line.startswith(LOG_LINE):
            note_warning(line.removeprefix(LOG_LINE), result.warnings)
        else:
            result.tail = result.tail[-4:] + [line]
    result.status = process.wait()
    signal.alarm(0)
    return result


def note_warning(line, warnings):
    """Keeps a line of `dmesg -r` at level warning or above, without what differs from boot to boot."""
    match = re.match(r"<(\d+)>\[ *[\d.]+\] ?(.*)", line)
    if match and int(match[1]) & 7 <= WARNING:
        text = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b", "ADDRESS", match[2])
        warnings.add(re.sub(r"\d+", "N", text).strip())


def compare(options, image, kernel, cpus):
    """Boots both monitors in turn, as often as asked. Returns {monitor: [Boot]}."""
    cmdline = f"console=ttyS0 {options.append} roost.test=log".replace("  ", " ")
    commands = {"QEMU": qemu_command(options, kernel, cpus, cmdline)}
    if options.roost:
        commands["Roost"] = roost_command(options, kernel, cpus, cmdline)
    boots = {name: [] for name in commands}
    for repeat in range(options.repeat):
        for name, command in commands.items():
            result = boot(command, options.limit)
            boots[name].append(result)
            if result.wall is None:
                shown = f"no first line of user space (status {result.status}); the last lines:\n    " + "\n    ".join(result.tail)
            else:
                shown = f"{result.wall:.2f} s wall, {result.cpu:.2f} s processor time"
            print(f"{image}, {cpus} CPU, {name}, {repeat + 1}/{options.repeat}: {shown}", file=sys.stderr, flush=True)
    return boots


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def row(image, cpus, boots):
    """One line of the table of times."""
    cells = [image, str(cpus)]
    for name in ("QEMU", "Roost"):
        for quantity in ("wall", "cpu"):
            value = median(getattr(result, quantity) for result in boots.get(name, []))
            cells.append("-" if value is None else f"{value:.2f}")
    for quantity in ("wall", "cpu"):
        pairs = zip((getattr(r, quantity) for r in boots.get("Roost", [])), (getattr(q, quantity) for q in boots["QEMU"]))
        ratio = median(mine / theirs for mine, theirs in pairs if mine and theirs)
        cells.append("-" if ratio is None else f"{ratio:.2f}")
    return "| " + " | ".join(cells) + " |"


def differing_warnings(image, cpus, boots):
    """What only one of the two guests warned about."""
    seen = {name: set().union(*(result.warnings for result in results)) for name, results in boots.items()}
    if "Roost" not in seen:
        return [f"{image}, {cpus} CPU: QEMU's guest: {text}" for text in sorted(seen["QEMU"])]
    return [f"{image}, {cpus} CPU: only Roost's guest: {text}" for text in sorted(seen["Roost"] - seen["QEMU"])] + [
        f"{image}, {cpus} CPU: only QEMU's guest: {text}" for text in sorted(seen["QEMU"] - seen["Roost"])
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", help="the roost command; without it only QEMU is run")
    parser.add_argument("--kernel", help="a bzImage")
    parser.add_argument("--vmlinux", help="the same kernel as an ELF file")
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--images", default="bzImage,vmlinux", help="which of the two to boot (default both)")
    parser.add_argument("--cpus", default="1,2", help="numbers of processors (default 1,2)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--append", default="", help="more kernel command line")
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--machine", default="q35", help="QEMU's machine")
    parser.add_argument("--cpu", default="qemu64", help="QEMU's processor")
    parser.add_argument("--engine", default="software", help="Roost's engine")
    parser.add_argument("--limit", type=int, default=180, help="seconds for one boot")
    options = parser.parse_args()

    files = {"bzImage": options.kernel, "vmlinux": options.vmlinux}
    images = [image for image in options.images.split(",") if files.get(image)]
    rows, differences, failed = [], [], False
    for image in images:
        for cpus in map(int, options.cpus.split(",")):
            boots = compare(options, image, files[image], cpus)
            rows.append(row(image, cpus, boots))
            differences += differing_warnings(image, cpus, boots)
            failed |= any(result.wall is None for results in boots.values() for result in results)

    print("| kernel | CPUs | QEMU wall s | QEMU CPU s | Roost wall s | Roost CPU s | wall ratio | CPU ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    print("\n".join(rows))
    print("\nGuest log at level warning or above:")
    print("\n".join(f"- {line}" for line in differences) or "- no difference")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
