#!/usr/bin/env python3
"""Loses power at every flush of a guest's file system, and looks whether all that fsync had promised is there.

Linux works in ext4 on a disk of Roost's while Scripts/recorder notes every write to the disk's file and every sync of it,
with the bytes, between the guest's lines on the console. Then the file is made again as a host that lost power might
have it: after each sync and after each line with which the guest told of something durable, with all that was not
synced, with nothing of it, and with sectors of it by chance. The image must be whole for Roost and for QEMU, Linux or
e2fsck must recover the file system, e2fsck must find nothing wrong then, and what the guest was told is there must be.
"""

import argparse
import collections
import concurrent.futures
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

SECTOR = 512
WRITE, SYNC, LENGTH, PUNCH, ZERO, OUTPUT, RESERVE, ENDED = range(1, 9)
ENTRY = struct.Struct("<IiQQQ")
DURABLE = 2  # RWF_DSYNC
SAID = re.compile(rb"ROOST-FILES: (\w+) (\d+)\r?\n")


def lines(writer, step, count, width):
    return b"".join(f"{writer} {step} {index}".ljust(width - 1).encode() + b"\n" for index in range(count))


# --- What the guest's writers promise (Scripts/guest/tests/files.sh) ---

class Names:
    """Six files that are replaced under their names or removed."""

    @staticmethod
    def removes(step):
        return step % 5 == 4

    @staticmethod
    def wrong(found, told, begun):
        for place in range(6):
            last = max((step for step in range(max(1, told - 5), told + 1) if step % 6 == place), default=0)
            content = found.get(f"names/{place}")
            if content is None:
                later = any(Names.removes(step) and step % 6 == place for step in range(told + 1, max(told, begun) + 2))
                if last == 0 or Names.removes(last) or later:
                    continue
                return f"names/{place} is missing, but step {last} of {told} wrote it"
            match = re.match(rb"names (\d+) 0 ", content)
            step = int(match[1]) if match else 0
            if step < last or step % 6 != place or Names.removes(step):
                return f"names/{place} is of step {step}, but {last} of {told} was the last: {content[:64]!r}"
            if content != lines("names", step, 16 << step % 6, 64):
                return f"names/{place} is of step {step}, and not as it wrote it"
        return None


