"""Differences between Roost and Unicorn that are understood.

Each rule has a name, which is that of its line in Documentation/UnicornComparison.md, and returns which of an
instance's differences it explains, by their names in unicorn-compare.py's `compare`.
"""
import fractions
import struct

from unicorn_cases import AF, CODE, GDT, GENERAL, LDT, M32, M64, OF, SF, VM, hexadecimal

EXPLAINED = []


def explained(function):
    EXPLAINED.append((function.__name__.replace("_", "-"), function))
    return function


def refused(wrong):
    """Which exception we raised where Unicorn raised none, or another."""
    return wrong[0].split(":")[1:] if wrong[0].startswith("exception:") else (None, None)


def differing(case):
    """The addresses of bytes that differ afterwards."""
    mine, other = case.writes
    return {at for at in {*mine, *other} if mine.get(at, case.byte(at)) != other.get(at, case.byte(at))}


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
    if case.form.opcode in (b"\xf6", b"\xf7") and case.form.reg == 1 and wrong == ["exception:None:#UD"]:
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
    if case.name == "neg" and case.locked:
        return ["flag SF", "flag PF", "flag ZF"]


@explained
def accessed_bits_of_far_transfers(case, answer, state, wrong):
    """Unicorn sets no accessed bit for CS, nor any in a task switch, and caches TR's type as not busy."""
    if case.group != "far transfers" and case.name != "ltr":
        return None
    covered = {name for name, (ours, theirs) in case.hidden.items() if ours[:3] == theirs[:3] and (
        ours[3] == theirs[3] | 1 and ours[3] & 0x10 or name == "tr" and ours[3] == theirs[3] | 2)}
    if hasattr(case, "writes"):
        mine, other = case.writes
        # Only bytes 5 of descriptors of segments differ, in which we set bit 0.
        if all(at not in other and (at - GDT) % 8 == 5 and GDT <= at < LDT + 32 and case.byte(at) & 0x10
               and mine[at] == case.byte(at) | 1 for at in differing(case)):
            covered.add("memory")
    return covered


@explained
def task_of_16_bits(case, answer, state, wrong):
    """Unicorn reads the segment registers of a 16-bit TSS from wrong places."""
    if case.group == "far transfers" and wrong == ["exception:None:#TS"]:
        if hexadecimal(answer["segments"]["tr"]["selector"]) >> 3 == 24:
            return wrong


@explained
def abort_of_call_gates(case, answer, state, wrong):
    """Also behind LOCK, which Unicorn does not refuse."""
    if wrong == ["abort"] and (case.name == "call" or case.locked and case.group == "far transfers") and case.target and not case.target & 4 and case.target >> 3 in (19, 20):
        return wrong


@explained
def bounds_across_64_kib(case, answer, state, wrong):
    """BOUND where its second bound begins beyond offset FFFFh: we let its address wrap, Unicorn does not."""
    if case.name == "bound" and case.address == 16 and case.offset + case.operand // 8 > 0xffff:
        return wrong


@explained
def resume_flag(case, answer, state, wrong):
    """RF of an IRET's image: we drop it at once where no breakpoint is set, the manual with the next instruction."""
    if case.name in ("iret", "iretd"):
        return ["flag RF"]


@explained
def return_of_unsigned_bytes(case, answer, state, wrong):
    """Unicorn extends the sign of what RET takes off the stack, so that it finds an outer stack's words elsewhere too."""
    if case.form.opcode in (b"\xc2", b"\xca"):
        count = struct.unpack_from("<H", case.code, case.modrm_at)[0]
        if case.form.opcode == b"\xca" and count & 0x8000 and case.environment.mode == "prot32":
            if case.target & 3 > case.environment.cpl:
                return wrong
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
        level = case.code[case.modrm_at + 2] & 31
        frame = environment.base["ss"] + (case.stack - 4 * (level + 1) & 0xffff)
        if differing(case) <= {frame + 2, frame + 3}:
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
    if state["failure"] is not None or wrong[0].startswith("exception"):
        return None
    for segment, offset, size in case.accesses():
        start = case.environment.base[segment] + offset
        if CODE >> 12 in (start >> 12, start + size >> 12):
            return wrong


