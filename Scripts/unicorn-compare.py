#!/usr/bin/env python3
"""Compares 'roost cpu step' with Unicorn on random instructions in 16-bit real and 32-bit protected mode.

usage: unicorn-compare.py ROOST [--count N] [--seed N] [--mode real16|prot32] [--group NAME] [--show N]

Needs the package unicorn from PyPI. Both start from the same registers, segments, flags and memory, and carry out one
instruction. Compared are the vector and error code of an exception, or else all general and segment registers with
what they cache, RFLAGS, memory, and the x87, MMX and SSE registers. Every difference must be one that a rule of
EXPLAINED, below, names; Documentation/UnicornComparison.md says who is wrong in each.
"""
import argparse
import collections
import ctypes
import fractions
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

# --- What both share: an address map, descriptors, a TSS ---

CODE, GDT, LDT, TSS, DATA, SIZE = 0xc000, 0x2000, 0x2100, 0x2140, 0x8000, 0x200
TABLES = 0x280  # GDT, LDT and task-state segments, from GDT on
CF, PF, AF, ZF, SF, TF, IF, DF, OF = 1, 4, 0x10, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
NT, RF, VM, AC, ID = 1 << 14, 1 << 16, 1 << 17, 1 << 18, 1 << 21
STATUS = CF | PF | AF | ZF | SF | OF
GENERAL = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"]
M32, M64 = 0xffffffff, (1 << 64) - 1


def descriptor(base, limit, attributes):
    """A descriptor; attributes as in a VMCS: type, S, DPL, P in bits 0-7, AVL, L, D/B, G in bits 12-15."""
    return struct.pack("<HHBBBB", limit & 0xffff, base & 0xffff, base >> 16 & 0xff, attributes & 0xff,
                       (limit >> 16 & 15) | (attributes >> 8 & 0xf0), base >> 24)


def gate(selector, offset, kind, parameters=0):
    return struct.pack("<HHBBH", offset & 0xffff, selector, parameters, kind, offset >> 16)


# The index in this list is that of the selector. Bases keep the data window within reach.
DESCRIPTORS = [
    bytes(8),
    descriptor(0, 0xfffff, 0xc09a),       # 1: code, ring 0
    descriptor(0, 0xfffff, 0xc092),       # 2: data, ring 0
    descriptor(0, 0xfffff, 0xc0fa),       # 3: code, ring 3
    descriptor(0, 0xfffff, 0xc0f2),       # 4: data, ring 3
    descriptor(0, 0xfffff, 0xc09e),       # 5: conforming code, ring 0
    descriptor(0, 0xfffff, 0xc0fe),       # 6: conforming code, ring 3
    descriptor(0, 0xfffff, 0xc0f0),       # 7: data, read-only
    descriptor(0, 0x00000, 0xc0f6),       # 8: data, expand-down from 0x1000
    descriptor(0x600, 0x0ffff, 0x009a),   # 9: 16-bit code
    descriptor(0x700, 0x0ffff, 0x00f2),   # 10: 16-bit data, ring 3
    descriptor(0, 0xfffff, 0xc072),       # 11: data, not present
    descriptor(0, 0xfffff, 0xc01a),       # 12: code, not present
    descriptor(0, 0xfffff, 0xc0f8),       # 13: code, execute-only
    descriptor(0x7000, 0x01fff, 0x40f2),  # 14: data behind a base
    descriptor(0x400, 0x0000f, 0xc0f2),   # 15: data of 64 KiB in pages
    descriptor(LDT, 0x0001f, 0x0082),     # 16: LDT
    descriptor(TSS, 0x00067, 0x008b),     # 17: the task that runs
    descriptor(TSS + 0x80, 0x67, 0x00e9), # 18: another task
    gate(0x08, 0x5000, 0xec, 2),          # 19: call gate to ring 0
    gate(0x08, 0x5000, 0xe4, 1),          # 20: 16-bit call gate
    gate(0x08, 0x5000, 0x6c),             # 21: call gate, not present
    gate(0x1b, 0x5000, 0xec),             # 22: call gate to ring 3
    gate(18 << 3, 0, 0xe5),               # 23: task gate
    descriptor(TSS + 0x100, 0x2b, 0x00e1), # 24: a 16-bit task
    gate(0x08, 0x5000, 0xee),             # 25: interrupt gate
    descriptor(0x600, 0x0ffff, 0x409a),   # 26: code behind a base, ring 0
    descriptor(0x600, 0x0ffff, 0x40fa),   # 27: code behind a base, ring 3
    descriptor(0, 0xfffff, 0xc080),       # 28: a reserved system type
    descriptor(0x700, 0x0ffff, 0x0092),   # 29: 16-bit data, ring 0
    descriptor(0x7000, 0x01fff, 0x4092),  # 30: data behind a base, ring 0
    descriptor(0x600, 0x00000, 0x00f6),   # 31: data, expand-down to 64 KiB
]
LOCALS = [bytes(8), descriptor(0x7800, 0xffff, 0x40f2), descriptor(0, 0xfffff, 0xc0fa), descriptor(0, 0xfffff, 0xc092)]
# Nothing of the protected environments may be null: they are what memory operands go through.
CODES = {0: (1, 26), 3: (3, 27)}
STACKS = {0: (2, 2, 29, 30), 3: (4, 4, 10, 14)}
DATAS = (4, 4, 10, 14, 15, 8, 7)


def task(cs, ss, entry):
    words = [0] * 26
    words[1], words[2] = DATA + 0x1f0, 0x10
    words[8], words[9] = entry, 2
    words[10:18] = [0x11111111, 2, 3, 4, DATA + 0x100, DATA + 0x80, 7, 8]
    words[18:24] = [0x23, cs, ss, 0x23, 0, 0x23]
    return struct.pack("<26I", *words)


def tables():
    image = bytearray(TABLES)
    gdt = b"".join(DESCRIPTORS)
    image[:len(gdt)] = gdt
    local = b"".join(LOCALS)
    image[LDT - GDT:LDT - GDT + len(local)] = local
    image[TSS - GDT:TSS - GDT + 0x68] = task(0x08, 0x10, 0x5000)
    image[TSS - GDT + 0x80:TSS - GDT + 0xe8] = task(0x08, 0x10, 0x5000)
    image[TSS - GDT + 0x100:TSS - GDT + 0x12c] = struct.pack(
        "<22H", 0, DATA + 0x180, 0x10, 0, 0, 0, 0, 0x5000, 2, 1, 2, 3, 4, DATA + 0x100, DATA + 0x80, 7, 8, 0x23, 0x08,
        0x10, 0x23, 0)
    return bytes(image)


TABLE_IMAGE = tables()


class Environment:
    """Segments that instructions start from."""

    def __init__(self, mode, selectors):
        self.mode = mode
        self.selectors = dict(zip(SEGMENTS, selectors))
        self.cpl = 0 if mode == "real16" else self.selectors["cs"] & 3
        self.base, self.limit, self.kind, self.big = {}, {}, {}, {}
        # Loading a descriptor has set its accessed bit.
        tables = bytearray(TABLES)
        if mode == "prot32":
            tables[:] = TABLE_IMAGE
            for selector in self.selectors.values():
                tables[(selector & ~7) + 5] |= 1
        self.tables = bytes(tables)
        for name, selector in self.selectors.items():
            if mode == "real16":
                self.base[name], self.limit[name], self.kind[name], self.big[name] = selector << 4, 0xffff, 0x13, False
                continue
            low, high = struct.unpack("<II", DESCRIPTORS[selector >> 3])
            limit = low & 0xffff | high & 0xf0000
            self.base[name] = low >> 16 | (high & 0xff) << 16 | high & 0xff000000
            self.limit[name] = limit << 12 | 0xfff if high >> 23 & 1 else limit
            self.kind[name] = high >> 8 & 0x1f
            self.big[name] = bool(high >> 22 & 1)

    def outside(self, name, offset, size):
        """Whether the manual lets an access of so many bytes fail by the segment's limit."""
        last = offset + size - 1
        if self.kind[name] & 0x1c == 0x14:
            return offset <= self.limit[name] or last > (M32 if self.big[name] else 0xffff)
        return last > self.limit[name]


