#!/usr/bin/env python3
"""Compares 'roost cpu step' with Unicorn on random instructions in 16-bit real and 32-bit protected mode.

usage: unicorn-compare.py ROOST [--count N] [--seed N] [--mode real16|prot32] [--group NAME] [--show N]

Needs the package unicorn from PyPI. Both start from the same registers, segments, flags and memory, and carry out one
instruction. Compared are the vector and error code of an exception, or else all general and segment registers with
what they cache, EFLAGS, memory, and the x87, MMX and SSE registers. Every difference must be one that a rule of
unicorn_rules.py names; Documentation/UnicornComparison.md says who is wrong in each.
"""
import argparse
import collections
import ctypes
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import tempfile
import time

try:
    import unicorn
    from unicorn import x86_const as x86
except ImportError:
    sys.exit("error: Python has no package unicorn: 'make unicorn-compare' installs it into the cache.")

from unicorn_cases import (
    AC, AF, CF, CODE, CONTROLS, DATA, DESCRIPTORS, DF, GDT, GENERAL, GROUPS, ID, IF, LDT, M32, NT, OF, PF, RF,
    SEGMENTS, SF, SIZE, STATUS, TABLES, TABLE_IMAGE, TF, TSS, VM, ZF, Case, environments, hexadecimal, narrow,
    number)
from unicorn_rules import judge

# --- Unicorn ---


def api(name):
    return getattr(x86, "UC_X86_REG_" + name.upper())


UC_GENERAL = [api(name) for name in GENERAL]
UC_XMM = [api("xmm%d" % i) for i in range(8)]
UC_FP = [api("fp%d" % i) for i in range(8)]
UC_READ = UC_GENERAL + [api("eip"), api("eflags")] + [api(name) for name in SEGMENTS]
UC_FLOATS = [api("fpcw"), api("fpsw"), api("fptag")] + UC_FP


