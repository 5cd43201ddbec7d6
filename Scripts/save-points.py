#!/usr/bin/env python3
"""Saves the boot of a guest at random moments and lets a new process finish each.

Prints a line a point and fails if a restored boot does not reach userspace and switch itself off.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time

USERSPACE = b"ROOST-GUEST: first line of userspace"


def run(options, arguments):
    """Runs roost without a terminal; answers its exit code and all it printed."""
    command = [options.roost, "run"] + arguments
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=options.limit)
    except subprocess.TimeoutExpired as timeout:
        return "no end", timeout.stdout or b""
    return done.returncode, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roost", required=True, help="the roost command")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--points", type=int, default=20, help="how many moments (20)")
    parser.add_argument("--seed", type=int, help="of the moments, to repeat a run")
    parser.add_argument("--limit", type=float, default=120, help="seconds that one process may take (120)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    moments = random.Random(seed)
    boot = ["--kernel", options.kernel, "--initrd", options.initrd, "--cmdline", "console=ttyS0 roost.test=log",
            "--cpus", options.cpus, "--memory", options.memory]

    start = time.monotonic()
    code, text = run(options, boot)
    length = time.monotonic() - start
    if code != 0 or USERSPACE not in text:
        sys.exit(f"The guest does not boot unsaved (exit code {code}); there is nothing to compare with.")
    print(f"seed {seed}, {options.cpus} processors, undisturbed run {length:.1f} s", flush=True)

    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "machine")
        point = 0
        while point < options.points:
            moment = moments.uniform(0.05, length)
            before, first = run(options, boot + ["--snapshot", file, "--snapshot-after", f"{moment:.3f}"])
            if before == 0:  # this time the guest was quicker: another moment
                continue
            after, second = run(options, ["--restore", file]) if before == 8 else ("-", b"")
            good = before == 8 and after == 0 and USERSPACE in first + second
            failures += not good
            point += 1
            size = os.path.getsize(file) >> 20 if before == 8 else 0
            print(f"{point:3}  at {moment:6.2f} s  {size:4} MiB  saved {before}  restored {after}  "
                  f"{'ok' if good else 'FAILED'}", flush=True)
            if not good:
                print((first[-500:] + b"\n--- restored ---\n" + second[-500:]).decode(errors="replace"))
    print(f"{options.points - failures} of {options.points} boots finished in a new process")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
