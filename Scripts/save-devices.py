#!/usr/bin/env python3
"""Saves a guest whose disk and network are busy at random moments, and lets a new process go on each time.

A guest is saved several times in one life; then it says how its disk must look. Prints a line a save, and one for the
end of each guest.
"""

import argparse
import hashlib
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading


class Peer:
    """What the guest's connections lead to. They may be cut at any byte, but never carry anything wrong."""

    def __init__(self):
        self.connections = self.cut = self.wrong = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            caller, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(caller,), daemon=True).start()

    def serve(self, caller):
        whole = wrong = False
        try:
            with caller, caller.makefile("rwb") as lines:
                kind = lines.readline()
                if kind == b"down\n":
                    for number in range(1, random.randrange(1_000, 10_000)):
                        lines.write(b"%-63d\n" % number)
                    lines.write(b"end\n")
                    lines.flush()
                    # Who closes with something unread resets the connection.
                    caller.shutdown(socket.SHUT_WR)
                    while lines.read(1 << 16):
                        pass
                    whole = True
                elif kind == b"up\n":
                    whole, wrong = self.check(lines)
                    lines.write(b"wrong\n" if wrong else b"whole\n" if whole else b"cut\n")
                elif kind:
                    wrong = True
        except OSError:
            pass
        with self.lock:
            self.connections += 1
            self.cut += not whole
            self.wrong += wrong

    @staticmethod
    def check(lines):
        number = 0
        for line in lines:
            number += 1
            if line == b"end\n":
                return number == 5_001, number != 5_001
            if not (b"%-63d\n" % number).startswith(line) or (line[-1:] == b"\n") != (len(line) == 64):
                return False, True
        return False, False


def run(options, arguments):
    """Runs roost without a terminal; answers its exit code and all it printed."""
    try:
        done = subprocess.run([options.roost, "run"] + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=options.limit)
    except subprocess.TimeoutExpired as timeout:
        return "no end", timeout.stdout or b""
    return done.returncode, done.stdout


def digest(path, form):
    if form != "raw":
        path, packed = path + ".plain", path
        subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", packed, path], check=True)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
            else hashlib.sha256(file.read()).hexdigest()


class Guest:
    """One guest, from its boot through its saves to its end."""

    def __init__(self, options, chance, number, folder):
        self.options, self.chance = options, chance
        self.cpus = options.cpus or 1 + number // 2 % 2
        self.bus = ("pci", "mmio")[number % 2]
        self.form = options.formats[number % len(options.formats)]
        self.name = f"guest {number + 1} ({self.form}, {self.bus}, {self.cpus} processors)"
        self.disk = os.path.join(folder, f"disk{number}.{self.form}")
        self.file = os.path.join(folder, "machine")
        self.peer = Peer()
        self.text = b""
        subprocess.run(["qemu-img", "create", "-q", "-f", self.form, self.disk, options.disk], check=True)

    def boot(self):
        return ["--kernel", self.options.kernel, "--initrd", self.options.initrd, "--cpus", str(self.cpus),
                "--memory", self.options.memory,
                "--cmdline", "console=ttyS0 quiet cryptomgr.notests no_timer_check roost.test=load "
                f"roost.seconds={self.options.seconds} roost.ports={self.peer.port}",
                "--disk", f"path={self.disk},format={self.form},bus={self.bus}",
                "--net", f"user,host-loopback=on,bus={self.bus}"]

    def live(self, saved, most):
        """Answers how often it was saved, and what is wrong, if anything is."""
        saves, lived = 0, 0.0
        arguments = self.boot()
        while True:
            # One that should have come to its end long ago shows in peace whether it does.
            last = (saved + saves == most or b"ROOST-LOAD: is over" in self.text
                    or lived > 60 + 4 * self.options.seconds)
            moment = self.chance.uniform(1.0, 6.0) if saves == 0 else self.chance.uniform(0.05, self.options.life)
            lived += moment
            extra = [] if last else ["--snapshot", self.file, "--snapshot-after", f"{moment:.3f}"]
            code, text = run(self.options, arguments + extra)
            self.text += text
            if code == 0:
                return saves, self.verdict()
            if code != 8:
                return saves, f"exit code {code}"
            saves += 1
            print(f"{saved + saves:4}  {self.name}  at {moment:5.2f} s  {os.path.getsize(self.file) >> 20:4} MiB  saved",
                  flush=True)
            arguments = ["--restore", self.file]

    def verdict(self):
        text = self.text.decode(errors="replace")
        ends = re.search(r"disk ends as ([0-9a-f]{64})", text)
        if not ends or "load ends with status 0" not in text or "is wrong" in text:
            return "the guest found something wrong"
        for word in ("Call Trace", "Kernel panic", "I/O error", "NETDEV WATCHDOG", "blocked for more than"):
            if word in text:
                return f"the kernel says {word}"
        if self.peer.wrong:
            return f"{self.peer.wrong} connections carried something wrong"
        if digest(self.disk, self.form) != ends.group(1):
            return "the disk is not as the guest left it"
        return None

    def counts(self):
        lines = re.findall(r"ROOST-LOAD: ((?:direct|buffered|download|upload).*?)\r?\n", self.text.decode(errors="replace"))
        return "; ".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", required=True, help="the roost command")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--memory", default="128M")
    parser.add_argument("--cpus", type=int, help="processors of each guest (1 and 2 in turn)")
    parser.add_argument("--disk", default="2M", help="size of the disk (2M)")
    parser.add_argument("--formats", default="raw", type=lambda text: text.split(","), help="of the disks, in turn (raw)")
    parser.add_argument("--saves", type=int, default=20, help="how many in all (20)")
    parser.add_argument("--seconds", type=int, default=12, help="of load in the life of a guest (12)")
    parser.add_argument("--life", type=float, default=2, help="the longest time between two saves (2)")
    parser.add_argument("--seed", type=int, help="of the moments, to repeat a run")
    parser.add_argument("--limit", type=float, default=120, help="seconds that one process may take (120)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}", flush=True)

    saves = guests = failures = connections = cut = 0
    while saves < options.saves:
        with tempfile.TemporaryDirectory() as folder:
            guest = Guest(options, chance, guests, folder)
            count, problem = guest.live(saves, options.saves)
        saves += count
        guests += 1
        failures += problem is not None
        connections += guest.peer.connections
        cut += guest.peer.cut
        print(f"      {guest.name}  saved {count} times  {guest.counts()}  {'FAILED: ' + problem if problem else 'ok'}",
              flush=True)
        if problem:
            print(guest.text[-3000:].decode(errors="replace"))
    print(f"{guests - failures} of {guests} guests were right after {saves} saves; "
          f"{connections} connections, {cut} cut, none may be wrong")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