class Unicorn:
    """One instruction at a time on Unicorn, with 4 GiB of memory that is put back behind each."""

    def __init__(self, mode):
        self.mode = mode
        self.uc = uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_16 if mode == "real16" else unicorn.UC_MODE_32)
        uc.ctl_set_cpu_model(x86.UC_CPU_X86_NEHALEM)
        uc.mem_map(0, 1 << 32)
        self.vector, self.written = None, []
        uc.hook_add(unicorn.UC_HOOK_INTR, self.interrupt)
        uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, self.invalid)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self.note)
        self.contexts = {}
        uc.mem_write(GDT, TABLE_IMAGE)
        if mode == "prot32":
            uc.reg_write(x86.UC_X86_REG_GDTR, (0, GDT, 8 * len(DESCRIPTORS) - 1, 0))
            uc.reg_write(x86.UC_X86_REG_LDTR, (16 << 3, LDT, 0x1f, 0x8200))
            uc.reg_write(x86.UC_X86_REG_TR, (17 << 3, TSS, 0x67, 0x8b00))
        uc.reg_write(x86.UC_X86_REG_IDTR, (0, 0, 0x3ff if mode == "real16" else 0, 0))
        uc.reg_write(x86.UC_X86_REG_CR4, 0x600)
        uc.reg_write(x86.UC_X86_REG_CR0, 0x31 if mode == "prot32" else 0x30)
        self.fresh = uc.context_save()
        self.after = uc.context_save()
        self.find_hidden()

    def interrupt(self, uc, vector, data):
        self.vector = vector
        uc.emu_stop()

    def invalid(self, uc, data):
        self.vector = 6
        return False

    def note(self, uc, access, address, size, value, data):
        self.written.append((address, size))

    def context(self):
        self.uc.context_update(self.after)
        return ctypes.string_at(self.after.context, self.after.size)

    def find_hidden(self):
        """Where Unicorn's saved state has an exception's error code and what segment registers cache."""
        self.error_at = self.segments_at = None
        if self.mode == "real16":
            return
        found = []
        for selector in (0x1234, 0x5674):
            self.uc.context_restore(self.fresh)
            self.uc.reg_write(x86.UC_X86_REG_EAX, selector)
            self.step(bytes.fromhex("8ed8"), CODE, False)
            image, pattern = self.context(), struct.pack("<I", selector)
            found.append({at for at in range(64, len(image) - 3, 4) if image[at:at + 4] == pattern})
        self.uc.context_restore(self.fresh)
        self.uc.reg_write(x86.UC_X86_REG_EAX, 14 << 3)
        self.step(bytes.fromhex("8ec0"), CODE, False)
        at = self.context().find(struct.pack("<IIQI", 14 << 3, 0, 0x7000, 0x1fff))
        common = found[0] & found[1]
        if len(common) != 1 or at < 0:
            sys.exit("error: This version of Unicorn keeps its state in a form that is not known here.")
        self.error_at, self.segments_at = common.pop(), at

    def enter(self, environment, mxcsr):
        """Brings Unicorn into the environment, by code where only code can, and remembers that."""
        uc, selectors = self.uc, environment.selectors
        uc.context_restore(self.fresh)
        # Written from outside, MXCSR would not count.
        uc.mem_write(DATA, struct.pack("<I", mxcsr))
        self.need(b"\x67\x0f\xae\x15" + struct.pack("<I", DATA) if environment.mode == "real16" else
                  b"\x0f\xae\x15" + struct.pack("<I", DATA))
        if environment.mode == "real16":
            for name in SEGMENTS:
                uc.reg_write(api(name), selectors[name])
        else:
            uc.mem_write(GDT, environment.tables)
            uc.reg_write(x86.UC_X86_REG_ESP, DATA + 0x100)
            frame = struct.pack("<5I", CODE + 0x40, selectors["cs"], 2, DATA + 0x100, selectors["ss"])
            uc.mem_write(DATA + 0x100, frame)
            if environment.cpl == 0:
                uc.reg_write(x86.UC_X86_REG_EAX, selectors["ss"])
                self.need(bytes.fromhex("8ed0"))
                uc.reg_write(x86.UC_X86_REG_ESP, DATA + 0x100 - environment.base["ss"])
            # The data segments first: their rights are those of ring 3.
            for name, code in (("ds", "8ed8"), ("es", "8ec0"), ("fs", "8ee0"), ("gs", "8ee8")):
                uc.reg_write(x86.UC_X86_REG_EAX, selectors[name])
                self.need(bytes.fromhex(code))
            self.need(b"\xcf")
            for name in SEGMENTS:
                if uc.reg_read(api(name)) != selectors[name]:
                    sys.exit("error: Unicorn does not take the segments of an environment.")
        self.contexts[environment, mxcsr] = uc.context_save()

    def need(self, code):
        if self.step(code, CODE, False)[0] is not None:
            sys.exit("error: Unicorn does not take the segments of an environment.")

    def step(self, code, start, repeats):
        uc = self.uc
        uc.mem_write(CODE, code)
        uc.ctl_remove_cache(CODE, CODE + 24)
        self.vector, failure = None, None
        self.written.clear()
        try:
            # Each element of a repeated instruction counts as one: that ends at what follows it.
            if repeats:
                uc.emu_start(start, CODE + repeats)
            else:
                uc.emu_start(start, 0xfffffff1, count=1)
        except unicorn.UcError as error:
            failure = error.errno
        return self.vector, failure

    def run(self, case):
        uc, environment = self.uc, case.environment
        uc.context_restore(self.contexts[environment, case.mxcsr])
        uc.mem_write(GDT, environment.tables)
        uc.mem_write(DATA, bytes(case.memory))
        values = [(register, case.registers[name]) for register, name in zip(UC_GENERAL, GENERAL)]
        for register, value in values:
            uc.reg_write(register, value)
        uc.reg_write(x86.UC_X86_REG_EFLAGS, case.flags)
        uc.reg_write(x86.UC_X86_REG_FPCW, case.fcw)
        uc.reg_write(x86.UC_X86_REG_FPSW, case.fsw)
        uc.reg_write(x86.UC_X86_REG_FPTAG, sum((0 if case.ftw >> i & 1 else 3) << 2 * i for i in range(8)))
        if case.st:
            for register, (exponent, significand) in zip(UC_FP, case.st):
                uc.reg_write(register, (significand, exponent))
        if case.vectors:
            for register, value in zip(UC_XMM, case.vectors):
                uc.reg_write(register, value)
        vector, failure = self.step(case.code, CODE if environment.mode == "real16" else case.eip, case.repeats and case.length)
        values = uc.reg_read_batch(UC_READ)
        state = dict(zip(GENERAL + ["eip", "eflags"] + SEGMENTS, values))
        if case.st or case.group == "SSE moves":
            values = uc.reg_read_batch(UC_FLOATS)
            state["fcw"], state["fsw"], tags = values[:3]
            state["ftw"] = sum(1 << i for i in range(8) if tags >> 2 * i & 3 != 3)
            state["fp"] = values[3:]
        if case.vectors:
            for i, value in enumerate(uc.reg_read_batch(UC_XMM)):
                state["xmm%d" % i] = value
            state["mxcsr"] = uc.reg_read(x86.UC_X86_REG_MXCSR)
        state["vector"], state["failure"], state["error"] = vector, failure, None
        state["tr"] = uc.reg_read(x86.UC_X86_REG_TR)[0]
        if self.segments_at:
            image = self.context()
            state["hidden"] = [struct.unpack_from("<IIQII", image, self.segments_at + 24 * i) for i in range(8)]
            state["error"] = struct.unpack_from("<I", image, self.error_at)[0]
        memory = {}
        for address, image in ((DATA, case.memory), (GDT, environment.tables)):
            now = uc.mem_read(address, len(image))
            if now != image:
                memory.update((address + i, byte) for i, byte in enumerate(now) if byte != image[i])
        for address, size in self.written:
            if DATA <= address < DATA + SIZE - size or GDT <= address < GDT + TABLES - size:
                continue
            for at in (address + i & M32 for i in range(size)):
                if not (DATA <= at < DATA + SIZE or GDT <= at < GDT + TABLES or CODE <= at < CODE + 24):
                    byte = uc.mem_read(at, 1)[0]
                    if byte:
                        memory[at] = byte
                    uc.mem_write(at, b"\0")
        state["memory"] = memory
        return state

    def run_all(self, cases):
        """What comes of each instance, in a process of their own: Unicorn ends its process where it is at a loss."""
        states = []
        while len(states) < len(cases):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    with os.fdopen(writer, "wb") as stream:
                        for case in cases[len(states):]:
                            pickle.dump(self.run(case), stream)
                            stream.flush()
                    status = 0
                finally:
                    os._exit(status)
            os.close(writer)
            with os.fdopen(reader, "rb") as stream:
                while True:
                    try:
                        states.append(pickle.load(stream))
                    except EOFError:
                        break
            status = os.waitpid(child, 0)[1]
            if os.WIFSIGNALED(status):
                states.append(None)
            elif status:
                sys.exit("error: The script failed beside Unicorn.")
        return states