def environments(mode, rng):
    if mode == "real16":
        return [Environment(mode, [0] * 6)] + [
            Environment(mode, [rng.choice((0, 0x70, 0x700, 0x7f1, 0x800)), rng.choice((0, 0x60, 0xc00))] +
                        [rng.choice((0, 0x70, 0x700, 0x7f1, 0x800)) for _ in range(4)]) for _ in range(7)]
    flat = [Environment(mode, [0x10, 8, 0x10, 0x10, 0x10, 0x10]), Environment(mode, [0x23, 0x1b, 0x23, 0x23, 0x23, 0x23])]
    shaped = []
    for _ in range(8):
        cpl = rng.choice((0, 3))
        selectors = [rng.choice(DATAS) << 3 | 3, rng.choice(CODES[cpl]) << 3 | cpl, rng.choice(STACKS[cpl]) << 3 | cpl]
        shaped.append(Environment(mode, selectors + [rng.choice(DATAS) << 3 | 3 for _ in range(3)]))
    return flat * 4 + shaped

# --- Instructions ---


class Form:
    """Encodings of one kind: opcode bytes behind a mandatory prefix, ModRM's reg field, what ModRM's mod may be."""

    def __init__(self, opcode, modrm=False, reg=None, mod="any", prefix=None, string=False, far=None):
        self.opcode, self.modrm, self.reg, self.mod = bytes.fromhex(opcode), modrm, reg, mod
        self.prefix, self.string, self.far = prefix, string, far


def plain(*opcodes, **more):
    return [Form(opcode, **more) for opcode in opcodes]


def span(low, high, lead="", **more):
    return [Form(lead + "%02x" % opcode, **more) for opcode in range(low, high + 1)]


def with_reg(opcodes, regs, **more):
    return [Form(opcode, True, reg, **more) for opcode in opcodes for reg in regs]


def under(prefixes, forms):
    return [Form(form.opcode.hex(), form.modrm, form.reg, form.mod, prefix) for prefix in prefixes for form in forms]


MAP1 = "0f%02x"
SSE_FLOAT = (0x51, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f, 0xc2)
GROUPS = {
    "add, subtract, logic": [form for base in range(0, 0x40, 8) for form in
                             span(base, base + 3, modrm=True) + span(base + 4, base + 5)] +
    with_reg(("80", "81", "82", "83"), range(8)) + with_reg(("f6", "f7"), (0, 1, 2, 3)) +
    plain("84", "85", modrm=True) + plain("a8", "a9") + span(0x40, 0x4f) + with_reg(("fe", "ff"), (0, 1)),
    "multiply, divide": with_reg(("f6", "f7"), (4, 5, 6, 7)) + plain("69", "6b", "0faf", modrm=True) * 2,
    "shifts": with_reg(("c0", "c1", "d0", "d1", "d2", "d3"), range(8)) +
    plain("0fa4", "0fa5", "0fac", "0fad", modrm=True) * 3,
    "bits": plain("0fa3", "0fab", "0fb3", "0fbb", "0fbc", "0fbd", modrm=True) +
    with_reg(("0fba",), (4, 5, 6, 7)) + span(0xc8, 0xcf, "0f") + under(("f3",), plain("0fb8", modrm=True)),
    "moves": plain("88", "89", "8a", "8b", "86", "87", "c6", "c7", "8d", "0fb6", "0fb7", "0fbe", "0fbf", modrm=True) * 2 +
    span(0xa0, 0xa3) + span(0xb0, 0xbf) + span(0x90, 0x99) + plain("d7", "d6", "9e", "9f", "f5", "f8", "f9", "fc", "fd") +
    span(0x40, 0x4f, "0f", modrm=True) + span(0x90, 0x9f, "0f", modrm=True) + with_reg(("c6", "c7"), (0,)) * 4,
    "stack": span(0x50, 0x5f) + plain("60", "61", "68", "6a", "9c", "9d", "c8", "c9") * 3 +
    with_reg(("8f",), (0,)) * 4 + with_reg(("ff",), (6,)) * 4,
    "decimal": plain("27", "2f", "37", "3f", "d4", "d5"),
    "strings": plain("a4", "a5", "a6", "a7", "aa", "ab", "ac", "ad", "ae", "af", string=True),
    "exchanges": plain("0fb0", "0fb1", "0fc0", "0fc1", modrm=True) * 2 + with_reg(("0fc7",), (1,)) * 4 +
    under(("f0",), with_reg(("80", "81", "83"), range(8)) + with_reg(("f6", "f7"), (2, 3)) + with_reg(("fe", "ff"), (0, 1)) +
          plain("86", "87", "00", "01", "08", "09", "10", "11", "20", "29", "31", "0fb0", "0fb1", "0fc0", "0fc1", "0fab",
                "0fb3", "0fbb", "88", "03", "39", modrm=True)),
    "near transfers": span(0x70, 0x7f) + span(0x80, 0x8f, "0f") + plain("e0", "e1", "e2", "e3", "e8", "e9", "eb", "c2", "c3") * 3 +
    with_reg(("ff",), (2, 4)) * 6 + plain("f4"),
    "segment loads": plain("8e", modrm=True, far="selector") * 6 + plain("8c", modrm=True) * 2 +
    plain("07", "17", "1f", "0fa1", "0fa9", far="stack") * 2 + plain("06", "0e", "16", "1e", "0fa0", "0fa8") +
    plain("c4", "c5", "0fb2", "0fb4", "0fb5", modrm=True, mod="memory", far="pointer") * 2 +
    plain("c4", "c5", "0fb2", "0fb4", "0fb5", modrm=True, mod="register"),
    "far transfers": plain("9a", "ea", far="immediate") * 3 + plain("ca", "cb", "cf", far="stack") * 3 +
    with_reg(("ff",), (3, 5), mod="memory", far="pointer") * 2 + with_reg(("ff",), (3, 5), mod="register"),
    "descriptors": with_reg(("0f00",), (0, 1, 2, 3, 4, 5), far="selector") + plain("0f02", "0f03", modrm=True, far="selector") * 4 +
    plain("63", "62", modrm=True) * 2 + with_reg(("0f01",), (0, 1, 4)) + plain("fa", "fb", "0f06"),
    "x87": [form for low in range(0xd8, 0xe0) for form in [Form("%02x" % low, True, reg, mod="memory") for reg in range(8)] +
            [Form("%02x" % low, True, reg, mod="register") for reg in range(8)] * 2] + plain("9b"),
    "MMX": plain(*[MAP1 % op for op in (
        *range(0x60, 0x6c), 0x6e, 0x6f, 0x74, 0x75, 0x76, 0x7e, 0x7f, *range(0xd1, 0xe0), *range(0xe0, 0xe6), *range(0xe7, 0xf0),
        *range(0xf1, 0xff), 0x70, 0xc4, 0xc5, 0xd7)], modrm=True) + with_reg(("0f71", "0f72", "0f73"), (2, 4, 6)) + plain("0f77") +
    plain(*["0f38%02x" % op for op in (*range(12), 0x1c, 0x1d, 0x1e)], modrm=True) + plain("0f3a0f", modrm=True),
    "SSE integers": under(("66",), plain(*[MAP1 % op for op in (
        *range(0x60, 0x70), 0x70, 0x74, 0x75, 0x76, 0x7e, 0x7f, *range(0xd1, 0xe6), *range(0xe7, 0xf0), *range(0xf1, 0xff), 0xc4, 0xc5,
        0xd6, 0xd7)], modrm=True) + with_reg(("0f71", "0f72"), (2, 4, 6)) + with_reg(("0f73",), (2, 3, 6, 7)) +
        plain(*["0f38%02x" % op for op in (*range(12), 0x10, 0x14, 0x15, 0x17, 0x1c, 0x1d, 0x1e, *range(0x20, 0x26), 0x28, 0x29, 0x2a,
                                           0x2b, *range(0x30, 0x42))], modrm=True) +
        plain(*["0f3a%02x" % op for op in (0x0c, 0x0d, 0x0e, 0x0f, 0x14, 0x15, 0x16, 0x17, 0x20, 0x21, 0x22, 0x42, 0x60, 0x61, 0x62,
                                           0x63)], modrm=True)) +
    under(("f3", "f2"), plain("0f70", "0f7e", "0f6f", "0f7f", "0fd6", "0ff0", modrm=True)),
    "SSE floats": plain(*[MAP1 % op for op in (*SSE_FLOAT, 0x52, 0x53, 0x5b, 0x2e, 0x2f)], modrm=True) +
    under(("66",), plain(*[MAP1 % op for op in (*SSE_FLOAT, 0x5b, 0x2e, 0x2f, 0x7c, 0x7d, 0xd0, 0xe6)], modrm=True) +
          plain("0f3a08", "0f3a09", "0f3a0a", "0f3a0b", "0f3a40", "0f3a41", modrm=True)) +
    under(("f3",), plain(*[MAP1 % op for op in (0x51, 0x52, 0x53, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0xc2, 0x2a, 0x2c, 0x2d,
                                                0xe6)], modrm=True)) +
    under(("f2",), plain(*[MAP1 % op for op in (0x51, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f, 0xc2, 0x2a, 0x2c, 0x2d, 0x7c, 0x7d, 0xd0,
                                                0xe6)], modrm=True)) +
    plain("0f2a", "0f2c", "0f2d", modrm=True) + under(("66",), plain("0f2a", "0f2c", "0f2d", modrm=True)),
    "SSE moves": plain(*[MAP1 % op for op in (0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x50, 0xc6)], modrm=True) +
    under(("66",), plain(*[MAP1 % op for op in (0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x28, 0x29, 0x2b, 0x50, 0xc6)], modrm=True)) +
    under(("f3",), plain("0f10", "0f11", "0f12", "0f16", modrm=True)) + under(("f2",), plain("0f10", "0f11", "0f12", modrm=True)) +
    plain("0fc3", modrm=True) + with_reg(("0fae",), (0, 1, 2, 3), mod="memory") + with_reg(("0fae",), (5, 6, 7)),
}

