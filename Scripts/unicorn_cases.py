"""What unicorn-compare.py compares: environments, and random instances of instructions in them."""
import json
import struct

# --- What both share: an address map, descriptors, a TSS ---

CODE, GDT, LDT, TSS, DATA, SIZE = 0xc000, 0x2000, 0x2100, 0x2140, 0x8000, 0x200
TABLES = 0x280  # GDT, LDT and task-state segments, from GDT on
CF, PF, AF, ZF, SF, TF, IF, DF, OF = 1, 4, 0x10, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
NT, RF, VM, AC, ID = 1 << 14, 1 << 16, 1 << 17, 1 << 18, 1 << 21
STATUS = CF | PF | AF | ZF | SF | OF
GENERAL = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"]
M32, M64 = 0xffffffff, (1 << 64) - 1


def hexadecimal(text):
    return int(text, 16)


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
            if self.form.opcode == b"\xca":
                # What lies behind the parameters: the outer stack.
                behind = int.from_bytes(self.code[self.modrm_at:self.modrm_at + 2], "little")
                found += [("ss", registers["esp"] + behind + size * i & mask, size) for i in range(5)]
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
                words = [entry, self.target]
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
