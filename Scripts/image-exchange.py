"""Exchanges disk images with qemu-img, both ways, over every option.

Each image is made by one program, and then read, checked and compared by both: sizes, cluster sizes, versions,
widths of reference counts, subclusters, compression, preallocation, chains of five, snapshots, and what changes an
image as a whole.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--roost", required=True, help="the command")
parser.add_argument("--qemu-img", default="qemu-img")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
chance = random.Random(options.seed)
checks = 0


def run(program, *arguments, code=0):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(
            f"{' '.join(map(str, (program, *arguments)))}\nended with {done.returncode} instead of {code}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


def roost(*arguments, code=0):
    return run(options.roost, "image", *arguments, code=code)


def qemu(*arguments, code=0):
    return run(options.qemu_img, *arguments, code=code)


def content(path, size):
    """Writes a raw disk of holes, zeroes, repeated bytes and noise."""
    with open(path, "wb") as file:
        file.truncate(size)
        position = 0
        while position < size:
            count = min(chance.choice([512, 4096, 20_000, 65_536, 300_000]), size - position)
            kind = chance.randrange(4)
            file.seek(position)
            if kind == 1:
                file.write(bytes(count))
            elif kind == 2:
                file.write(bytes([chance.randrange(1, 256)]) * count)
            elif kind == 3:
                file.write(chance.randbytes(count))
            position += count


def same(image, raw, size=None):
    """Both programs find the image whole, and the same as the raw disk."""
    global checks
    if image.endswith("qcow2"):
        qemu("check", "-q", "-f", "qcow2", image)
        roost("check", image)
    kind = "qcow2" if image.endswith("qcow2") else "raw"
    qemu("compare", "-q", "-f", kind, "-F", "raw", image, raw)
    roost("compare", image, raw, "--strict")
    checks += 1


SIZES = [512, 1_000_448, 3 * 1024 * 1024, 8 * 1024 * 1024]
SHAPES = [
    dict(zip(("cluster", "compat", "refcount", "extended", "compression"), shape))
    for shape in itertools.product(
        [512, 4096, 65536, 2 << 20], ["v2", "v3"], [1, 2, 4, 8, 16, 32, 64], [False, True], ["zlib", "zstd"]
    )
]
# What version 2 has not, and what is the same in all: one shape of each is enough.
SHAPES = [
    s
    for s in SHAPES
    if not (s["compat"] == "v2" and (s["refcount"] != 16 or s["extended"] or s["compression"] != "zlib"))
    and not (s["extended"] and s["cluster"] < 16384)
    and (s["refcount"] in (1, 16, 64) or s["cluster"] == 4096)
]


def roost_options(s):
    arguments = ["--cluster-size", f"{s['cluster']}B", "--compat", s["compat"], "--compression", s["compression"]]
    if s["compat"] == "v3":
        arguments += ["--refcount-bits", s["refcount"]]
    return arguments + (["--extended-l2"] if s["extended"] else [])


def qemu_options(s):
    text = f"cluster_size={s['cluster']},compat={'0.10' if s['compat'] == 'v2' else '1.1'}"
    if s["compat"] == "v3":
        text += f",refcount_bits={s['refcount']},compression_type={s['compression']}"
    return text + (",extended_l2=on" if s["extended"] else "")


def shapes():
    for number, shape in enumerate(SHAPES):
        size = SIZES[number % len(SIZES)]
        content("disk.img", size)
        for compress in (False, True):
            roost("convert", "disk.img", "a.qcow2", "--force", *roost_options(shape), *["--compress"] * compress)
            same("a.qcow2", "disk.img")
            qemu("convert", "-f", "raw", "-O", "qcow2", "-o", qemu_options(shape), *["-c"] * compress, "disk.img", "b.qcow2")
            same("b.qcow2", "disk.img")
            # Each reads what the other has made.
            qemu("convert", "-f", "qcow2", "-O", "raw", "a.qcow2", "a.img")
            same("a.img", "disk.img")
            roost("convert", "b.qcow2", "b.img", "--force")
            same("b.img", "disk.img")
            roost("convert", "b.qcow2", "c.qcow2", "--force", *roost_options(shape))
            same("c.qcow2", "disk.img")
        # Empty images, prepared or not, and with reference counts that may be late.
        for extra in ([], ["--preallocation", "metadata"], ["--lazy-refcounts"]):
            if extra == ["--lazy-refcounts"] and shape["compat"] == "v2":
                continue
            roost("create", "e.qcow2", f"{size}B", "--force", *roost_options(shape), *extra)
            roost("create", "e.img", f"{size}B", "--force")
            same("e.qcow2", "e.img")
            qemu("convert", "-n", "-f", "raw", "-O", "qcow2", "disk.img", "e.qcow2")
            same("e.qcow2", "disk.img")


def chains():
    """Five images on each other, made by both in turn; then what makes fewer of them."""
    size = 4 * 1024 * 1024
    for turn in range(4):
        content("disk.img", size)
        roost("convert", "disk.img", "0.qcow2", "--force")
        for depth in range(1, 5):
            above, below = f"{depth}.qcow2", f"{depth - 1}.qcow2"
            if (depth + turn) % 2:
                roost("create", above, "--backing", below, "--force", "--cluster-size", f"{4 << depth}K")
            else:
                qemu("create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", above)
            # The change is written by one and by the other, into a raw copy as well.
            for _ in range(6):
                start = chance.randrange(size // 4096) * 4096
                pattern = chance.randrange(1, 256)
                if chance.randrange(2):
                    roost("bench", above, "--write", "--count", 1, "--size", "4K", "--step", f"{start + 4096}B",
                          "--pattern", pattern, "--depth", 1)
                    start = 0
                else:
                    qemu("bench", "-w", "-q", "-f", "qcow2", "-c", 1, "-d", 1, "-s", 4096, "-o", start,
                         "--pattern", pattern, above)
                with open("disk.img", "r+b") as file:
                    file.seek(start)
                    file.write(bytes([pattern]) * 4096)
            same(above, "disk.img")
        qemu("convert", "-f", "qcow2", "-O", "raw", "4.qcow2", "a.img")
        same("a.img", "disk.img")
        roost("convert", "4.qcow2", "b.qcow2", "--force", "--backing", "0.qcow2")
        same("b.qcow2", "disk.img")
        roost("convert", "4.qcow2", "b.qcow2", "--force", "--backing", "0.qcow2", "--compress")
        same("b.qcow2", "disk.img")
        roost("rebase", "4.qcow2", "--backing", "1.qcow2")
        same("4.qcow2", "disk.img")
        qemu("rebase", "-f", "qcow2", "-b", "0.qcow2", "-F", "qcow2", "4.qcow2")
        same("4.qcow2", "disk.img")
        (roost("commit", "4.qcow2") if turn % 2 else qemu("commit", "-q", "-f", "qcow2", "4.qcow2"))
        same("4.qcow2", "disk.img")
        same("0.qcow2", "disk.img")
        roost("rebase", "4.qcow2", "--backing", "")
        same("4.qcow2", "disk.img")


def sizes():
    content("disk.img", 1_000_448)
    roost("convert", "disk.img", "a.qcow2", "--force")
    for size in (3_000_320, 700_416, 1 << 30, 512):
        for image in ("a.qcow2", "disk.img"):
            roost("resize", image, f"{size}B", "--shrink")
        same("a.qcow2", "disk.img")
    qemu("resize", "-q", "-f", "qcow2", "a.qcow2", "5M")
    roost("resize", "disk.img", "5M")
    same("a.qcow2", "disk.img")


def snapshots():
    size = 2 * 1024 * 1024
    content("disk.img", size)
    roost("convert", "disk.img", "a.qcow2", "--force")
    names = []
    for number in range(3):
        name = f"state {number}"
        qemu("snapshot", "-c", name, "a.qcow2")
        qemu("convert", "-f", "qcow2", "-O", "raw", "a.qcow2", f"state{number}.img")
        names.append(name)
        roost("bench", "a.qcow2", "--write", "--count", 20, "--pattern", 40 + number, "--size", "4K", "--step", "64K")
    assert all(name in roost("snapshots", "a.qcow2") for name in names)
    for number, name in enumerate(names):
        roost("convert", "a.qcow2", "b.img", "--snapshot", name, "--force")
        same("b.img", f"state{number}.img")
        qemu("snapshot", "-a", name, "a.qcow2")
        same("a.qcow2", f"state{number}.img")


def differences():
    """Both say so when disks differ or an image is not whole."""
    content("disk.img", 1 << 20)
    roost("convert", "disk.img", "a.qcow2", "--force")
    with open("disk.img", "r+b") as file:
        file.seek(777_777)
        byte = file.read(1)[0]
        file.seek(777_777)
        file.write(bytes([byte ^ 1]))
    roost("compare", "a.qcow2", "disk.img", code=2)
    qemu("compare", "-q", "-f", "qcow2", "-F", "raw", "a.qcow2", "disk.img", code=1)
    with open("a.qcow2", "r+b") as file:
        length = file.seek(0, os.SEEK_END)
        file.truncate(length + 65536)
    # A cluster that is counted and not used: the block of counts is the third cluster.
    with open("a.qcow2", "r+b") as file:
        file.seek(2 * 65536 + 2 * (length // 65536))
        file.write(b"\0\1")
    qemu("check", "-q", "-f", "qcow2", "a.qcow2", code=3)
    roost("check", "a.qcow2", code=4)
    roost("check", "a.qcow2", "--repair", "leaks")
    qemu("check", "-q", "-f", "qcow2", "a.qcow2")


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for part in (differences, snapshots, sizes, chains, shapes):
        part()
        print(f"{part.__name__}: well; {checks} images compared so far", flush=True)
