#!/usr/bin/env python3
"""Starts damaged kernels and checks that none takes Roost with it.

Each image is a copy of the cached bzImage or vmlinux with bits flipped, fields of its headers overwritten, a
stretch lost, or its end cut off. `roost run` must refuse it with one sentence, or start it: then the guest may
boot, reset, shut down or hang. One that hangs is stopped by two SIGTERMs. Roost must never die of a signal, must
stop when told, answer with a documented code, and stay within the guest's memory and 256 MiB.

The same seed makes the same images. A failing image stays in the folder that the report names.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

CACHE = pathlib.Path(
    os.environ.get("ROOST_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "roost")
MEMORY_MIB = 256
MARGIN_MIB = 256
STOP_LIMIT = 5  # seconds from the second SIGTERM to the end
EXTREMES = [0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1 << 63, (1 << 64) - 1]
# What Documentation/ExitCodes.md calls the ends that a damaged kernel may come to.
ENDS = {0: "switched off", 2: "reset", 4: "shut down", 6: "stopped", 64: "refused"}


# --- Damage ---

def flip(image, chance, start, end, count):
    for _ in range(count):
        image[chance.randrange(start, end)] ^= 1 << chance.randrange(8)


def overwrite(image, chance, start, end):
    """One field with a value of its width that loaders do not expect."""
    width = chance.choice([1, 2, 4, 8])
    at = chance.randrange(start, end - width)
    if chance.random() < 0.7:
        at &= ~(width - 1)
    value = chance.choice(EXTREMES + [chance.getrandbits(64)]) & (1 << 8 * width) - 1
    image[at:at + width] = value.to_bytes(width, "little")


def lose(image, chance, start, end):
    """A stretch becomes zeroes, as a hole in a copy would leave it."""
    at = chance.randrange(start, end)
    count = min(chance.choice([16, 512, 4096, 1 << 20]), len(image) - at)
    image[at:at + count] = bytes(count)


def cut(image, chance):
    """Cut anywhere; often within the headers or just before the end."""
    where = chance.random()
    if where < 0.4:
        end = chance.randrange(0, 0x1000)
    elif where < 0.6:
        end = len(image) - chance.randrange(1, 0x10000)
    else:
        end = chance.randrange(0, len(image))
    del image[end:]


def regions_of_bzimage(image):
    """Named stretches: Linux/x86 boot protocol, "The Real-Mode Kernel Header"."""
    sectors = image[0x1f1] or 4
    protected = (sectors + 1) * 512
    payload, size = struct.unpack_from("<II", image, 0x248)
    return {
        "setup header": (0x1f1, 0x290), "setup header again": (0x1f1, 0x290), "setup code": (0x290, protected),
        "decompressor's start": (protected, protected + 0x400),
        "payload's start": (protected + payload, protected + payload + 64),
        "payload": (protected + payload, protected + payload + size),
        "decompressor": (protected + payload + size, len(image)),
    }


def regions_of_vmlinux(image):
    """Named stretches: System V ABI, "ELF Header" and "Program Header"."""
    table, = struct.unpack_from("<Q", image, 0x20)
    size, count = struct.unpack_from("<HH", image, 0x36)
    regions = {"ELF header": (0, 64), "program headers": (table, table + size * count)}
    for index in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", image, table + index * size)
        if length > 8:
            regions["notes" if kind == 4 else f"segment {index}"] = (offset, offset + length)
    return regions


def damaged(original, regions, chance):
    """A damaged copy, and what was done to it."""
    image = bytearray(original)
    if chance.random() < 0.2:
        cut(image, chance)
        return image, f"cut to {len(image)} bytes"
    name = chance.choice(list(regions))
    start, end = regions[name]
    kind = chance.choice(["flip", "flip", "overwrite", "overwrite", "lose"])
    if kind == "flip":
        count = chance.choice([1, 1, 2, 8, 64])
        flip(image, chance, start, end, count)
        return image, f"{count} bits flipped in the {name}"
    if kind == "overwrite":
        overwrite(image, chance, start, end)
        return image, f"a field overwritten in the {name}"
    lose(image, chance, start, end)
    return image, f"a stretch lost in the {name}"


# --- One run ---

class Outcome:
    def __init__(self, number, what, end, problems, seconds, resident):
        self.number, self.what, self.end = number, what, end
        self.problems, self.seconds, self.resident = problems, seconds, resident


def run(roost, path, number, what, timeout):
    command = [
        roost, "run", "--kernel", str(path), "--cmdline", "earlyprintk=ttyS0 console=ttyS0 panic=-1",
        "--memory", f"{MEMORY_MIB}M", "--no-reboot"]
    log = path.with_suffix(".log")
    problems = []
    with open(log, "wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        status, usage = wait(process.pid, started + timeout, log)
        if status is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            status, usage = wait(process.pid, time.monotonic() + STOP_LIMIT)
        if status is None:
            problems.append(f"does not stop within {STOP_LIMIT} s")
            process.kill()
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    code = process.returncode
    text = log.read_bytes()
    if code < 0 and not problems:
        problems.append(f"died of signal {-code}")
    elif code not in ENDS and not problems:
        problems.append(f"ended with code {code}")
    elif code == 64 and text.count(b"roost: ") != 1:
        problems.append("was refused without a sentence")
    resident = usage.ru_maxrss >> 10
    if resident > MEMORY_MIB + MARGIN_MIB:
        problems.append(f"took {resident} MiB")
    return Outcome(number, what, ENDS.get(code, "?"), problems, seconds, resident)


def wait(pid, deadline, log=None):
    """The status and usage of a process that ends in time. A guest that says it has halted is not waited for."""
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage
        if log and b"System halted" in log.read_bytes():
            return None, None
        time.sleep(0.02)
    return None, None


# --- All of them ---

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="how many images (200)")
    parser.add_argument("--seed", type=int, default=1, help="which images (1)")
    parser.add_argument("--roost", default=".build/release/roost", help="the command (.build/release/roost)")
    parser.add_argument("--timeout", type=float, default=20, help="seconds after which a guest is stopped (20)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    options = parser.parse_args()

    sources = []
    for name, regions in (("bzImage", regions_of_bzimage), ("vmlinux", regions_of_vmlinux)):
        path = CACHE / name
        if not path.exists():
            sys.exit(f"error: {path} is missing: run Scripts/kernel.sh first.")
        original = path.read_bytes()
        sources.append((name, original, regions(original)))
    if not shutil.which(options.roost):
        sys.exit(f"error: {options.roost} is no command: build it with 'make', or name another with --roost.")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="damaged-kernels-"))

    def one(number):
        chance = random.Random(options.seed * 1_000_003 + number)
        name, original, regions = sources[number % len(sources)]
        image, what = damaged(original, regions, chance)
        path = folder / f"{number}-{name}"
        path.write_bytes(image)
        outcome = run(options.roost, path, number, f"{name}, {what}", options.timeout)
        if not outcome.problems:
            path.unlink()
            path.with_suffix(".log").unlink()
        return outcome

    ends, slowest, largest, failed = {}, 0, 0, 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(one, range(options.count)):
            ends[outcome.end] = ends.get(outcome.end, 0) + 1
            slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.resident)
            failed += bool(outcome.problems)
            mark = "FAILED: " + "; ".join(outcome.problems) if outcome.problems else outcome.end
            print(f"{outcome.number:4} {outcome.seconds:5.1f} s  {outcome.resident:4} MiB  {mark:12}  {outcome.what}",
                  flush=True)
    counts = ", ".join(f"{count} {end}" for end, count in sorted(ends.items(), key=lambda item: -item[1]))
    print(f"damaged kernels: {options.count} images of seed {options.seed}: {counts}; {failed} failed; "
          f"slowest {slowest:.1f} s, largest {largest} MiB")
    if failed:
        sys.exit(f"error: {failed} images failed; they and what was printed are in {folder}.")
    folder.rmdir()


if __name__ == "__main__":
    main()
