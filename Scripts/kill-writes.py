#!/usr/bin/env python3
"""Kills Roost while a guest writes, and looks for all that the guest was told is durable.

The page cache outlives the process, so this shows that nothing that was acknowledged waits inside it, and that an image
is sound after every write it makes; it shows nothing about power. Prints a line a case.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

SECTOR, SLOT = 512, 128
FLUSHED = re.compile(rb"ROOST-FLUSH: (\w+) (\w+) flushed (\d+)\r?\n")


class Writer:
    """What a writer of the guest must have left in its half of the disk."""

    def __init__(self, name, first, sectors):
        self.name, self.first, self.slots = name, first, sectors // SLOT
        self.durable = {}  # sector: the turn and write that was flushed last
        self.turn = self.last = 0
        self.lasts = {}  # turn: the last write that was told of

    def flushed(self, turn, number):
        if (turn, number) != (self.turn, self.last + 1) and (turn <= self.turn or number != 1):
            raise ValueError(f"{self.name} tells of write {number} after {self.last}")
        self.turn, self.last = turn, number
        self.lasts[turn] = number
        for index in range(8 << number % 5):
            self.durable[self.first + number % self.slots * SLOT + index] = (turn, number)

    def wrong(self, disk):
        """The first sector that is not as it must be; writes after the last that was told of may be there or not."""
        for sector, least in self.durable.items():
            disk.seek(sector * SECTOR)
            found = disk.read(SECTOR)
            index = (sector - self.first) % SLOT
            match = re.match(rb"(\w+) t(\d+) (\d+) (\d+) *\n$", found)
            if not match or len(found) != SECTOR or match[1].decode() != self.name or int(match[4]) != index:
                return f"sector {sector} is torn or strange: {found[:40]!r}"
            there = int(match[2]), int(match[3])
            slot = (sector - self.first) // SLOT
            if there < least or there[1] % self.slots != slot or index >= 8 << there[1] % 5:
                return f"sector {sector} has write {there}, but {least} was flushed"
            if there > least and there[1] <= self.lasts.get(there[0], 0):
                return f"sector {sector} has write {there}, which wrote elsewhere"
        return None


class Case:
    """A disk, which lives through several turns of being written to and killed."""

    def __init__(self, options, form, folder):
        self.options, self.form = options, form
        self.disk = os.path.join(folder, f"disk.{form}")
        self.plain = self.disk if form == "raw" else os.path.join(folder, "plain")
        subprocess.run(["qemu-img", "create", "-q", "-f", form, self.disk, f"{options.size}M"], check=True)
        half = options.size * 1024
        self.writers = {"direct": Writer("direct", 0, half), "buffered": Writer("buffered", half, half)}

    def turn(self, number, moment):
        """Lets the guest write for `moment` seconds after its first flush, and kills Roost. Answers what is wrong."""
        options = self.options
        roost = subprocess.Popen(
            [options.roost, "run", "--kernel", options.kernel, "--initrd", options.initrd, "--memory", options.memory,
             "--cpus", options.cpus, "--cmdline",
             f"console=ttyS0 quiet cryptomgr.notests no_timer_check roost.test=flush roost.name=t{number}",
             "--disk", f"path={self.disk},format={self.form},cache={options.cache}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text, begun = bytearray(), threading.Event()

        def listen():
            while piece := os.read(roost.stdout.fileno(), 1 << 16):
                text.extend(piece)
                if b"flushed" in text:
                    begun.set()
            begun.set()

        listener = threading.Thread(target=listen)
        listener.start()
        begun.wait(options.limit)
        time.sleep(moment)
        ended = roost.poll()
        roost.send_signal(signal.SIGKILL)
        roost.wait()
        listener.join()
        count = 0
        for name, turn, write in FLUSHED.findall(bytes(text)):
            self.writers[name.decode()].flushed(int(turn[1:]), int(write))
            count += 1
        if ended is not None or count == 0:
            return count, f"Roost ended by itself ({ended}): {bytes(text[-1500:]).decode(errors='replace')}"
        return count, self.verdict()

    def verdict(self):
        note = None
        if self.form == "qcow2":
            if note := self.checks(leaks=True):
                return note
            subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.disk, self.plain], check=True)
        with open(self.plain, "rb") as disk:
            for writer in self.writers.values():
                note = note or writer.wrong(disk)
        return note

    def checks(self, leaks):
        """What is wrong with the image, for Roost and for QEMU; with `leaks`, clusters may be lost, and nothing else."""
        for command, leak in [
            ([self.options.roost, "image", "check", "--image-format", "qcow2", self.disk], 4),
            (["qemu-img", "check", "-f", "qcow2", self.disk], 3),
        ]:
            check = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if check.returncode not in (0, leak if leaks else 0):
                return f"{' '.join(command[:-1])} answers {check.returncode}: {check.stdout[-1500:]}"
            self.leaks = check.returncode == leak
        return None

    def end(self):
        """Takes lost clusters back, as a user would, and answers what is wrong with the image then."""
        if self.form != "qcow2":
            return None
        subprocess.run([self.options.roost, "image", "check", "--image-format", "qcow2", "--repair", "leaks", self.disk],
                       stdout=subprocess.DEVNULL, check=True)
        note = self.checks(leaks=False)
        return f"after repair: {note}" if note else self.verdict()

    leaks = False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", required=True, help="the roost command")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--memory", default="128M")
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--formats", default="raw,qcow2", type=lambda text: text.split(","), help="of disks (raw,qcow2)")
    parser.add_argument("--cache", default="writeback", help="the disk's cache mode (writeback)")
    parser.add_argument("--size", type=int, default=32, help="of the disk, in MiB (32)")
    parser.add_argument("--cases", type=int, default=50, help="how many of each format (50)")
    parser.add_argument("--turns", type=int, default=5, help="how often a disk is killed before a new one is made (5)")
    parser.add_argument("--longest", type=float, default=3, help="seconds of writing before the kill, at most (3)")
    parser.add_argument("--seed", type=int, help="of the moments, to repeat a run")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a boot may take (60)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}, cache={options.cache}", flush=True)

    failures = flushes = leaks = cases = 0
    for form in options.formats:
        done = 0
        while done < options.cases:
            with tempfile.TemporaryDirectory() as folder:
                case = Case(options, form, folder)
                for number in range(1, min(options.turns, options.cases - done) + 1):
                    moment = chance.uniform(0, options.longest)
                    count, problem = case.turn(number, moment)
                    done += 1
                    flushes += count
                    leaks += case.leaks
                    failures += problem is not None
                    print(f"{done:3}  {form}  turn {number}  killed after {moment:4.2f} s  {count:4} flushes  "
                          f"{'leaks  ' if case.leaks else ''}{'FAILED: ' + problem if problem else 'ok'}", flush=True)
                    if problem:
                        break
                else:
                    if problem := case.end():
                        failures += 1
                        print(f"     {form}  FAILED: {problem}", flush=True)
        cases += done
    print(f"{cases - failures} of {cases} kills lost nothing of {flushes} flushes; {leaks} left clusters that leak")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