@explained
def error_code_of_limits(case, answer, state, wrong):
    """Unicorn's #GP names the selector where an offset is beyond the limit of the code that it names."""
    if wrong == ["error code"] and case.group == "far transfers" and not answer["exception"]["errorCode"] and case.target:
        return wrong if state["error"] == case.target & ~3 else None


@explained
def pointer_across_64_kib(case, answer, state, wrong):
    """Unicorn reads a far pointer's selector behind offset FFFFh, not at 0."""
    if case.form.far == "pointer" and case.address == 16 and case.offset is not None:
        if case.offset + case.operand // 8 > 0xffff:
            return wrong


@explained
def stack_across_64_kib(case, answer, state, wrong):
    """Unicorn's RETF and IRET in real mode read on beyond offset FFFFh of the stack, which wraps."""
    if case.environment.mode == "real16" and case.name in ("retf", "iret", "iretd"):
        if (case.stack & 0xffff) + 3 * case.operand // 8 > 0x10000:
            return wrong


@explained
def table_across_64_kib(case, answer, state, wrong):
    """SGDT and SIDT at offset FFFEh or FFFFh: we let the base's address wrap at 64 KiB, Unicorn does not.

    So the two may also differ in whether the base lies in the segment: offset 0 does not in one that expands down.
    """
    if case.name in ("sgdt", "sidt") and case.address == 16 and case.offset > 0xfffd:
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


X87_RESULTS = {"ftw", "fsw TOP", "fsw C0", "fsw C1", "fsw C2", "fsw C3", "memory", "flag ZF", "flag PF", "flag CF"}
X87_RESULTS |= {"st%d" % i for i in range(8)}


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
    if case.name in ("fldcw", "fldenv", "frstor"):
        if (hexadecimal(answer["registers"]["fcw"]) ^ state["fcw"]) & ~0xe0c0 == 0:
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
        if differing(case) <= reserved_bytes(case):
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
def remainder_of_more_than_half(case, answer, state, wrong):
    """Unicorn's FPREM1 leaves what is more than half of the divisor, though another quotient is nearer."""
    if case.name == "fprem1" and "st0" in wrong:
        divisor, significand = case.st[(case.fsw >> 11) + 1 & 7]
        theirs, exponent = state["fp"][case.fsw >> 11 & 7]
        if 0 < exponent & 0x7fff < 0x7fff and 0 < divisor & 0x7fff < 0x7fff:
            left = abs(fraction((exponent & 0x7fff) << 64 | theirs))
            if 2 * left > abs(fraction((divisor & 0x7fff) << 64 | significand)):
                return ["st0", "fsw C1"]