# --- Comparison ---

UNDEFINED = {
    # Vol. 2, "Flags Affected" of each: what the SDM calls undefined. Shifts and rotates are in `undefined`.
    "and": AF, "or": AF, "xor": AF, "test": AF,
    "mul": SF | ZF | AF | PF, "imul": SF | ZF | AF | PF, "div": STATUS, "idiv": STATUS,
    "bt": OF | SF | AF | PF, "bts": OF | SF | AF | PF, "btr": OF | SF | AF | PF, "btc": OF | SF | AF | PF,
    "bsf": STATUS & ~ZF, "bsr": STATUS & ~ZF,
    "daa": OF, "das": OF, "aaa": OF | SF | ZF | PF, "aas": OF | SF | ZF | PF, "aam": OF | AF | CF, "aad": OF | AF | CF,
}


def undefined(name, case):
    """The status flags that the manual leaves open for this instance."""
    if name not in ("shl", "sal", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd"):
        return UNDEFINED.get(name, 0)
    opcode = case.form.opcode[-1]
    if opcode in (0xd0, 0xd1):
        count = 1
    elif opcode in (0xd2, 0xd3, 0xa5, 0xad):
        count = case.registers["ecx"] & 31
    else:
        count = case.code[case.length - 1] & 31
    if count == 0:
        return 0
    size = 8 if name not in ("shld", "shrd") and opcode & 1 == 0 else case.operand
    mask = OF if count != 1 else 0
    if name in ("shl", "sal", "shr", "sar", "shld", "shrd"):
        mask |= AF
        if count >= size and name != "sar":
            mask |= CF
    if name in ("shld", "shrd") and count > size:
        mask |= STATUS
    return mask


FLAG_NAMES = ((CF, "CF"), (PF, "PF"), (AF, "AF"), (ZF, "ZF"), (SF, "SF"), (TF, "TF"), (IF, "IF"), (DF, "DF"), (OF, "OF"),
              (3 << 12, "IOPL"), (NT, "NT"), (RF, "RF"), (VM, "VM"), (AC, "AC"), (1 << 19, "VIF"), (1 << 20, "VIP"), (ID, "ID"))
VECTORS = ("#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP", "#PF", "15", "#MF", "#AC",
           "#MC", "#XM")


def compare(case, answer, state):
    """The names of what differs."""
    if state is None:
        return ["abort"]
    wrong = []
    exception = answer["exception"]
    ours = (exception["vector"], exception["errorCode"] or 0) if exception else None
    theirs = state["vector"]
    if state["failure"] is not None and theirs is None:
        return ["failure"]
    if ours or theirs is not None:
        if (ours and ours[0]) != theirs:
            return ["exception:%s:%s" % (ours and VECTORS[ours[0]], theirs if theirs is None else VECTORS[theirs])]
        if state["error"] is not None and exception["errorCode"] is not None and ours[1] != state["error"]:
            wrong.append("error code")
        return wrong
    registers = answer["registers"]
    for name in GENERAL + ["eip"]:
        if hexadecimal(registers["r" + name[1:]]) != state[name]:
            wrong.append(name)
    flags = (hexadecimal(answer["flags"]) ^ state["eflags"]) & ~undefined(case.name, case)
    wrong += ["flag " + name for bit, name in FLAG_NAMES if flags & bit]
    segments = answer["segments"]
    for i, name in enumerate(SEGMENTS + ["ldtr", "tr"]):
        segment = segments[name]
        values = tuple(hexadecimal(segment[part]) for part in ("selector", "base", "limit", "attributes"))
        if "hidden" not in state:
            if i < 6 and values[0] != state[name]:
                wrong.append(name)
            continue
        selector, _, base, limit, bits = state["hidden"][i]
        if values[3] & 0x10000:
            if selector != values[0]:
                wrong.append(name)
        elif (selector, base, limit, bits >> 8 & 0xf0ff) != values:
            wrong.append(name)
            case.hidden[name] = values, (selector, base, limit, bits >> 8 & 0xf0ff)
    if "fp" in state:
        for name in ("fcw", "ftw"):
            if hexadecimal(registers[name]) != state[name]:
                wrong.append(name)
        status = hexadecimal(registers["fsw"]) ^ state["fsw"]
        wrong += ["fsw " + name for bit, name in ((1, "IE"), (2, "DE"), (4, "ZE"), (8, "OE"), (16, "UE"), (32, "PE"), (64, "SF"),
                                                  (0x8080, "ES"), (0x100, "C0"), (0x200, "C1"), (0x400, "C2"), (0x4000, "C3"),
                                                  (0x3800, "TOP")) if status & bit]
        top = hexadecimal(registers["fsw"]) >> 11 & 7
        for i in range(8):
            value = hexadecimal(registers["st%d" % i])
            significand, exponent = state["fp"][top + i & 7]
            if value != exponent << 64 | significand:
                wrong.append("st%d" % i)
    if case.vectors:
        wrong += ["xmm%d" % i for i in range(8) if hexadecimal(registers["xmm%d" % i]) != state["xmm%d" % i]]
        status = hexadecimal(registers["mxcsr"]) ^ state["mxcsr"]
        wrong += ["mxcsr " + name for bit, name in ((1, "IE"), (2, "DE"), (4, "ZE"), (8, "OE"), (16, "UE"), (32, "PE")) if status & bit]
        if status & ~63:
            wrong.append("mxcsr")
    mine = {}
    for run in answer["memory"]:
        at = hexadecimal(run["address"])
        data = bytes.fromhex(run["bytes"])
        before = case.before(at, len(data))
        if data != before:
            mine.update((at + i & M32, byte) for i, byte in enumerate(data) if byte != before[i])
    if mine != state["memory"]:
        wrong.append("memory")
        case.writes = (mine, state["memory"])
    return wrong


# --- The run ---


class Question:
    """Lines to a command, which works on them beside us."""

    def __init__(self, command, lines):
        self.command, self.count = command, len(lines)
        self.questions, self.answers = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.questions.write("".join(lines).encode())
        self.questions.seek(0)
        self.process = subprocess.Popen(command, stdin=self.questions, stdout=self.answers)

    def answer(self):
        self.process.wait()
        self.answers.seek(0)
        answers = [json.loads(answer) for answer in self.answers]
        if len(answers) != self.count:
            sys.exit("error: '%s' answered %d of %d lines." % (" ".join(self.command), len(answers), self.count))
        return answers


def show(case, answer, state, wrong):
    print("   ", case.environment.mode, case.text, case.code[:case.length].hex(), wrong)
    print("      segments", {n: hex(s) for n, s in case.environment.selectors.items()}, "operand", case.segment,
          case.offset is not None and hex(case.offset))
    print("      before", {n: hex(v) for n, v in case.registers.items()}, "flags", hex(case.flags), "eip", hex(case.eip),
          *(["fcw", hex(case.fcw), "fsw", hex(case.fsw), "ftw", hex(case.ftw)] if case.st else []))
    print("      roost ", answer["exception"], {n: answer["registers"]["r" + n[1:]] for n in GENERAL + ["eip"]
                                              if n in wrong}, answer["flags"])
    if state is None:
        return
    print("      unicorn", state["vector"], state["error"], state["failure"], {n: hex(state[n]) for n in GENERAL + ["eip"] if n in wrong},
          hex(state["eflags"]))
    for name in wrong:
        if name[:2] == "st" and case.st:
            top = hexadecimal(answer["registers"]["fsw"]) >> 11 & 7
            i = int(name[2:])
            significand, exponent = state["fp"][top + i & 7]
            print("      ", name, answer["registers"][name], "unicorn 0x%04x%016x" % (exponent, significand))
        if name[:3] == "xmm":
            print("      ", name, answer["registers"][name], "unicorn 0x%032x" % state[name])
    if "fcw" in wrong:
        print("       fcw", answer["registers"]["fcw"], hex(state["fcw"]))
    if case.st and case.group == "x87":
        top = case.fsw >> 11 & 7
        print("       st", ["%04x%016x" % case.st[top + i & 7] for i in range(8)], answer["registers"]["fsw"], hex(state.get("fsw", 0)))
    if case.vectors and case.group != "MMX":
        print("       xmm", ["%032x" % v for v in case.vectors], "mxcsr", hex(case.mxcsr), answer["registers"]["mxcsr"])
    for name, (ours, theirs) in case.hidden.items():
        print("       ", name, *[[hex(v) for v in values] for values in (ours, theirs)])
    if hasattr(case, "writes"):
        mine, other = case.writes
        print("       memory", [(hex(at), *["%02x" % writes.get(at, case.byte(at)) for writes in (mine, other)])
                                for at in sorted(set(mine) | set(other)) if mine.get(at) != other.get(at)][:12])
    if case.offset is not None:
        at = case.environment.base[case.segment] + case.offset - DATA
        if 0 <= at < SIZE:
            print("       operand", case.memory[at:at + 16].hex())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("roost")
    parser.add_argument("--count", type=int, default=1000000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=("real16", "prot32"))
    parser.add_argument("--group", choices=list(GROUPS))
    parser.add_argument("--show", type=int, default=2, help="how many unexplained differences of a kind are shown")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    modes = [options.mode] if options.mode else ["real16", "prot32"]
    groups = [options.group] if options.group else list(GROUPS)
    theirs = {mode: Unicorn(mode) for mode in modes}
    scenes = {mode: environments(mode, rng) for mode in modes}
    for mode in modes:
        for environment in scenes[mode]:
            for mxcsr in set(CONTROLS):
                theirs[mode].enter(environment, mxcsr)
    counts = collections.Counter()
    faults, reasons, left = collections.Counter(), collections.Counter(), collections.Counter()
    unexplained = collections.defaultdict(list)
    differing = collections.Counter()
    started = time.time()
    plan = [(group, mode) for group in groups for mode in modes]
    batch, done = 2400, 0
    while done < options.count:
        mode = modes[(done // batch) % len(modes)]
        image = b"".join(rng.choice((
            lambda: narrow(rng, 32).to_bytes(4, "little") * 2, lambda: narrow(rng, 64).to_bytes(8, "little"),
            lambda: number(rng).to_bytes(4, "little") + number(rng).to_bytes(4, "little"),
            lambda: rng.getrandbits(64).to_bytes(8, "little")))() for _ in range(SIZE // 8))
        cases = [Case(rng, groups[i % len(groups)], rng.choice(scenes[mode]), image)
                 for i in range(min(batch, options.count - done))]
        decode = Question([options.roost, "cpu", "decode", "--cpu", "x86-64-v2", "--mode", mode],
                          [case.code.hex() + "\n" for case in cases])
        for case, named in zip(cases, decode.answer()):
            case.name = named.get("mnemonic", "illegal")
            case.length, case.text = named.get("length", len(case.code)), named.get("text", "illegal")
            # Unicorn translates on until a block ends: HLT ends it.
            case.code = case.code[:case.length] + b"\xf4" * 4
        steps = Question([options.roost, "cpu", "step"], [case.line() for case in cases])
        states = theirs[mode].run_all(cases)
        for case, answer, state in zip(cases, steps.answer(), states):
            if "error" in answer:
                sys.exit("error: roost refused a line: " + answer["error"])
            counts[case.group, mode] += 1
            faults[case.group, mode] += bool(answer["exception"])
            wrong = compare(case, answer, state)
            if not wrong:
                continue
            differing[case.group, mode] += 1
            why = judge(case, answer, state, wrong)
            if why:
                reasons.update(why)
                continue
            left[case.group, mode] += 1
            kind = (mode, case.group, case.name, tuple(wrong))
            unexplained[kind].append((case, answer, state) if len(unexplained[kind]) < options.show else None)
        done += len(cases)
        if sys.stderr.isatty():
            print("\r%d of %d, %d s" % (done, options.count, time.time() - started), end="", file=sys.stderr)
    for kind, list_ in sorted(unexplained.items(), key=lambda item: (item[0][:2], -len(item[1]))):
        print("%6d" % len(list_), *kind)
        for found in list_:
            if found:
                show(*found, kind[3])
    print("%-22s %-7s %10s %10s %10s %12s" % ("group", "mode", "instances", "exceptions", "different", "unexplained"))
    for group, mode in plan:
        key = group, mode
        print("%-22s %-7s %10d %10d %10d %12d" % (group, mode, counts[key], faults[key], differing[key], left[key]))
    print("%-30s %10d %10d %10d %12d" % ("all, seed %d" % options.seed, sum(counts.values()), sum(faults.values()),
                                         sum(differing.values()), sum(left.values())))
    for reason, count in reasons.most_common():
        print("%10d %s" % (count, reason))
    sys.exit(1 if sum(left.values()) else 0)


main()