EDGES = (0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff)
FLOATS = {
    32: (0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345, 1, 0x807fffff, 0x00800000,
         0x7f7fffff, 0x4f000000, 0xcf000000, 0x3f000000, 0x3fc00000, 0x40490fdb),
    64: (0, 1 << 63, 0x3ff << 52, 0xbff << 52, 0x7ff << 52, 0xfff << 52, 0x7ff8 << 48, 0x7ff0000000000001, 0xfff8123400000000, 1,
         0x800fffffffffffff, 1 << 52, 0x7fefffffffffffff, 0x41e0000000000000, 0xc1e0000000000000, 0x3fe0000000000000,
         0x43e0000000000000, 0x400921fb54442d18),
    80: ((0, 0), (0x8000, 0), (0x3fff, 1 << 63), (0xbfff, 1 << 63), (0x7fff, 1 << 63), (0xffff, 1 << 63), (0x7fff, 3 << 62),
         (0x7fff, 1 << 63 | 1), (0xffff, 3 << 62), (0, 1), (0x8000, M64 >> 1), (1, 1 << 63), (0x7ffe, M64), (0x3ffe, 1 << 63),
         (0x4000, 0xc90fdaa22168c235), (0x403e, 1 << 63), (0xc03e, 1 << 63), (0x401e, 1 << 63), (0x400e, 1 << 63)),
}


