#!/usr/bin/env python3
"""Measures under QEMU and Roost, both with KVM and in turn, what it costs a guest to leave.

The guest (Tests/Guests/Programs/ExitCost.swift) times accesses that user space answers, by its time-stamp counter,
less what its loop costs without one. QEMU leaves the interrupt controllers to user space as Roost does. A doorbell needs
a device that has one: QEMU's pci-testdev, and one that a test puts into a machine of Roost's, which runs the same guest.
Run it through exit-cost.sh or `make exit-cost`, which build everything.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys

ROWS = {
    "port-write": "OUT, answered in user space",
    "port-read": "IN, answered in user space",
    "memory-write": "register write, answered in user space",
    "memory-read": "register read, answered in user space",
    "apic-write": "local APIC write, answered in the kernel",
    "apic-read": "local APIC read, answered in the kernel",
    "port-doorbell": "OUT that rings a doorbell",
    "memory-doorbell": "register write that rings a doorbell",
}


def costs(command, environment=None):
    """What one run says, by row, less its empty loop, `nothing`: so what disturbs a whole run cancels out."""
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            timeout=120, env=environment, check=False)
    text = result.stdout.decode(errors="replace")
    found = {name: int(ticks) for name, ticks in re.findall(r"cost (\S+) (\d+)", text)}
    if "nothing" not in found:
        sys.exit(f"error: {command[0]} measured nothing; it said:\n{text[-2000:]}")
    return {name: ticks - found["nothing"] for name, ticks in found.items() if name != "nothing"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roost", required=True, help="the command")
    parser.add_argument("--tests", required=True, help="the package's tests, for Roost's doorbells")
    parser.add_argument("--guests", required=True, help="the image of all guests")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        sys.exit("error: there is no /dev/kvm that this user may open: 'roost doctor' says what to do.")
    qemu = ["qemu-system-x86_64", "-machine", "q35,kernel_irqchip=split", "-accel", "kvm", "-cpu", "qemu64",
            "-kernel", options.guests, "-append", "exit-cost", "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-serial", "stdio", "-device", "pci-testdev",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    roost = [options.roost, "run", "--engine", "kvm", "--kernel", options.guests, "--cmdline", "exit-cost",
             "--debug-exit", "0xf4", "--no-reboot", "--serial", "stdio"]
    doorbells = [options.tests, "--testing-library", "swift-testing", "--filter", "ring of a doorbell costs"]
    theirs, ours = {}, {}
    for repeat in range(options.repeats):
        print(f"run {repeat + 1} of {options.repeats}", file=sys.stderr)
        for name, ticks in costs(qemu).items():
            theirs.setdefault(name, []).append(ticks)
        # The tests are not built optimised: what the command can measure as well is taken from it.
        mine = costs(doorbells, os.environ | {"ROOST_TEST_EXIT_COST": "1"}) | costs(roost)
        for name, ticks in mine.items():
            ours.setdefault(name, []).append(ticks)
    print(f"{'ticks of the time-stamp counter':42} {'QEMU':>8} {'Roost':>8} {'ratio':>7}")
    for name, title in ROWS.items():
        if name not in theirs or name not in ours:
            print(f"{title:42} {'not measured':>25}")
            continue
        its, mine = statistics.median(theirs[name]), statistics.median(ours[name])
        print(f"{title:42} {its:8.0f} {mine:8.0f} {mine / max(its, 1):7.2f}")


main()
