"""Measures how quickly images answer, with `roost image bench` and `qemu-img bench` in turn.

Raw, qcow2 and a chain of three qcow2 images; the page cache and direct; reading and writing; one request at a time and
thirty-two. Of a number of rounds the medians are compared; for direct transfers QEMU has the best of its threads, the
kernel's asynchronous calls and io_uring. Who goes first changes from round to round. Writes to the chain give storage to
clusters, the other writes change what is there. Beside it stands the processor's time that a request takes, the programs'
start included.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--roost", required=True, help="the command, optimised")
parser.add_argument("--qemu-img", default="qemu-img")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--count", type=int, default=20_000, help="requests a round; a quarter one at a time")
parser.add_argument("--only", default="", help="cases whose name contains this")
parser.add_argument("--folder", help="where the images are made; a file system with direct input and output")
options = parser.parse_args()

SIZE = 128 << 20
STEP = 4096


def run(*arguments):
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout


def make_images():
    with open("disk.img", "wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(SIZE >> 20):
            file.write(block)
    run(options.qemu_img, "convert", "-f", "raw", "-O", "qcow2", "disk.img", "disk.qcow2")
    run(options.qemu_img, "convert", "-f", "raw", "-O", "qcow2", "disk.img", "base.qcow2")
    over("middle.qcow2", "base.qcow2", 3)
    over("top.qcow2", "middle.qcow2", 5)


def over(image, backing, every):
    """An image that stores one cluster in so many."""
    run(options.qemu_img, "create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", image)
    run(options.qemu_img, "bench", "-q", "-w", "-f", "qcow2", "-c", SIZE // 65536 // every, "-d", 1,
        "-S", 65536 * every, image)


def settle(*images):
    """What the page cache holds of an image is written and let go: direct transfers would have to do that first."""
    for image in images:
        with open(image, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def roost(image, direct, write, depth, count):
    extra = ["--write"] if write else []
    text = run(options.roost, "image", "bench", image, "--count", count, "--depth", depth, "--size", f"{STEP}B",
               "--cache", "direct" if direct else "writeback", "--format", "json", *extra)
    return json.loads(text)["requestsPerSecond"]


def qemu(image, direct, write, depth, count, aio):
    text = run(options.qemu_img, "bench", "-f", "raw" if image.endswith("img") else "qcow2", "-c", count, "-d", depth,
               "-s", STEP, "-t", "none" if direct else "writeback", "-i", aio, *(["-w"] if write else []), image)
    return count / float(re.search(r"in ([0-9.]+) seconds", text)[1])


def measure(name, image, direct, write, depth):
    count = options.count if depth > 1 else options.count // 4
    # The flush at a run's end, which nobody counts, leaves the next one as much to write as this one found.
    programs = ["roost", "threads"] + ["native", "io_uring"] * direct
    rates = {program: [] for program in programs}
    times = {program: [] for program in programs}
    for turn in range(options.rounds):
        for place in range(len(programs)):
            program = programs[(turn + place) % len(programs)]
            if write and image == "top.qcow2":
                over("top.qcow2", "middle.qcow2", 5)
            if direct:
                settle(image)
            before = spent()
            if program == "roost":
                rate = roost(image, direct, write, depth, count)
            else:
                rate = qemu(image, direct, write, depth, count, program)
            rates[program].append(rate)
            times[program].append((spent() - before) / count * 1e6)
    best = max(programs[1:], key=lambda program: statistics.median(rates[program]))
    ours, theirs = statistics.median(rates["roost"]), statistics.median(rates[best])
    print(f"{name:32} {ours:10,.0f} {theirs:10,.0f} {ours / theirs:7.2f}   {best:8} "
          f"{statistics.median(times['roost']):7.1f} {statistics.median(times[best]):7.1f}", flush=True)
    return ours / theirs


with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    os.chdir(folder)
    make_images()
    print(f"{'requests of 4 KiB a second':32} {'roost':>10} {'qemu-img':>10} {'ratio':>7}   {'by':8} "
          f"{'us each':>7} {'QEMU':>7}")
    ratios = []
    for kind, image in [("raw", "disk.img"), ("qcow2", "disk.qcow2"), ("chain of 3", "top.qcow2")]:
        for direct in (False, True):
            for write in (False, True):
                for depth in (1, 32):
                    name = f"{kind}, {'direct' if direct else 'cached'}, {'write' if write else 'read'}, depth {depth}"
                    if options.only in name:
                        ratios.append(measure(name, image, direct, write, depth))
    print(f"least ratio: {min(ratios):.2f}")