def number(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.getrandbits(32)
    if kind == 1:
        return rng.getrandbits(rng.choice((8, 16)))
    if kind == 2:
        return rng.choice(EDGES)
    return rng.randrange(DATA, DATA + SIZE)


def narrow(rng, width):
    """A float of 32 or 64 bits."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(FLOATS[width])
    if kind == 1:
        return rng.getrandbits(width)
    exponent, fraction = (8, 23) if width == 32 else (11, 52)
    near = (1 << exponent - 1) - 1 + rng.randrange(-40, 70)
    return rng.getrandbits(1) << width - 1 | near << fraction | rng.getrandbits(fraction) & -(1 << rng.randrange(fraction))


def extended(rng):
    """An exponent with sign, and a significand, of those that the x87 FPU makes itself."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(FLOATS[80])
    if kind == 1:
        return rng.getrandbits(1) << 15 | rng.randrange(1, 0x7fff), 1 << 63 | rng.getrandbits(63)
    fraction = rng.getrandbits(63) & -(1 << rng.randrange(63))
    return rng.getrandbits(1) << 15 | 0x3fff + rng.randrange(-40, 70), 1 << 63 | fraction


def vector(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return rng.getrandbits(128)
    if kind < 3:
        return sum(narrow(rng, 32) << 32 * i for i in range(4))
    if kind < 5:
        return narrow(rng, 64) | narrow(rng, 64) << 64
    return sum(number(rng) << 32 * i for i in range(4))


# MXCSR: rounding to all sides, then too with denormals as zero or results flushed to zero.
CONTROLS = (0x1f80, 0x1f80, 0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x1fc0, 0x9f80, 0xdfc0)


class Case:
    """One instance: bytes, and the state that they start from."""

    def __init__(self, rng, group, environment, image):
        self.group, self.environment = group, environment
        form = self.form = rng.choice(GROUPS[group])
        wide = environment.mode == "prot32"
        self.operand, self.address = (32 if wide else 16), (32 if wide else 16)
        self.registers = {name: number(rng) for name in GENERAL}
        self.memory = bytearray(image)
        self.segment = self.offset = None
        prefixes = []
        vectors = group in ("MMX", "SSE integers", "SSE floats", "SSE moves")
        if rng.random() < (0.02 if vectors else 0.3) and form.prefix != "66":
            prefixes.append(0x66)
            self.operand = 48 - self.operand
        if rng.random() < 0.15:
            prefixes.append(0x67)
            self.address = 48 - self.address
        self.override = None
        if rng.random() < 0.15:
            number_ = rng.randrange(6)
            self.override = SEGMENTS[number_]
            prefixes.append((0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65)[number_])
        self.hidden, self.target = {}, None
        self.repeats = form.string and rng.random() < 0.6
        if self.repeats:
            prefixes.append(rng.choice((0xf2, 0xf3)))
        elif rng.random() < 0.01 and not form.prefix and not form.string:
            prefixes.append(rng.choice((0xf0, 0xf2, 0xf3)))
        rng.shuffle(prefixes)
        if form.prefix:
            prefixes.append(int(form.prefix, 16))
        self.locked = 0xf0 in prefixes
        self.lock(rng)
        tail = bytes(self.modrm(rng)) if form.modrm else b""
        if not form.modrm and form.opcode in (b"\xa0", b"\xa1", b"\xa2", b"\xa3"):
            self.segment = self.override or "ds"
            self.offset = self.reach(rng, self.segment) & (0xffff if self.address == 16 else M32)
            tail = self.offset.to_bytes(self.address // 8, "little")
        if form.far:
            tail += self.far(rng)
        if form.opcode == b"\xc8":
            # ENTER of a few bytes, and any nesting level.
            tail = struct.pack("<HB", rng.choice((0, 4, 16, rng.getrandbits(16))), rng.getrandbits(8))
        tail += bytes(rng.getrandbits(8) for _ in range(8))
        self.code = (bytes(prefixes) + form.opcode + tail)[:15]
        self.modrm_at = len(prefixes) + len(form.opcode)
        self.eip = CODE - environment.base["cs"] & M32
        flags = rng.getrandbits(12) & (STATUS | DF) if rng.random() < 0.9 else rng.getrandbits(12) & (STATUS | DF | IF)
        if wide and rng.random() < 0.3:
            flags |= rng.getrandbits(2) << 12
        self.flags = flags | 2
        self.floats(rng)
        self.vectors = [vector(rng) for _ in range(8)] if vectors else None
        self.mxcsr = rng.choice(CONTROLS) if vectors else CONTROLS[0]

    def reach(self, rng, segment):
        """An offset in the segment that reaches the data window; sometimes any offset."""
        if rng.random() < 0.04:
            return number(rng)
        linear = DATA + rng.randrange(SIZE - 32)
        if rng.random() < 0.5:
            linear &= ~15
        return linear - self.environment.base[segment] & M32

    def lock(self, rng):
        """Stack, string and count registers that reach what they should."""
        registers = self.registers
        registers["esp"] = self.reach(rng, "ss")
        if rng.random() < 0.8:
            registers["esp"] &= ~3
        if self.form.opcode in (b"\xc8", b"\xc9"):
            registers["ebp"] = self.reach(rng, "ss")
        if self.form.string or self.form.opcode == b"\xd7":
            registers["esi"] = self.reach(rng, self.override or "ds")
            registers["edi"] = self.reach(rng, "es")
            registers["ebx"] = self.reach(rng, self.override or "ds")
        if self.repeats or rng.random() < 0.3:
            # Also what is above CX does not count with 16-bit addresses.
            registers["ecx"] = rng.randrange(16) | (rng.getrandbits(16) << 16 if self.address == 16 and self.repeats else 0)
        self.stack = registers["esp"]

    def modrm(self, rng):
        form, registers = self.form, self.registers
        reg = rng.randrange(8) if form.reg is None else form.reg
        memory = form.mod == "memory" or form.mod == "any" and rng.random() < 0.6
        if not memory:
            return [0xc0 | reg << 3 | rng.randrange(8)]
        mod, rm = rng.randrange(3), rng.randrange(8)
        out = [mod << 6 | reg << 3 | rm]
        base = index = None
        scale = 0
        if self.address == 16:
            base, index = (("ebx", "esi"), ("ebx", "edi"), ("ebp", "esi"), ("ebp", "edi"), ("esi", None), ("edi", None),
                           ("ebp", None), ("ebx", None))[rm]
            width = (0, 1, 2)[mod]
            if mod == 0 and rm == 6:
                base, width = None, 2
        else:
            width = (0, 1, 4)[mod]
            base = GENERAL[rm]
            if rm == 4:
                sib = rng.getrandbits(8)
                out.append(sib)
                scale = sib >> 6
                base = GENERAL[sib & 7]
                index = GENERAL[sib >> 3 & 7] if sib >> 3 & 7 != 4 else None
                if sib & 7 == 5 and mod == 0:
                    base, width = None, 4
            elif rm == 5 and mod == 0:
                base, width = None, 4
        stack = base == "ebp" or base == "esp"
        self.segment = self.override or ("ss" if stack else "ds")
        mask = 0xffff if self.address == 16 else M32
        target = self.reach(rng, self.segment) & mask
        displacement = rng.getrandbits(8 * width) if width else 0
        signed = displacement - (1 << 8 * width) if width and displacement >> 8 * width - 1 else displacement
        if base is None:
            scaled = registers[index] << scale if index else 0
            displacement = (target - scaled & mask) & (1 << 8 * width) - 1
        elif base == "esp":
            if width == 4:
                displacement = target - registers["esp"] - (registers[index] << scale if index else 0) & mask
        elif base != index:
            rest = target - signed - (registers[index] << scale if index else 0) & mask
            registers[base] = registers[base] & ~mask & M32 | rest
        signed = displacement - (1 << 8 * width) if width and displacement >> 8 * width - 1 else displacement
        self.offset = (registers[base] if base else 0) + (registers[index] << scale if index else 0) + signed & mask
        return out + list(displacement.to_bytes(width, "little"))

    def accesses(self):
        """The segments, offsets and most bytes of what the instruction may access."""
        environment, registers, found = self.environment, self.registers, []
        name = getattr(self, "name", "")
        mask = 0xffff if self.address == 16 else M32
        if self.offset is not None and name not in ("lea", "nop"):
            size = {"fxsave": 512, "fxrstor": 512, "fnsave": 108, "frstor": 108}.get(name, 16)
            offset = self.offset
            if self.form.opcode in (b"\x0f\xa3", b"\x0f\xab", b"\x0f\xb3", b"\x0f\xbb"):
                # The bit's number is signed and counts from the operand.
                number_ = registers[GENERAL[self.code[self.modrm_at] >> 3 & 7]] & (1 << self.operand) - 1
                number_ -= number_ >> self.operand - 1 << self.operand
                offset = offset + (number_ >> self.operand.bit_length() - 1) * (self.operand // 8) & mask
            found.append((self.segment, offset, size))
        if self.form.opcode == b"\xd7":
            found.append((self.override or "ds", registers["ebx"] + (registers["eax"] & 0xff) & mask, 1))
        if name in ("maskmovq", "maskmovdqu"):
            found.append((self.override or "ds", registers["edi"] & mask, 16))
        if self.form.string:
            count = registers["ecx"] & mask if self.repeats else 1
            size = self.operand // 8 if self.form.opcode[0] & 1 else 1
            for segment, index in ((self.override or "ds", "esi"), ("es", "edi")):
                found += [(segment, registers[index] + (-size if self.flags & DF else size) * i & mask, size) for i in range(min(count, 16))]
        if self.group in ("stack", "near transfers", "far transfers", "segment loads"):
            mask = M32 if environment.big["ss"] else 0xffff
            size = self.operand // 8
            for top in (registers["esp"], registers["ebp"]):
                found += [("ss", top + size * i & mask, size) for i in range(-9, 9)]
            if name == "enter":
                allocated, level = struct.unpack_from("<HB", self.code, self.modrm_at)
                found += [("ss", registers["esp"] - size * i & mask, size) for i in range(level % 32 + 2)]
                found += [("ss", registers["ebp"] - size * i & mask, size) for i in range(level % 32 + 2)]
                found.append(("ss", registers["esp"] - size * (level % 32 + 1) - allocated & mask, size))
        return found

    def before(self, start, count):
        """What memory holds before the instruction."""
        found = bytearray(count)
        for at, image in ((DATA, self.memory), (GDT, self.environment.tables), (CODE, self.code)):
            low, high = max(start, at), min(start + count, at + len(image))
            if low < high:
                found[low - start:high - start] = image[low - at:high - at]
        return found

    def byte(self, address):
        return self.before(address, 1)[0]

    def put(self, linear, data):
        if DATA <= linear and linear + len(data) <= DATA + SIZE:
            self.memory[linear - DATA:linear - DATA + len(data)] = data

    def selector(self, rng):
        if self.environment.mode == "real16":
            return rng.choice((0, 0x100, 0x700, rng.getrandbits(16)))
        kind = rng.randrange(16)
        if kind == 0:
            return rng.getrandbits(16)
        if kind == 1:
            return rng.randrange(len(LOCALS) + 5) << 3 | 4 | rng.choice((0, self.environment.cpl, rng.randrange(4)))
        if kind == 2:
            return rng.randrange(4)
        return rng.randrange(len(DESCRIPTORS) + 1) << 3 | rng.choice((0, self.environment.cpl, rng.randrange(4)))

    def far(self, rng):
        """Puts selectors and pointers to where the instruction looks for them; returns those that follow ModRM."""
        environment, size = self.environment, self.operand // 8
        entry = rng.choice((0x5000, rng.getrandbits(16), number(rng))) & (1 << self.operand) - 1
        self.target = self.selector(rng)
        pointer = entry.to_bytes(size, "little") + self.target.to_bytes(2, "little")
        if self.form.far == "immediate":
            return pointer
        if self.form.far == "stack":
            # Of RETF and IRET what lies there: an address, flags or not, a stack of an outer level.
            words = [rng.choice((self.selector(rng), rng.getrandbits(16))) for _ in range(12)]
            opcode = self.form.opcode
            if opcode in (b"\xca", b"\xcb", b"\xcf"):
                words = [entry, self.selector(rng)]
                if opcode == b"\xcf":
                    words.append(rng.getrandbits(12) | 2 | (rng.choice((0, RF, AC, ID)) if size == 4 else 0))
                    words[-1] &= ~TF
                words += [0x8300, self.selector(rng)] + [rng.getrandbits(16) for _ in range(8)]
            mask = M32 if environment.mode == "prot32" and environment.big["ss"] else 0xffff
            at = environment.base["ss"] + (self.stack & mask)
            self.put(at, b"".join((word & (1 << self.operand) - 1).to_bytes(size, "little") for word in words))
            return b""
        if self.offset is not None:
            at = environment.base[self.segment] + self.offset
            self.put(at, pointer if self.form.far == "pointer" else pointer[-2:])
        else:
            for name in GENERAL:
                if name != "esp":
                    self.registers[name] = self.registers[name] & 0xffff0000 | self.selector(rng)
        return b""

    def floats(self, rng):
        self.fcw, self.fsw, self.ftw, self.st = 0x37f, 0, 0, None
        if self.group not in ("x87", "MMX"):
            return
        self.fcw = 0x7f | rng.choice((0, 0x200, 0x300, 0x300, 0x300)) | rng.choice((0, 0, rng.getrandbits(2))) << 10
        if rng.random() < 0.1:
            self.fcw &= ~rng.getrandbits(6)
        self.fsw = rng.getrandbits(3) << 11 | (rng.getrandbits(16) & 0x4700 if rng.random() < 0.5 else 0)
        self.ftw = 0xff if rng.random() < 0.7 else rng.getrandbits(8)
        # By their place in the register file.
        self.st = [extended(rng) for _ in range(8)]
        if self.group == "MMX":
            self.st = [(0xffff, vector(rng) & M64) for _ in range(8)]

    def line(self):
        registers = dict(self.registers, eip=self.eip, fcw=self.fcw, fsw=self.fsw, ftw=self.ftw, mxcsr=self.mxcsr)
        if self.st:
            top = self.fsw >> 11 & 7
            for i in range(8):
                exponent, significand = self.st[top + i & 7]
                registers["st%d" % i] = "0x%04x%016x" % (exponent, significand)
        if self.vectors:
            for i, value in enumerate(self.vectors):
                registers["xmm%d" % i] = hex(value)
        line = {"mode": self.environment.mode, "model": "x86-64-v2", "registers": registers, "flags": self.flags,
                "segments": dict(self.environment.selectors),
                "memory": [[CODE, self.code.hex()], [DATA, self.memory.hex()]]}
        if self.environment.mode == "prot32":
            line["segments"]["ldtr"], line["segments"]["tr"] = 16 << 3, 17 << 3
            line["memory"].append([GDT, self.environment.tables.hex()])
            line["gdtr"] = {"base": GDT, "limit": 8 * len(DESCRIPTORS) - 1}
        return json.dumps(line) + "\n"

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


def hexadecimal(text):
    return int(text, 16)


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
            return ["exception:%s:%s" % (ours and VECTORS[ours[0]], None if theirs is None else VECTORS[theirs] if theirs < 20 else theirs)]
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


# Differences that are understood. Each has a name, which is that of its section in Documentation/UnicornComparison.md,
# and says which of an instance's differences it explains.
EXPLAINED = []


def explained(function):
    EXPLAINED.append((function.__name__.replace("_", "-"), function))
    return function


def refused(wrong):
    """Which exception we raised where Unicorn raised none, or another."""
    return wrong[0].split(":")[1:] if wrong[0].startswith("exception:") else (None, None)


@explained
def lock_prefix(case, answer, state, wrong):
    if case.locked and refused(wrong)[0] == "#UD":
        return wrong


@explained
def abort_of_lock_bit_tests(case, answer, state, wrong):
    if case.locked and wrong == ["abort"] and case.form.opcode in (
            b"\x0f\xa3", b"\x0f\xab", b"\x0f\xb3", b"\x0f\xbb", b"\x0f\xba"):
        return wrong


@explained
def test_by_its_second_encoding(case, answer, state, wrong):
    if case.name == "test" and case.form.opcode in (b"\xf6", b"\xf7") and case.form.reg == 1 and wrong == ["exception:None:#UD"]:
        return wrong


@explained
def segment_limits(case, answer, state, wrong):
    """Ours is #GP or #SS: an operand, the stack, or the target of a transfer lies beyond its segment's limit."""
    vector, other = refused(wrong)
    if vector not in ("#GP", "#SS") or answer["exception"]["errorCode"]:
        return None
    environment = case.environment
    for segment, offset, size in case.accesses():
        if vector == ("#SS" if segment == "ss" else "#GP") and any(
                environment.outside(segment, offset, n) for n in range(1, size + 1)):
            return wrong
    if vector == "#GP" and other == "None" and case.group in ("near transfers", "far transfers"):
        limit = 0xffff if environment.mode == "real16" else state["hidden"][1][3]
        if state["eip"] > limit:
            return wrong


@explained
def segment_types(case, answer, state, wrong):
    """Ours is #GP: a write to a segment that is read-only or code, or a read of one that is execute-only."""
    if refused(wrong) != ["#GP", "None"] or answer["exception"]["errorCode"]:
        return None
    for segment, offset, size in case.accesses():
        kind = case.environment.kind[segment]
        if kind & 0x1a in (0x10, 0x18, 0x1a):
            return wrong


@explained
def negation_under_lock(case, answer, state, wrong):
    """Unicorn takes the flags of LOCK NEG from the operand and not from the result."""
    if case.name == "neg" and case.locked and not set(wrong) - {"flag " + name for name in ("SF", "PF", "ZF", "AF", "OF", "CF")}:
        return wrong


@explained
def accessed_bits_of_far_transfers(case, answer, state, wrong):
    """Unicorn does not set the accessed bit of a code segment, nor any in a task switch, and caches TR's type as not busy."""
    if case.group != "far transfers" and case.name != "ltr":
        return None
    covered = {name for name, (ours, theirs) in case.hidden.items() if ours[:3] == theirs[:3] and (
        ours[3] == theirs[3] | 1 and ours[3] & 0x10 or name == "tr" and ours[3] == theirs[3] | 2)}
    if hasattr(case, "writes"):
        mine, other = case.writes
        if all(at not in other and (at - GDT) % 8 == 5 and GDT <= at < LDT + 32 and case.byte(at) & 0x10 and mine[at] == case.byte(at) | 1
               for at in set(mine) | set(other) if mine.get(at) != other.get(at)):
            covered.add("memory")
    return covered


@explained
def task_of_16_bits(case, answer, state, wrong):
    """Unicorn reads the segment registers of a 16-bit TSS from wrong places."""
    if case.group == "far transfers" and wrong == ["exception:None:#TS"] and answer["segments"]["tr"]["selector"] in ("0xc0", "0xc1", "0xc2", "0xc3"):
        return wrong


@explained
def abort_of_call_gates(case, answer, state, wrong):
    if wrong == ["abort"] and case.name == "call" and case.target and not case.target & 4 and case.target >> 3 in (19, 20):
        return wrong


@explained
def resume_flag(case, answer, state, wrong):
    """RF of an IRET's image: we drop it at once where no breakpoint is set, the manual with the next instruction."""
    if case.name in ("iret", "iretd"):
        return ["flag RF"]


@explained
def return_of_unsigned_bytes(case, answer, state, wrong):
    """Unicorn extends the sign of what RET takes off the stack."""
    if case.form.opcode in (b"\xc2", b"\xca"):
        count = struct.unpack_from("<H", case.code, case.modrm_at)[0]
        ours, theirs = hexadecimal(answer["registers"]["rsp"]), state["esp"]
        if count & 0x8000 and ours - theirs & M32 == 0x10000:
            return ["esp"]


@explained
def reserved_encodings_of_mov(case, answer, state, wrong):
    if case.form.opcode in (b"\xc6", b"\xc7") and case.form.reg is None and wrong == ["exception:#UD:None"]:
        return wrong


@explained
def vex_without_avx(case, answer, state, wrong):
    if case.form.opcode in (b"\xc4", b"\xc5") and case.form.mod == "register" and refused(wrong)[0] == "#UD":
        return wrong


@explained
def undefined_bits_of_lar(case, answer, state, wrong):
    if case.name == "lar" and len(wrong) == 1 and wrong[0] in GENERAL:
        if (hexadecimal(answer["registers"]["r" + wrong[0][1:]]) ^ state[wrong[0]]) & ~0xf0000 == 0:
            return wrong


@explained
def undefined_bits_of_smsw(case, answer, state, wrong):
    if case.name == "smsw" and len(wrong) == 1 and wrong[0] in GENERAL:
        if (hexadecimal(answer["registers"]["r" + wrong[0][1:]]) ^ state[wrong[0]]) & 0xffff == 0:
            return wrong


@explained
def null_task_register(case, answer, state, wrong):
    if case.name == "ltr" and wrong == ["exception:#GP:None"] and state["tr"] & ~3 == 0:
        return wrong


@explained
def enter_with_mixed_sizes(case, answer, state, wrong):
    """Unicorn writes EBP by the size of the stack and not of the operand, and lets ESP wrap only after FrameTemp."""
    environment = case.environment
    if case.name != "enter" or (case.operand == 32) == environment.big["ss"]:
        return None
    covered = set()
    if (hexadecimal(answer["registers"]["rbp"]) ^ state["ebp"]) & 0xffff == 0:
        covered.add("ebp")
    if "memory" in wrong and case.operand == 32:
        mine, other = case.writes
        level = case.code[case.modrm_at + 2] & 31
        frame = environment.base["ss"] + (case.stack - 4 * (level + 1) & 0xffff)
        if {at for at in set(mine) | set(other) if mine.get(at, case.byte(at)) != other.get(at, case.byte(at))} <= {frame + 2, frame + 3}:
            covered.add("memory")
    return covered


@explained
def popcnt_of_16_bits(case, answer, state, wrong):
    """In 16-bit code Unicorn takes POPCNT's operand size the wrong way round."""
    if case.name == "popcnt" and case.environment.mode == "real16" and not set(wrong) - {*GENERAL, "flag ZF"}:
        return wrong


@explained
def returns_to_virtual_8086_mode(case, answer, state, wrong):
    """Unicorn returns to virtual-8086 mode from any privilege level, and to any offset."""
    if case.name == "iretd" and refused(wrong)[1] == "None" and state["eflags"] & VM:
        top = case.environment.base["ss"] + case.stack
        if case.environment.cpl == 3 or case.byte(top + 2 & M32) or case.byte(top + 3 & M32):
            return wrong


@explained
def code_that_writes_to_its_page(case, answer, state, wrong):
    """Unicorn throws away an instruction that writes to its own page, and ends before it is carried out again."""
    if any((case.environment.base[segment] + offset + size) >> 12 == CODE >> 12 or (case.environment.base[segment] + offset) >> 12 == CODE >> 12
           for segment, offset, size in case.accesses()) and state["failure"] is None and not wrong[0].startswith("exception"):
        return wrong


@explained
def error_code_of_limits(case, answer, state, wrong):
    """Unicorn's #GP names the selector where an offset is beyond the limit of the code that it names."""
    if wrong == ["error code"] and case.group == "far transfers" and not answer["exception"]["errorCode"] and case.target:
        return wrong if state["error"] == case.target & ~3 else None


@explained
def pointer_across_64_kib(case, answer, state, wrong):
    """Unicorn reads a far pointer's selector behind offset FFFFh, not at 0."""
    if case.form.far == "pointer" and case.address == 16 and case.offset is not None and case.offset + case.operand // 8 > 0xffff:
        return wrong


@explained
def table_across_64_kib(case, answer, state, wrong):
    """SGDT and SIDT at offset FFFEh or FFFFh: we let the base's address wrap at 64 KiB, Unicorn does not."""
    if case.name in ("sgdt", "sidt") and case.address == 16 and case.offset > 0xfffd and wrong == ["memory"]:
        return wrong


@explained
def aligned_operands(case, answer, state, wrong):
    """Unicorn lets 16-byte operands lie anywhere."""
    if refused(wrong) == ["#GP", "None"] and case.segment and not answer["exception"]["errorCode"]:
        if case.group in ("MMX", "SSE integers", "SSE floats", "SSE moves") and (
                case.environment.base[case.segment] + case.offset) & 15:
            return wrong


X87_FLAGS = {"fsw IE": 1, "fsw DE": 2, "fsw ZE": 4, "fsw OE": 8, "fsw UE": 16, "fsw PE": 32, "fsw SF": 64, "fsw ES": 0x8080}


def x87(case, answer):
    """The x87 status word that we leave, for an instruction of the x87 group."""
    return hexadecimal(answer["registers"]["fsw"]) if case.group == "x87" else None


@explained
def x87_flags(case, answer, state, wrong):
    """Unicorn sets none of the x87 FPU's exception flags but ZE, and never touches C1."""
    ours = x87(case, answer)
    if ours is None or "fsw" not in state:
        return None
    covered = {name for name, bits in X87_FLAGS.items() if ours & bits and not state["fsw"] & bits}
    if (state["fsw"] ^ case.fsw) & 0x200 == 0:
        covered.add("fsw C1")
    return covered


X87_RESULTS = {"ftw", "fsw TOP", "fsw C0", "fsw C1", "fsw C2", "fsw C3", "memory", "flag ZF", "flag PF", "flag CF", *("st%d" % i for i in range(8))}


@explained
def x87_stack_faults(case, answer, state, wrong):
    """Unicorn reads empty registers and writes full ones."""
    ours = x87(case, answer)
    if ours is not None and ours & 0x41 == 0x41 and not state["fsw"] & 0x41:
        return X87_RESULTS | set(X87_FLAGS)


@explained
def x87_unmasked_exceptions(case, answer, state, wrong):
    """Unicorn stores results in spite of unmasked exceptions."""
    ours = x87(case, answer)
    if ours is not None and ours & 0x80 and case.name not in ("fldenv", "frstor", "fldcw"):
        return X87_RESULTS | set(X87_FLAGS)


@explained
def x87_undefined_conditions(case, answer, state, wrong):
    if case.name in ("fincstp", "fdecstp", "fsqrt", "fscale", "frndint", "fxtract", "fpatan", "fyl2x", "fyl2xp1", "f2xm1"):
        return ["fsw C0", "fsw C2", "fsw C3"]


@explained
def x87_comparison_flags(case, answer, state, wrong):
    """Unicorn's FCOMI and its kin leave OF, SF and AF."""
    if case.name in ("fcomi", "fcomip", "fucomi", "fucomip") and not (
            hexadecimal(answer["flags"]) & (OF | SF | AF)) and not (state["eflags"] ^ case.flags) & (OF | SF | AF):
        return ["flag OF", "flag SF", "flag AF"]


@explained
def x87_control_word(case, answer, state, wrong):
    """Unicorn keeps reserved bits of the control word."""
    if case.name in ("fldcw", "fldenv", "frstor") and (hexadecimal(answer["registers"]["fcw"]) ^ state["fcw"]) & ~0xe0c0 == 0:
        return ["fcw", "fsw ES"]


@explained
def x87_masks_of_environment(case, answer, state, wrong):
    """Unicorn's FNSTENV does not mask the exceptions behind itself."""
    if case.name == "fnstenv" and hexadecimal(answer["registers"]["fcw"]) == state["fcw"] | 0x3f:
        return ["fcw"]


@explained
def x87_tag_of_store(case, answer, state, wrong):
    """Unicorn's FST and FSTP to an empty register leave it empty."""
    if case.name in ("fst", "fstp") and case.code[case.modrm_at] >> 6 == 3:
        return ["ftw"]


@explained
def x87_invalid_stores(case, answer, state, wrong):
    """Unicorn stores no indefinite integer where FISTTP and FBSTP cannot convert, and FBSTP loses the sign of zero."""
    if case.name in ("fisttp", "fbstp") and (x87(case, answer) & 1 or case.name == "fbstp"):
        return ["memory"]


def reserved_bytes(case):
    """Where an x87 environment in memory has reserved bits or pointers that Unicorn does not keep."""
    start = case.environment.base[case.segment] + case.offset
    return {start + i & M32 for i in ((2, 3, 6, 7, 10, 11, *range(12, 28)) if case.operand == 32 else range(6, 14))}


@explained
def x87_environment(case, answer, state, wrong):
    if case.name in ("fnstenv", "fnsave") and hasattr(case, "writes"):
        mine, other = case.writes
        if {at for at in set(mine) | set(other) if mine.get(at, case.byte(at)) != other.get(at, case.byte(at))} <= reserved_bytes(case):
            return ["memory"]


@explained
def x87_division_of_infinity(case, answer, state, wrong):
    """Unicorn sets ZE for an infinity or a NaN divided by zero."""
    if case.name.startswith(("fdiv", "fidiv")) and state["fsw"] & 4 and not x87(case, answer) & 4:
        return ["fsw ZE", "fsw ES"]


def fraction(value):
    """A finite extended number as a fraction."""
    exponent, significand = value >> 64 & 0x7fff, value & M64
    magnitude = fractions.Fraction(significand) * fractions.Fraction(2) ** (max(exponent, 1) - 16383 - 63)
    return -magnitude if value >> 79 else magnitude


X87_FUNCTIONS = {"fsin": 1, "fcos": 1, "fsincos": 1, "fptan": 1, "fpatan": 2, "fyl2x": 2, "fyl2xp1": 2, "f2xm1": 1, "fprem": 2,
                 "fprem1": 2, "fscale": 2}


@explained
def x87_functions_in_double(case, answer, state, wrong):
    """Unicorn computes functions in double precision, and knows no operands that a double is not."""
    if case.name not in X87_FUNCTIONS:
        return None
    for i in range(X87_FUNCTIONS[case.name]):
        exponent, significand = case.st[(case.fsw >> 11) + i & 7]
        if not 16383 - 1000 < exponent & 0x7fff < 16383 + 1000 or exponent >> 15 and case.name in ("fyl2x", "fyl2xp1"):
            return X87_RESULTS - {"memory"}
        # "If the source value is outside this range, the result is undefined."
        if case.name == "f2xm1" and exponent & 0x7fff >= 16383 or case.name == "fyl2xp1" and i == 0 and exponent & 0x7fff >= 16381:
            return ["st0"]
    covered = set()
    top = x87(case, answer) >> 11 & 7
    for i in range(2):
        ours = hexadecimal(answer["registers"]["st%d" % i])
        significand, exponent = state["fp"][top + i & 7]
        if ours >> 64 & 0x7fff == 0x7fff or exponent & 0x7fff == 0x7fff:
            continue
        a, b = fraction(ours), fraction(exponent << 64 | significand)
        # Arguments lose bits, sums of nearly opposite numbers too.
        argument = abs(fraction(case.st[(case.fsw >> 11) & 7][0] << 64 | case.st[(case.fsw >> 11) & 7][1]))
        other = abs(fraction(case.st[(case.fsw >> 11) + 1 & 7][0] << 64 | case.st[(case.fsw >> 11) + 1 & 7][1]))
        if abs(a - b) <= abs(a) / 2 ** 40 or case.name != "fpatan" and abs(a - b) <= max(argument, 1, other if case.name == "fyl2xp1" else 0) / 2 ** 50:
            covered.add("st%d" % i)
    return covered


@explained
def x87_constants(case, answer, state, wrong):
    """Unicorn's constants are rounded to nearest whatever the control word says."""
    if case.name in ("fldpi", "fldl2t", "fldl2e", "fldlg2", "fldln2") and case.fcw & 0xc00:
        ours = hexadecimal(answer["registers"]["st0"])
        significand, exponent = state["fp"][x87(case, answer) >> 11 & 7]
        if abs(ours - (exponent << 64 | significand)) == 1:
            return ["st0"]


@explained
def x87_extraction(case, answer, state, wrong):
    """Unicorn's FXTRACT takes infinities, NaNs and denormals for ordinary numbers."""
    if case.name == "fxtract" and case.st[case.fsw >> 11 & 7][0] & 0x7fff in (0, 0x7fff):
        return X87_RESULTS - {"memory"}


@explained
def x87_nan_that_narrows(case, answer, state, wrong):
    """Unicorn gives a NaN whose payload does not fit the sign of the default NaN."""
    if case.name in ("fst", "fstp") and case.st[case.fsw >> 11 & 7][0] & 0x7fff == 0x7fff:
        return ["memory"]


VECTOR_GROUPS = ("MMX", "SSE integers", "SSE floats", "SSE moves")


@explained
def two_mandatory_prefixes(case, answer, state, wrong):
    """With 66h beside F2h or F3h, Unicorn takes 66h for the mandatory prefix."""
    prefixes = case.code[:case.modrm_at - len(case.form.opcode)]
    if case.group in VECTOR_GROUPS and 0x66 in prefixes and (0xf2 in prefixes or 0xf3 in prefixes):
        return wrong


@explained
def comparison_predicates(case, answer, state, wrong):
    """Unicorn refuses comparison predicates above 7; bits 3 to 7 are reserved, and processors ignore them."""
    if case.form.opcode == b"\x0f\xc2" and refused(wrong)[1] == "#UD" and case.code[case.length - 1] > 7:
        return wrong


def lanes(value, width):
    return [value >> at & (1 << width) - 1 for at in range(0, 128, width)]


@explained
def minimum_of_denormals(case, answer, state, wrong):
    """Unicorn's MIN and MAX return denormals that MXCSR.DAZ makes zero."""
    if case.name[:3] not in ("min", "max") or not case.mxcsr & 0x40:
        return None
    width, denormal = (64, 0x7ff << 52) if case.name[4] == "d" else (32, 0xff << 23)
    covered = set()
    for name in wrong:
        if name[:3] == "xmm":
            pairs = zip(lanes(hexadecimal(answer["registers"][name]), width), lanes(state[name], width))
            if all(a == b or a << 1 & (1 << width) - 1 == 0 and not b & denormal for a, b in pairs):
                covered.add(name)
    return covered


@explained
def order_of_dot_products(case, answer, state, wrong):
    """Unicorn adds the products one behind the other, not the sums of pairs, which rounds otherwise."""
    if case.name not in ("dpps", "dppd"):
        return None
    covered = set()
    for name in wrong:
        if name[:3] == "xmm":
            pairs = zip(lanes(hexadecimal(answer["registers"][name]), 32), lanes(state[name], 32))
            values = [struct.unpack("<2f", struct.pack("<2I", a, b)) for a, b in pairs]
            if all(abs(x - y) <= abs(x) / 2 ** 20 or x != x and y != y for x, y in values):
                covered.add(name)
    return covered


@explained
def flush_to_zero(case, answer, state, wrong):
    """MXCSR.FTZ does not count in Unicorn's SSE."""
    if not case.vectors or not case.mxcsr & 0x8000 or not hexadecimal(answer["registers"]["mxcsr"]) & 16:
        return None
    covered = set()
    for name in wrong:
        if name[:3] != "xmm":
            continue
        for width, exponent in ((32, 0xff << 23), (64, 0x7ff << 52)):
            pairs = zip(lanes(hexadecimal(answer["registers"][name]), width), lanes(state[name], width))
            if all(a == b or a << 1 & (1 << width) - 1 == 0 and not b & exponent for a, b in pairs):
                covered.add(name)
    return covered


@explained
def choice_of_nan(case, answer, state, wrong):
    """Of two NaNs Unicorn takes the one with the larger significand, as the x87 FPU does, and not the first operand."""
    covered = set()
    for name in wrong:
        if name[:3] != "xmm" or case.group != "SSE floats":
            continue
        for width, fraction_bits in ((32, 23), (64, 52)):
            infinity = (1 << width - 1) - (1 << fraction_bits)
            pairs = zip(lanes(hexadecimal(answer["registers"][name]), width), lanes(state[name], width))
            if all(a == b or min(a & (1 << width - 1) - 1, b & (1 << width - 1) - 1) > infinity for a, b in pairs):
                covered.add(name)
    return covered


@explained
def approximations(case, answer, state, wrong):
    """|Relative Error| <= 1.5 * 2^-12, and denormals count as zeros, whose reciprocals are infinities."""
    if case.name not in ("rcpps", "rcpss", "rsqrtps", "rsqrtss"):
        return None
    covered = set()
    for name in wrong:
        if name[:3] == "xmm":
            pairs = zip(lanes(hexadecimal(answer["registers"][name]), 32), lanes(state[name], 32))
            values = [(struct.unpack("<f", struct.pack("<I", a))[0], struct.unpack("<f", struct.pack("<I", b))[0], a, b) for a, b in pairs]
            if all(a == b or abs(x - y) <= abs(x) * 3 / 2 ** 12 or abs(x) < 2 ** -125 and abs(y) < 2 ** -125
                   or a & 0x7fffffff == 0x7f800000 for x, y, a, b in values):
                covered.add(name)
    return covered


@explained
def reserved_bits_of_mxcsr(case, answer, state, wrong):
    """Unicorn does not refuse reserved bits of MXCSR."""
    if case.name in ("ldmxcsr", "fxrstor") and refused(wrong) == ["#GP", "None"]:
        at = case.environment.base[case.segment] + case.offset + (24 if case.name == "fxrstor" else 0)
        if any(case.byte(at + i & M32) for i in (2, 3)):
            return wrong


@explained
def reserved_fields_of_fxsave(case, answer, state, wrong):
    """Unicorn's FXSAVE leaves reserved bytes, and the last instruction's opcode and addresses, as they were in memory."""
    if case.name == "fxsave" and hasattr(case, "writes"):
        mine, other = case.writes
        start = case.environment.base[case.segment] + case.offset
        for at in set(mine) | set(other):
            offset = at - start & M32
            if mine.get(at, case.byte(at)) != other.get(at, case.byte(at)) and not (
                    offset == 5 or 6 <= offset < 24 or 28 <= offset < 32 or 32 <= offset < 160 and offset % 16 > 9):
                return None
        return ["memory"]


@explained
def control_word_of_fxrstor(case, answer, state, wrong):
    if case.name == "fxrstor" and (hexadecimal(answer["registers"]["fcw"]) ^ state["fcw"]) & ~0xe0c0 == 0:
        return ["fcw", "fsw ES"]


MEMORY_ONLY = {b"\x0f\x12", b"\x0f\x13", b"\x0f\x16", b"\x0f\x17", b"\x0f\x2b", b"\x0f\xc3", b"\x0f\xe7", b"\x0f\xf0",
               b"\x0f\x38\x2a"}


@explained
def registers_for_memory(case, answer, state, wrong):
    """Unicorn lets a vector instruction have a register for the operand that must be memory."""
    if case.form.opcode in MEMORY_ONLY and not case.segment and refused(wrong) == ["#UD", "None"]:
        return wrong


@explained
def prefixes_that_matter(case, answer, state, wrong):
    """Unicorn ignores a mandatory prefix with which FXSAVE and its kin, and MOVNTI, are other instructions or none."""
    prefixes = case.code[:case.modrm_at - 2]
    if case.form.opcode in (b"\x0f\xae", b"\x0f\xc3", b"\x0f\x2b") and refused(wrong)[0] == "#UD" and any(p in prefixes for p in (0x66, 0xf2, 0xf3)):
        return wrong


@explained
def abort_of_string_compares(case, answer, state, wrong):
    """Unicorn does not survive a length of -2^31."""
    if wrong == ["abort"] and case.name in ("pcmpestrm", "pcmpestri") and 0x80000000 in (case.registers["eax"], case.registers["edx"]):
        return wrong


@explained
def mmx_state_of_ssse3(case, answer, state, wrong):
    """Unicorn's SSSE3 instructions on MMX registers leave the x87 tags and TOP."""
    if case.form.opcode[:2] in (b"\x0f\x38", b"\x0f\x3a") and case.group == "MMX":
        return ["ftw", "fsw TOP"]


@explained
def horizontal_in_place(case, answer, state, wrong):
    """Unicorn overwrites the operand of PHADD and PHSUB that it still needs, where both are one register."""
    if case.name.startswith(("phadd", "phsub")):
        modrm = case.code[case.modrm_at]
        if modrm >> 6 == 3 and modrm & 7 == modrm >> 3 & 7:
            return ["st%d" % (modrm & 7), "xmm%d" % (modrm & 7)]


REGISTERS_ONLY = {b"\x0f\x71", b"\x0f\x72", b"\x0f\x73", b"\x0f\xc5", b"\x0f\xd7", b"\x0f\x50", b"\x0f\xf7", b"\x0f\xd6"}


@explained
def memory_for_registers(case, answer, state, wrong):
    """Unicorn lets a vector instruction have memory for the operand that must be a register."""
    if case.form.opcode in REGISTERS_ONLY and case.segment and refused(wrong) == ["#UD", "None"]:
        return wrong


@explained
def sse_flags(case, answer, state, wrong):
    """Unicorn sets none of MXCSR's exception flags."""
    if case.vectors and state["mxcsr"] == case.mxcsr:
        ours = hexadecimal(answer["registers"]["mxcsr"])
        return ["mxcsr " + name for bit, name in ((1, "IE"), (2, "DE"), (4, "ZE"), (8, "OE"), (16, "UE"), (32, "PE")) if ours & bit]


def judge(case, answer, state, wrong):
    """The rules that together explain all differences, or nothing."""
    left, used = set(wrong), []
    for name, rule in EXPLAINED:
        # Where Unicorn aborted there is no state that other rules could look at.
        if state is None and not name.startswith("abort"):
            continue
        covered = left & set(rule(case, answer, state, wrong) or ())
        if covered:
            used.append(name)
            left -= covered
        if not left:
            return used
    return None

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
