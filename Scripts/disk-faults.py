#!/usr/bin/env python3
"""Lets the host run out of room, or fail, under a guest that writes, and looks what the guest hears and what is kept.

No room: the disk's file lies in a file system that is too small, which becomes larger after a while. Failures: the disk
is a compressed RAM disk of Linux's (zram) with too little memory: it takes a write into the page cache and fails it
when that is written back, so that one sync says so and the next one calls itself a success. As root only.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

PIECE, SECTOR = 256 << 10, 512
SAID = re.compile(rb"ROOST-FAULT: (\d+) (durable|failed|given up)(?:: ([^\r\n]*))?\r?\n")
SIZE = 24 << 20


def call(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class SmallFileSystem:
    """A file system in memory with room for part of a disk."""

    def __init__(self, folder):
        self.place = os.path.join(folder, "small")
        self.disk = os.path.join(self.place, "disk")
        os.mkdir(self.place)
        call("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", self.place)

    def mend(self):
        call("mount", "-o", "remount,size=64M", self.place)

    def close(self):
        call("umount", self.place)


class FailingDevice:
    """A block device that has memory for part of what is written to it."""

    def __init__(self, folder):
        with open("/sys/class/zram-control/hot_add") as control:
            self.number = control.read().strip()
        self.disk = f"/dev/zram{self.number}"
        self.set("disksize", "32M")
        self.set("mem_limit", "400K")  # stamped sectors become small

    def set(self, name, value):
        with open(f"/sys/block/zram{self.number}/{name}", "w") as file:
            file.write(value)

    def mend(self):
        self.set("mem_limit", "0")

    def close(self):
        self.set("reset", "1")
        with open("/sys/class/zram-control/hot_remove", "w") as control:
            control.write(self.number)


class Guest:
    """A run of the guest, and what it said."""

    def __init__(self, options, disk, form, cache, full, name):
        self.text = bytearray()
        self.roost = subprocess.Popen(
            [options.roost, "run", "--kernel", options.kernel, "--initrd", options.initrd, "--memory", "128M",
             "--cmdline",
             f"console=ttyS0 quiet cryptomgr.notests no_timer_check roost.test=faults roost.name={name}", "--disk",
             f"path={disk},format={form},cache={cache},full={full}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.listener = threading.Thread(target=self.listen)
        self.listener.start()

    def listen(self):
        while piece := os.read(self.roost.stdout.fileno(), 1 << 16):
            self.text.extend(piece)

    def heard(self, what):
        return [int(match[1]) for match in SAID.finditer(bytes(self.text)) if match[2] == what]

    def wait(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition() and self.roost.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        return condition()

    def end(self):
        try:
            self.roost.wait(120)
        except subprocess.TimeoutExpired:
            self.roost.kill()
        self.listener.join()
        return self.roost.returncode


class Case:
    def __init__(self, options, place, form, cache, recovers, full="report"):
        self.options, self.place, self.form, self.cache, self.recovers = options, place, form, cache, recovers
        self.full = full

    def make(self, disk):
        roost = [self.options.roost, "image"]
        if disk.startswith("/dev/"):
            if self.form == "qcow2":
                call("qemu-img", "create", "-q", "-f", "qcow2", disk, f"{SIZE}B")
        else:
            call(*roost, "create", "--format", self.form, disk, f"{SIZE}B")

    def wrong(self, disk, folder, names):
        """What is not as it must be: `names` are the turns, and how many pieces each has made durable."""
        plain = disk
        if self.form == "qcow2":
            for command, leak in [([self.options.roost, "image", "check", "--image-format", "qcow2", disk], 4),
                                  (["qemu-img", "check", "-f", "qcow2", disk], 3)]:
                check = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                if check.returncode not in (0, leak):
                    return f"{command[0]} answers {check.returncode}: {check.stdout[-1000:]}"
            plain = os.path.join(folder, "plain")
            call("qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, plain)
        with open(plain, "rb") as file:
            for number in range(max(count for _, count in names)):
                wanted = [name for name, count in names if number < count][-1]
                content = file.read(PIECE)
                for index in range(PIECE // SECTOR):
                    if content[index * SECTOR:(index + 1) * SECTOR] != f"{wanted} {number} {index}".ljust(511).encode() + b"\n":
                        return f"sector {index} of piece {number} is not of the turn {wanted}"
        return None

    def go(self):
        with tempfile.TemporaryDirectory() as folder:
            place = self.place(folder)
            try:
                self.make(place.disk)
                return self.run(place, folder)
            finally:
                place.close()

    def run(self, place, folder):
        guest = Guest(self.options, place.disk, self.form, self.cache, self.full, "first")
        if self.full == "wait":
            failed = guest.wait(lambda: b"the host has no room" in guest.text, 120)
            time.sleep(3)
        else:
            failed = guest.wait(lambda: len(guest.heard(b"failed")) >= 3, 120)
        durable = len(guest.heard(b"durable"))
        place.mend()
        code = guest.end()
        text = bytes(guest.text).decode(errors="replace")
        if not failed or code != 0:
            return f"Roost ended with {code}, and the guest heard of {len(guest.heard(b'failed'))} failures: {text[-1500:]}"
        if self.full == "wait" and guest.heard(b"failed"):
            return f"the guest heard of {len(guest.heard(b'failed'))} failures"
        reasons = {match[3].decode().split(": ")[-1] for match in SAID.finditer(bytes(guest.text)) if match[2] == b"failed"}
        count = len(guest.heard(b"durable"))
        heard = "".join(f" ({reason})" for reason in sorted(reasons))
        print(f"  {durable} pieces, then {len(guest.heard(b'failed'))} failures{heard}, "
              f"then {count - durable} pieces" + (", given up" if guest.heard(b"given up") else ""), flush=True)
        if self.recovers != ("all durable" in text):
            return "it should have gone on when there was room" if self.recovers else \
                "flushes succeeded after one that had failed"
        if not self.recovers and count != durable:
            return f"{count - durable} flushes succeeded after one that had failed"
        if not self.recovers and "may be lost" not in text:
            return "Roost did not say at its end that something may be lost"
        if note := self.wrong(place.disk, folder, [("first", count)]):
            return note
        # And it is a disk like any other again.
        again = Guest(self.options, place.disk, self.form, self.cache, self.full, "second")
        if again.end() != 0 or b"all durable" not in again.text or again.heard(b"failed"):
            return f"the disk is not what it was: {bytes(again.text[-1500:]).decode(errors='replace')}"
        return self.wrong(place.disk, folder, [("first", count), ("second", len(again.heard(b"durable")))])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", required=True, help="the roost command")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    cases = {
        # The guest hears of an error each time it tries, and goes on when there is room.
        "no room, raw, writeback": Case(options, SmallFileSystem, "raw", "writeback", recovers=True),
        "no room, raw, direct": Case(options, SmallFileSystem, "raw", "direct", recovers=True),
        "no room, raw, writethrough": Case(options, SmallFileSystem, "raw", "writethrough", recovers=True),
        "no room, qcow2, writeback": Case(options, SmallFileSystem, "qcow2", "writeback", recovers=True),
        "no room, qcow2, direct": Case(options, SmallFileSystem, "qcow2", "direct", recovers=True),
        # The guest hears of nothing, and waits.
        "no room, raw, waiting": Case(options, SmallFileSystem, "raw", "writeback", recovers=True, full="wait"),
        "no room, qcow2, waiting": Case(options, SmallFileSystem, "qcow2", "writeback", recovers=True, full="wait"),
        # What a sync did not bring to storage is lost: no later one may claim that it is there.
        "failure, raw, writeback": Case(options, FailingDevice, "raw", "writeback", recovers=False),
        "failure, raw, writethrough": Case(options, FailingDevice, "raw", "writethrough", recovers=False),
        "failure, qcow2, writeback": Case(options, FailingDevice, "qcow2", "writeback", recovers=False),
        # A write past the page cache fails itself, and nothing that was answered is lost.
        "failure, raw, direct": Case(options, FailingDevice, "raw", "direct", recovers=True),
        "failure, qcow2, direct": Case(options, FailingDevice, "qcow2", "direct", recovers=True),
    }
    failures = 0
    for name, case in cases.items():
        if options.only not in name:
            continue
        if case.place is FailingDevice and not os.path.exists("/sys/class/zram-control/hot_add"):
            print(f"{name}: skipped, this host's Linux has no zram", flush=True)
            continue
        print(name, flush=True)
        problem = case.go()
        failures += problem is not None
        print(f"  {'FAILED: ' + problem if problem else 'ok'}", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
