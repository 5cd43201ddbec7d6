#!/usr/bin/env python3
"""Boots the same Debian disk under QEMU (TCG) and Roost in turn, each on a copy of its own, and compares wall times.

On the serial console it waits for the login, logs in, installs a package through the user network, looks for failed
units, and switches the guest off. Nothing is kept of the copies.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

PACKAGE = "hello"


class Failure(Exception):
    pass


class Guest:
    """A monitor whose standard input and output are the guest's serial console."""

    def __init__(self, command, limit):
        self.start = time.monotonic()
        self.deadline = self.start + limit
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""

    def expect(self, pattern, forget=True):
        """Waits until the console has shown the pattern; answers the match and the time so far.

        What was shown up to there is forgotten, unless it is to be looked at again."""
        expression = re.compile(pattern)
        while True:
            match = expression.search(self.text)
            if match:
                if forget:
                    self.text = self.text[match.end():]
                return match, time.monotonic() - self.start
            if time.monotonic() > self.deadline:
                raise Failure(f"'{pattern}' did not come; the last lines are: {self.text[-400:]!r}")
            part = self.process.stdout.read()
            if part:
                self.text += part.decode("utf-8", "replace")
            elif part == b"" or self.process.poll() is not None:
                raise Failure(f"the monitor ended before '{pattern}': {self.text[-400:]!r}")
            else:
                time.sleep(0.02)

    def type(self, line):
        self.process.stdin.write((line + "\n").encode())
        self.process.stdin.flush()

    def end(self):
        """Waits for the monitor's end; answers its exit code and the time so far."""
        while self.process.poll() is None:
            if time.monotonic() > self.deadline:
                raise Failure("the monitor did not end after the guest's poweroff")
            self.process.stdout.read()
            time.sleep(0.02)
        return self.process.returncode, time.monotonic() - self.start


def live(command, options):
    """One life of a guest; answers its times by name."""
    guest = Guest(command, options.limit)
    try:
        times = {}
        # cloud-init may finish before the login prompt comes, or after it.
        _, times["login"] = guest.expect(r"login: ", forget=False)
        if not options.settled:
            _, times["set up"] = guest.expect(r"finished at", forget=False)
        guest.text = ""
        guest.type(options.user)
        guest.expect(r"Password: ")
        guest.type(options.password)
        guest.expect(r"\$ ")
        guest.type("systemctl --failed --no-legend | wc -l | sed s/^/FAILED=/")
        match, _ = guest.expect(r"FAILED=(\d+)\r?\n")
        if match[1] != "0":
            raise Failure(f"{match[1]} units of the guest failed")
        before = time.monotonic()
        guest.type(f"sudo apt-get -qq update && sudo apt-get -qq install -y {PACKAGE} >/dev/null 2>&1 && {PACKAGE}")
        guest.expect(r"Hello, world!")
        times["apt-get"] = time.monotonic() - before
        guest.type("sudo poweroff")
        code, times["all"] = guest.end()
        if code != 0:
            raise Failure(f"the monitor ended with {code}")
        return times
    finally:
        if guest.process.poll() is None:
            guest.process.kill()
            guest.process.wait()


def commands(options, folder):
    disk = folder / "disk.qcow2"
    shutil.copyfile(options.disk, disk)
    kernel, initrd, seed = (f"{options.disk}.{part}" for part in ("vmlinuz", "initrd", "seed"))
    line = "root=LABEL=root console=ttyS0 quiet"
    qemu = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1G", "-smp", str(options.cpus),
        "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", line,
        "-drive", f"file={disk},if=virtio,format=qcow2,discard=unmap",
        "-drive", f"file={seed},if=virtio,format=raw,readonly=on",
        "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n", "-device", "virtio-rng-pci",
    ]
    roost = [
        options.roost, "run", "--engine", options.engine, "--memory", "1G", "--cpus", str(options.cpus),
        "--kernel", kernel, "--initrd", initrd, "--cmdline", line, "--disk", f"path={disk}",
        "--disk", f"path={seed},format=raw,readonly=on", "--net", "user",
    ]
    return {"qemu": qemu, "roost": roost}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", required=True, help="the command")
    parser.add_argument("--disk", required=True, help="a disk that `roost image build debian` made, in qcow2")
    parser.add_argument("--user", default="debian")
    parser.add_argument("--password", default="debian")
    parser.add_argument("--engine", default="software")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--limit", type=int, default=600, help="seconds for one guest")
    parser.add_argument("--settled", action="store_true", help="the disk was booted before: do not wait for cloud-init")
    options = parser.parse_args()
    rows = []
    for _ in range(options.repeat):
        row = {}
        for name in ("qemu", "roost"):
            with tempfile.TemporaryDirectory(dir=pathlib.Path(options.disk).parent) as folder:
                try:
                    row[name] = live(commands(options, pathlib.Path(folder))[name], options)
                except Failure as failure:
                    sys.exit(f"error: {name}: {failure}")
            print(f"{name:6}", "  ".join(f"{key} {value:.1f} s" for key, value in row[name].items()), flush=True)
        rows.append(row)
    for key in rows[0]["qemu"]:
        ratios = sorted(row["roost"][key] / row["qemu"][key] for row in rows)
        print(f"{key}: Roost takes {ratios[len(ratios) // 2]:.2f} times QEMU's wall time")


if __name__ == "__main__":
    main()
