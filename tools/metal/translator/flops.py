"""Operations, counted in LLVM's text: before the end of a basic block a call adds those that it has.

Only in functions that the compiler watches for their memory accesses: the runtime's own parts of a simdgroup operation
are not, and a simdgroup matrix product is counted as such. A comparison, a negation and a conversion are no operation;
a fused multiply-add is two; a call of exp and the like is a special function.

Instructions are those of this text too, weighed as a GPU's turns: one a number of a vector, two where they work on 64
bits, as addresses do, 20 for a division of integers. What only names a value differently (conversions between integers,
parts of vectors, phi) costs nothing. A GPU's compiler will do better here and worse there. Nor does a block that takes
threadgroup memory cost anything: each worker's first thread runs it, so that it would count the host's workers."""
import re

ARITHMETIC = re.compile(r"= (?:tail |contract |fast |nnan |ninf |nsz |arcp |afn |reassoc )*(fadd|fsub|fmul|fdiv|frem) "
                        r"(?:(?:contract|fast|nnan|ninf|nsz|arcp|afn|reassoc) )*(<(\d+) x \w+>|\w+)")
FUSED = re.compile(r"call .*@llvm\.(?:fma|fmuladd)\.(?:v(\d+))?")
SPECIAL = re.compile(r"call .*@(?:llvm\.(?:sqrt|exp|exp2|log|log2|log10|sin|cos|pow)\.|"
                     r"(?:a?(?:sin|cos|tan)h?|atan2|exp2?|log(?:2|10)?|pow|sqrt|fmod)f\()")
FREE = re.compile(r"^(?:%[\w.]+ = )?(?:tail |musttail )?(?:(?:phi|[sz]ext|trunc|bitcast|freeze|alloca|unreachable|ret|"
                  r"fence|insertelement|extractelement|shufflevector|extractvalue|insertvalue|ptrtoint|inttoptr)\b|"
                  r"br label|call .*@(?:__tsan_|llvm\.(?:dbg|lifetime|assume|experimental))|#dbg_|\])")
OFFSET = re.compile(r"= getelementptr [^%@]*ptr [%@][\w.]+(?:, i\d+ -?\d+)+(?:,? !.*)?$")  # part of the access itself
DIVISION = re.compile(r"= [su](?:div|rem)\b")
WIDE = re.compile(r"= (?:getelementptr|(?:add|sub|mul|shl|lshr|ashr|and|or|xor|icmp|select)\b[^,]* i64\b)")
VECTOR = re.compile(r"= (?!load)[^,(]*<(\d+) x ")
MEMORY = re.compile(r"(?:= load|store) ")
ALLOCATION = re.compile(r"call .*@\w*threadgroup_allocate")
TERMINATOR = re.compile(r"\s+(br|ret|switch|unreachable)\b")


def operations(line):
    """(floating-point operations, special functions) of an instruction."""
    match = ARITHMETIC.search(line)
    if match:
        return int(match.group(3) or 1), 0
    match = FUSED.search(line)
    if match:
        return 2 * int(match.group(1) or 1), 0
    return 0, int(SPECIAL.search(line) is not None)


def turns(line):
    """What an instruction costs a GPU."""
    text = line.strip()
    if FREE.search(text) or OFFSET.search(text):
        return 0
    if MEMORY.search(text):
        return 1
    if DIVISION.search(text):
        return 20
    match = VECTOR.search(text)
    return int(match.group(1)) if match else 2 if WIDE.search(text) else 1


def watched_groups(text):
    """The numbers of the attribute groups with sanitize_thread."""
    return set(re.findall(r"^attributes #(\d+) = \{[^}]*\bsanitize_thread\b", text, re.M))


def count_in(text):
    groups = watched_groups(text)
    out, inside, allocates, flops, special, instructions = [], False, False, 0, 0, 0
    for line in text.split("\n"):
        if line.startswith("define "):
            inside = bool(set(re.findall(r"#(\d+)", line)) & groups)
            flops = special = instructions = 0
        elif inside and line.startswith("  "):
            found = operations(line)
            flops, special, instructions = flops + found[0], special + found[1], instructions + turns(line)
            allocates = allocates or ALLOCATION.search(line) is not None
            if TERMINATOR.match(line):
                if instructions and not allocates:
                    out.append(f"  call void @msl_count_work(i64 {flops}, i64 {special}, i64 {instructions})")
                allocates, flops, special, instructions = False, 0, 0, 0
        out.append(line)
    return "\n".join(out) + "\ndeclare void @msl_count_work(i64, i64, i64)\n"