@explained
def x87_functions_in_double(case, answer, state, wrong):
    """Unicorn computes functions in double precision, and knows no operands that a double is not."""
    if case.name not in X87_FUNCTIONS:
        return None
    exponent, significand = case.st[case.fsw >> 11 & 7]
    distance = (exponent & 0x7fff) - (case.st[(case.fsw >> 11) + 1 & 7][0] & 0x7fff)
    # A double cannot hold more bits of a quotient; and from 64 on the SDM lets a processor choose how many it takes.
    if case.name in ("fprem", "fprem1") and distance >= 52:
        return ["st0", "fsw C0", "fsw C2", "fsw C3"]
    # "IF -2^63 < ST(0) < 2^63": 2^63 itself is out of range.
    if case.name in ("fsin", "fcos", "fsincos", "fptan") and (exponent & 0x7fff, significand) == (0x403e, 1 << 63):
        return X87_RESULTS - {"memory"}
    for i in range(X87_FUNCTIONS[case.name]):
        exponent, significand = case.st[(case.fsw >> 11) + i & 7]
        if not 16383 - 1000 < exponent & 0x7fff < 16383 + 1000 or exponent >> 15 and case.name in ("fyl2x", "fyl2xp1"):
            return X87_RESULTS - {"memory"}
        # "If the source value is outside this range, the result is undefined."
        if case.name == "f2xm1" and exponent & 0x7fff >= 16383 or case.name == "fyl2xp1" and i == 0 and exponent & 0x7fff >= 16381:
            return ["st0"]
    # Arguments lose bits; so do sums of nearly opposite numbers.
    first, second = (abs(fraction(exponent << 64 | significand)) for exponent, significand in (
        case.st[(case.fsw >> 11) + i & 7] for i in range(2)))
    near = max(first, 1, second if case.name == "fyl2xp1" else 0) / 2 ** 50 if case.name != "fpatan" else 0
    covered = set()
    top = x87(case, answer) >> 11 & 7
    for i in range(2):
        ours = hexadecimal(answer["registers"]["st%d" % i])
        significand, exponent = state["fp"][top + i & 7]
        if ours >> 64 & 0x7fff == 0x7fff or exponent & 0x7fff == 0x7fff:
            continue
        a, b = fraction(ours), fraction(exponent << 64 | significand)
        # FSCALE's significand is rounded by the precision control, to 24 bits at least.
        if abs(a - b) <= max(abs(a) / 2 ** (23 if case.name == "fscale" else 40), near):
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
def x87_signalling_loads(case, answer, state, wrong):
    """Unicorn's FLD leaves a signalling NaN of 32 or 64 bits as it is."""
    if case.name == "fld" and x87(case, answer) & 1:
        significand, exponent = state["fp"][x87(case, answer) >> 11 & 7]
        if hexadecimal(answer["registers"]["st0"]) ^ (exponent << 64 | significand) == 1 << 62:
            return ["st0"]


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
    """MXCSR.FTZ does not count in Unicorn's SSE. Beside what it flushes there may be NaNs that were chosen otherwise."""
    if not case.vectors or not case.mxcsr & 0x8000 or not hexadecimal(answer["registers"]["mxcsr"]) & 16:
        return None
    covered = set()
    for name in wrong:
        if name[:3] != "xmm":
            continue
        for width, exponent in ((32, 0xff << 23), (64, 0x7ff << 52)):
            pairs = zip(lanes(hexadecimal(answer["registers"][name]), width), lanes(state[name], width))
            flushed = [a << 1 & (1 << width) - 1 == 0 and not b & exponent for a, b in pairs if a != b and not (
                a & exponent == b & exponent == exponent)]
            if flushed and all(flushed):
                covered.add(name)
    return covered


@explained
def flush_to_zero_of_dot_products(case, answer, state, wrong):
    """MXCSR.FTZ does not count in Unicorn's products that are then added, either."""
    if case.name in ("dpps", "dppd") and case.mxcsr & 0x8000 and hexadecimal(answer["registers"]["mxcsr"]) & 16:
        return [name for name in wrong if name[:3] == "xmm" or name in ("mxcsr UE", "mxcsr PE", "mxcsr DE")]


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
            values = [(*struct.unpack("<2f", struct.pack("<2I", a, b)), a, b) for a, b in pairs]
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
        start = case.environment.base[case.segment] + case.offset
        for offset in (at - start & M32 for at in differing(case)):
            if not (5 <= offset < 24 or 28 <= offset < 32 or 32 <= offset < 160 and offset % 16 > 9):
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
    if case.form.opcode in (b"\x0f\xae", b"\x0f\xc3", b"\x0f\x2b") and refused(wrong)[0] == "#UD":
        if any(prefix in prefixes for prefix in (0x66, 0xf2, 0xf3)):
            return wrong


@explained
def matches_at_the_end(case, answer, state, wrong):
    """Unicorn's PCMPxSTRx look for whole matches only; one that goes on beyond the register counts too."""
    if case.name in ("pcmpestrm", "pcmpestri", "pcmpistrm", "pcmpistri") and case.code[case.length - 1] >> 2 & 3 == 3:
        return ["ecx", "xmm0", "flag CF", "flag OF"]


@explained
def lengths_of_string_compares(case, answer, state, wrong):
    """Unicorn's absolute value of a length of -2^31 is below zero; it is beyond the register's end."""
    if case.name in ("pcmpestrm", "pcmpestri") and 0x80000000 in (case.registers["eax"], case.registers["edx"]):
        return ["ecx", "xmm0", "flag CF", "flag OF", "flag ZF", "flag SF"]


@explained
def abort_of_string_compares(case, answer, state, wrong):
    """Unicorn does not survive a length of -2^31."""
    if wrong == ["abort"] and case.name in ("pcmpestrm", "pcmpestri"):
        if 0x80000000 in (case.registers["eax"], case.registers["edx"]):
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