class Log:
    """A file that grows, and becomes empty in every sixteenth step."""

    @staticmethod
    def content(first, last):
        return b"".join(lines("log", step, 1 + step * 7 % 40, 64) for step in range(first, last + 1))

    @staticmethod
    def wrong(found, told, begun):
        content = found.get("log")
        if content is None:
            return f"log is missing, but step {told} wrote it" if told else None
        problem = None
        for start in range(told // 16 * 16, max(told, begun) + 2, 16):
            least = len(Log.content(start + 1, told))
            whole = Log.content(start + 1, start + 15)
            # The end that nobody was told of may be there before its bytes are, as zeroes.
            if len(content) >= least and content[:least] == whole[:least] and len(content) <= len(whole) and all(
                    byte in (0, wanted) for byte, wanted in zip(content[least:], whole[least:])):
                return None
            problem = problem or f"log has {len(content)} bytes and does not end as step {told} left it, with {least}"
        return problem


class Blocks:
    """A file whose sectors are written in place."""

    @staticmethod
    def wrong(found, told, begun):
        content = found.get("blocks", b"")
        least = {}
        for step in range(1, told + 1):
            for index in range(8 << step % 3):
                least[step % 16 * 8 + index] = step
        for sector in range(max([*least, len(content) // SECTOR]) + 1 if least else 0):
            there = content[sector * SECTOR:(sector + 1) * SECTOR]
            step = 0
            if there.strip(b"\0"):
                match = re.match(rb"blocks (\d+) (\d+) *\n$", there)
                if not match or len(there) != SECTOR:
                    return f"sector {sector} of blocks is torn or strange: {there[:64]!r}"
                step, index = int(match[1]), int(match[2])
                if step % 16 * 8 + index != sector or index >= 8 << step % 3:
                    return f"sector {sector} of blocks has step {step}, which wrote elsewhere"
            if step < least.get(sector, 0):
                return f"sector {sector} of blocks has step {step}, but {least[sector]} of {told} was the last"
        return None


WRITERS = {"names": Names, "log": Log, "blocks": Blocks}


# --- The record ---

class Call:
    def __init__(self, kind, offset, length, data, flags):
        self.kind, self.offset, self.length, self.data, self.flags = kind, offset, length, data, flags
        self.has_ended = self.is_durable = False
        self.covers = ()

    def apply(self, file, chance=None, share=1.0):
        """What it does to a file; with `chance`, only to some of the sectors."""
        if self.kind == LENGTH:
            if chance and chance.random() >= share:
                return
            if len(file) > self.length:
                del file[self.length:]
            else:
                file.extend(bytes(self.length - len(file)))
            return
        data = self.data if self.kind == WRITE else bytes(max(0, min(self.length, len(file) - self.offset)))
        if not data:
            return
        pieces = [(0, len(data))]
        if chance:
            pieces = [(start, min(start + SECTOR, len(data))) for start in range(0, len(data), SECTOR)
                      if chance.random() < share]
        if pieces and len(file) < self.offset + pieces[-1][1]:
            file.extend(bytes(self.offset + pieces[-1][1] - len(file)))
        for start, end in pieces:
            file[self.offset + start:self.offset + end] = data[start:end]


def read_record(path):
    """Yields (entry number, kind, call, result) in the order in which they were noted; texts as (…, OUTPUT, bytes, 0)."""
    calls = {}
    with open(path, "rb") as log:
        number = 0
        while head := log.read(ENTRY.size):
            kind, result, call, offset, length = ENTRY.unpack(head)
            if kind == OUTPUT:
                yield number, kind, log.read(length), 0
            elif kind == ENDED:
                yield number, kind, calls.pop(call), result
            else:
                data = log.read(length) if kind == WRITE else None
                calls[call] = Call(kind, offset, length, data, result)
                yield number, kind, calls[call], 0
            number += 1


class Disk:
    """The disk's file as storage has it: what a sync has covered, and what else was begun."""

    def __init__(self, content):
        self.base = bytearray(content)
        self.pending = []  # in the order in which they began; those in front that are durable are in `base`
        self.durable = self.begun = 0

    def begin(self, call):
        if call.kind == SYNC:
            call.covers = [other for other in self.pending if other.has_ended]
        elif call.kind != RESERVE:
            self.pending.append(call)
            self.begun += 1

    def end(self, call, result):
        """Whether it was a sync that made things durable."""
        call.has_ended = True
        if call.kind == SYNC:
            if result == 0:
                self.keep(call.covers)
            return result == 0
        if result < 0:
            if call in self.pending:
                self.pending.remove(call)
        elif call.kind == WRITE:
            call.data = call.data[:result]
            if call.flags & DURABLE:
                self.keep([call])
        return False

    def keep(self, calls):
        for call in calls:
            if not call.is_durable:
                call.is_durable = True
                self.durable += 1
        while self.pending and self.pending[0].is_durable:
            self.pending.pop(0).apply(self.base)

    def state(self, chance=None, share=0.0):
        """What may be found after a loss of power: with `share` of what is not durable, by `chance`."""
        file = bytearray(self.base)
        for call in self.pending:
            if call.is_durable or share == 1.0:
                call.apply(file)
            elif share > 0:
                call.apply(file, chance, share)
        return file


# --- Looking at a state ---

class Problem(Exception):
    pass


def run(command, good=(0,), **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)
    if done.returncode not in good:
        raise Problem(f"{' '.join(command[:4])} … answers {done.returncode}: {done.stdout[-1200:]}")
    return done


class Examiner:
    """Recovers images, and reads the files in them."""

    def __init__(self, options, form):
        self.options, self.form = options, form
        self.mounts = os.geteuid() == 0 and not options.no_mount
        self.leaks = 0

    def examine(self, content, by_mount):
        """The files that are found, by their paths."""
        with tempfile.TemporaryDirectory(dir=self.options.folder) as folder:
            plain = os.path.join(folder, "plain")
            image = plain if self.form == "raw" else os.path.join(folder, "image")
            with open(image, "wb") as file:
                file.write(content)
            if self.form == "qcow2":
                roost = [self.options.roost, "image"]
                check = run(roost + ["check", "--image-format", "qcow2", image], good=(0, 4))
                run(["qemu-img", "check", "-f", "qcow2", image], good=(0, 3))
                self.leaks += check.returncode == 4
                run(roost + ["convert", "--source-format", "qcow2", "--format", "raw", image, plain])
            if by_mount and self.mounts:
                found = self.read_mounted(plain, os.path.join(folder, "mnt"))
            else:
                run(["e2fsck", "-p", plain], good=(0, 1))
                found = self.read_plain(plain, os.path.join(folder, "files"))
            run(["e2fsck", "-fn", plain])
            return found

    @staticmethod
    def read_mounted(plain, place):
        """Linux recovers."""
        os.mkdir(place)
        run(["mount", "-t", "ext4", "-o", "loop", plain, place])
        try:
            return Examiner.read_folder(place)
        finally:
            run(["umount", place])

    @staticmethod
    def read_plain(plain, place):
        os.mkdir(place)
        run(["debugfs", "-R", f"rdump / {place}", plain])
        return Examiner.read_folder(place)

    @staticmethod
    def read_folder(place):
        found = {}
        for path in ["log", "blocks"] + [f"names/{index}" for index in range(6)]:
            try:
                with open(os.path.join(place, path), "rb") as file:
                    found[path] = file.read()
            except FileNotFoundError:
                pass
        return found


# --- A run ---

class Run:
    def __init__(self, options, form, folder):
        self.options, self.form, self.folder = options, form, folder
        self.disk = os.path.join(folder, f"disk.{form}")
        self.record = os.path.join(folder, "record")
        self.console = os.path.join(folder, "console")
        self.lock = threading.Lock()
        self.problems = []
        self.states = self.cuts = 0
        self.calls = collections.Counter()

    def make_disk(self):
        plain = os.path.join(self.folder, "new")
        with open(plain, "wb") as file:
            file.truncate(self.options.size << 20)
        run(["mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", plain])
        if self.form == "raw":
            os.rename(plain, self.disk)
        else:
            run([self.options.roost, "image", "convert", "--source-format", "raw", "--format", "qcow2",
                 *self.options.qcow2.split(), plain, self.disk])
            os.remove(plain)
        with open(self.disk, "rb") as file:
            return file.read()

    def run_guest(self):
        options = self.options
        environment = dict(os.environ, LD_PRELOAD=options.recorder, ROOST_RECORDER_FILE=self.disk,
                           ROOST_RECORDER_LOG=self.record, ROOST_RECORDER_DELAY=str(options.delay))
        with open(self.console, "wb") as console:
            done = subprocess.run(
                [options.roost, "run", "--kernel", options.kernel, "--initrd", options.initrd, "--memory", options.memory,
                 "--cpus", options.cpus, "--cmdline",
                 f"console=ttyS0 quiet cryptomgr.notests no_timer_check roost.test=files roost.seconds={options.seconds}",
                 "--disk", f"path={self.disk},format={self.form},cache={options.cache}", "--no-reboot"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, env=environment,
                timeout=options.seconds * 10 + 300)
        with open(self.console, "rb") as console:
            text = console.read()
        if done.returncode != 0 or b"ROOST-FILES: flushes" not in text or b"Call Trace" in text or b"EXT4-fs error" in text:
            raise Problem(f"the guest ended with {done.returncode}: {text[-1500:].decode(errors='replace')}")

    def go(self):
        before = self.make_disk()
        self.run_guest()
        chance = random.Random(self.options.seed)
        disk, examiner = Disk(before), Examiner(self.options, self.form)
        told, begun = collections.Counter(), collections.Counter()
        text, syncs, flushes, syncs_told, delivered = bytearray(), 0, None, 0, 0
        seen = {}
        numbers = {name: re.compile(name.encode() + rb" (\d+) 0 ") for name in WRITERS}
        jobs = self.options.jobs
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            running = collections.deque()
            for number, kind, item, result in read_record(self.record):
                if kind == OUTPUT:
                    text += item
                    new = [(match[1].decode(), int(match[2])) for match in SAID.finditer(bytes(text[delivered:]))]
                    if not new:
                        continue
                    delivered = text.rindex(b"\n") + 1
                    for name, step in new:
                        if name == "flushes":
                            flushes, syncs_told = step, syncs
                        elif step != told[name] + 1:
                            raise Problem(f"the guest tells of {name} {step} after {told[name]}")
                        else:
                            told[name] = step
                elif kind == ENDED:
                    if not disk.end(item, result):
                        continue
                    syncs += 1
                else:
                    disk.begin(item)
                    self.calls[item.kind] += 1
                    if item.kind == WRITE:
                        for name, pattern in numbers.items():
                            for match in pattern.finditer(item.data):
                                begun[name] = max(begun[name], int(match[1]))
                    continue
                # A cut.
                self.cuts += 1
                if self.cuts % self.options.every:
                    continue
                promise = dict(told), dict(begun), f"entry {number}, after {'a line' if kind == OUTPUT else f'sync {syncs}'}"
                wanted = [(0.0, ("none", disk.durable)), (1.0, ("all", disk.begun))]
                wanted += [(chance.uniform(0.05, 0.95), None) for _ in range(self.options.chances)]
                for share, key in wanted:
                    if key in seen:
                        running.append(pool.submit(self.judge, seen[key], promise, key))
                        continue
                    content = disk.state(random.Random(chance.random()), share)
                    self.states += 1
                    by_mount = self.states % 2 == 0
                    looked = pool.submit(examiner.examine, content, by_mount)
                    if key:
                        seen[key] = looked
                    running.append(pool.submit(self.judge, looked, promise, key or ("chance", round(share, 2))))
                while len(running) > 8 * jobs:
                    running.popleft().result()
                if len(self.problems) > 5:
                    break
            for waiting in running:
                waiting.result()
        if not self.problems:
            with open(self.disk, "rb") as file:
                if file.read() != disk.state(share=1.0):
                    self.problems.append("the recorded calls do not lead to the disk's file as it is")
        return dict(told), flushes, syncs_told, examiner.leaks

    def judge(self, looked, promise, what):
        told, begun, where = promise
        try:
            found = looked.result()
            for name, writer in WRITERS.items():
                if note := writer.wrong(found, told.get(name, 0), begun.get(name, 0)):
                    raise Problem(note)
        except Problem as problem:
            with self.lock:
                self.problems.append(f"{where}, {what}: {problem}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", required=True, help="the roost command")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--recorder", required=True, help="Scripts/recorder/recorder.c, compiled")
    parser.add_argument("--memory", default="128M")
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--formats", default="raw,qcow2", type=lambda text: text.split(","), help="of disks (raw,qcow2)")
    parser.add_argument("--qcow2", default="", help="options of roost image convert for the qcow2 disk")
    parser.add_argument("--cache", default="writeback", help="the disk's cache mode; unsafe must fail (writeback)")
    parser.add_argument("--size", type=int, default=32, help="of the disk, in MiB (32)")
    parser.add_argument("--seconds", type=int, default=10, help="how long the guest works (10)")
    parser.add_argument("--every", type=int, default=1, help="looks at every Nth cut only (1)")
    parser.add_argument("--chances", type=int, default=2, help="mixtures of what was not synced, at each cut (2)")
    parser.add_argument("--delay", type=int, default=20000, help="microseconds by which a sync may be late, at most (20000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="states that are looked at at once")
    parser.add_argument("--seed", type=int, help="of the mixtures, to repeat a run with the same record")
    parser.add_argument("--no-mount", action="store_true", help="lets e2fsck recover, and never this host's Linux")
    parser.add_argument("--folder", default="/dev/shm", help="where images are made (/dev/shm)")
    parser.add_argument("--keep", help="a folder that keeps the record of a run that failed")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(1 << 32)
    print(f"seed {options.seed}, cache={options.cache}", flush=True)

    failures = 0
    for form in options.formats:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            attempt = Run(options, form, folder)
            try:
                told, flushes, syncs, leaks = attempt.go()
            except Problem as problem:
                attempt.problems.append(str(problem))
                told, flushes, syncs, leaks = {}, 0, 0, 0
            if form == "raw" and options.cache in ("writeback", "direct") and flushes != syncs:
                attempt.problems.append(f"{flushes} flushes of the guest's were {syncs} syncs of the host's")
            if attempt.problems and options.keep:
                shutil.copytree(folder, os.path.join(options.keep, form))
        for problem in attempt.problems[:5]:
            print(f"{form}  FAILED: {problem}", flush=True)
        failures += bool(attempt.problems)
        steps = ", ".join(f"{told[name]} of {name}" for name in sorted(told))
        calls = attempt.calls
        print(f"{form}: {calls[WRITE]} writes, {calls[SYNC]} syncs and {calls[PUNCH]} holes; steps: {steps}; "
              f"{flushes} flushes of the guest's were {syncs} syncs", flush=True)
        print(f"{form}: {attempt.cuts} cuts, {attempt.states} states, {leaks} of them with leaks, {len(attempt.problems)} "
              f"wrong ({time.monotonic() - start:.0f} s)", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
