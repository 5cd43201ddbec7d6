#!/usr/bin/env python3
"""Checks the machine code of the interpreter's handlers.

A handler must reach the next one by a jump: one that calls it grows the stack with every instruction of
the guest. Nor may a handler count references, check exclusivity or initialise globals.

usage: handlers.py OBJDUMP OBJECT…
"""
import re
import subprocess
import sys

FORBIDDEN = re.compile(
    r"swift_(retain|release|bridgeObject|beginAccess|once|allocObject|unknownObject|weak|unowned)"
)
HANDLER = re.compile(r"X86Processor.*U\d*_To$")  # a closure with a C entry point


def functions(objdump, objects):
    """The instructions of each function; a relocation stands behind the one that it completes.

    Functions that the compiler shares between handlers have no symbol: whatever another function jumps into
    counts as one of its own, called SYMBOL+OFFSET.
    """
    found = {}
    for path in objects:
        text = subprocess.run(
            [objdump, "-d", "-r", "--no-show-raw-insn", path],
            capture_output=True, text=True, check=True,
        ).stdout
        name, start, entries = "", 0, set()
        lines = []
        for line in text.splitlines():
            if head := re.match(r"([0-9a-f]+) <(.*)>:$", line):
                start, name = int(head[1], 16), head[2]
            elif parts := re.match(r"\s*([0-9a-f]+):\s+(.*)$", line):
                instruction = parts[2].strip().replace("\t", " ")
                lines.append((name, int(parts[1], 16) - start, instruction))
                target = re.search(r"^(?:call|jmp)q?\s.*<(.*)\+0x([0-9a-f]+)>$", instruction)
                if target and target[1] != name:
                    entries.add((target[1], int(target[2], 16)))
        body, last = [], None
        for name, offset, instruction in lines:
            if name != last:
                body, last = found.setdefault(name, []), name
            if (name, offset) in entries:
                body = found.setdefault(f"{name}+0x{offset:x}", [])
            body.append(instruction)
    return found


def transfers(body):
    """What a function calls, what it jumps to outside itself, and whether it ends in a jump to a step."""
    calls, jumps, continues, calls_pointer = set(), set(), False, False
    for index, line in enumerate(body):
        kind = line.split()[0].removesuffix("q")
        if kind not in ("call", "jmp"):
            continue
        if "*" in line:
            if kind == "call":
                calls_pointer = True
            # The jumps of a `switch` take their distance from a table.
            elif not any("movslq" in before for before in body[max(0, index - 6):index]):
                continues = True
            continue
        after = body[index + 1] if index + 1 < len(body) else ""
        target = re.match(r"R_X86_64_\w+\s+(\S+?)([-+]0x\w+)?$", after) or re.search(r"<(.*)>$", line)
        if target:
            (calls if kind == "call" else jumps).add(target[1])
    return calls, jumps, continues, calls_pointer


def main():
    code = functions(sys.argv[1], sys.argv[2:])
    graph = {name: transfers(body) for name, body in code.items()}
    handlers = {name for name in graph if HANDLER.search(name)}
    # Handlers, and what they jump to in the end: all that runs between two steps.
    reached, waiting = set(), list(handlers)
    while waiting:
        name = waiting.pop()
        if name in reached or name not in graph:
            continue
        reached.add(name)
        waiting += graph[name][1]
    continuing = {name for name in reached if graph[name][2]}
    while True:
        more = {name for name in reached if graph[name][1] & continuing} - continuing
        if not more:
            break
        continuing |= more

    complaints = []
    for name in sorted(reached):
        calls, _, _, calls_pointer = graph[name]
        if calls_pointer and name in handlers:
            complaints.append((name, "calls through a pointer"))
        complaints += [(name, f"calls {target}, which runs the next step") for target in calls & continuing]
        complaints += [(name, f"calls {target}") for target in calls if FORBIDDEN.search(target)]
    for name, complaint in complaints:
        print(f"{name} {complaint}", file=sys.stderr)
    print(f"{len(handlers)} handlers, {len(continuing & handlers)} of which jump to the next step")
    if len(handlers) < 500 or len(continuing & handlers) < 400:
        sys.exit("Too few handlers were found: has the compiler changed how it names or builds them?")
    sys.exit(1 if complaints else 0)


main()
