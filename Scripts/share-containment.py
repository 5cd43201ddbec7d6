#!/usr/bin/env python3
"""Reads a trace of the file servers' tests and looks for files that were reached outside the share.

Usage: share-containment.py TRACE

The servers name files from descriptors alone, so their calls are those with a descriptor in front. Whatever that
descriptor and the one that comes back lead to must lie in a test's share; the calls that take a whole path are the
tests' own.
"""
import re
import sys

DESCRIPTOR = r"\d+<((?:\\.|[^<>])*)>"
INSIDE = re.compile(r"^/tmp/roost-share-\w{6}/share(/|$| )")
PROC = re.compile(r"^/proc/\d+/fd$")



def calls(trace):
    """The calls, each on a line: one that another thread's came between is put together again."""
    begun = {}
    for line in trace:
        thread, _, call = line.rstrip().partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
        elif resumed := re.match(r"<\.\.\. \w+ resumed>(.*)$", call):
            yield begun.pop(thread, "") + resumed[1]
        else:
            yield call


looked_at = refused = 0
outside = []
with open(sys.argv[1], encoding="utf-8", errors="replace") as trace:
    for call in calls(trace):
        parts = re.match(r"\w+\(" + DESCRIPTOR + r", (.*)$", call)
        if not parts or "roost-share" not in call and not PROC.match(parts[1]):
            continue
        looked_at += 1
        refused += " = -1 E" in call
        reached = [parts[1]] + re.findall(DESCRIPTOR, parts[2])
        if not all(INSIDE.match(path) or PROC.match(path) for path in reached):
            outside.append(call)

for line in outside[:20]:
    print(line)
print(f"{looked_at} calls looked at, {refused} of them refused by the host, {len(outside)} outside", file=sys.stderr)
sys.exit(1 if outside or looked_at < 1000 else 0)
