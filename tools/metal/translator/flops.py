"""Floating-point operations, counted in LLVM's text: before the end of a basic block that has some, a call adds them.

Only in functions that the compiler watches for their memory accesses: the runtime's own parts of a simdgroup operation
are not, and a simdgroup matrix product is counted as such. A comparison, a negation and a conversion are no operation;
a fused multiply-add is two; a call of exp and the like is a special function."""
import re

ARITHMETIC = re.compile(r"= (?:tail |contract |fast |nnan |ninf |nsz |arcp |afn |reassoc )*(fadd|fsub|fmul|fdiv|frem) "
                        r"(?:(?:contract|fast|nnan|ninf|nsz|arcp|afn|reassoc) )*(<(\d+) x \w+>|\w+)")
FUSED = re.compile(r"call .*@llvm\.(?:fma|fmuladd)\.(?:v(\d+))?")
SPECIAL = re.compile(r"call .*@(?:llvm\.(?:sqrt|exp|exp2|log|log2|log10|sin|cos|pow)\.|"
                     r"(?:a?(?:sin|cos|tan)h?|atan2|exp2?|log(?:2|10)?|pow|sqrt|fmod)f\()")
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


def watched_groups(text):
    """The numbers of the attribute groups with sanitize_thread."""
    return set(re.findall(r"^attributes #(\d+) = \{[^}]*\bsanitize_thread\b", text, re.M))


def count_in(text):
    groups = watched_groups(text)
    out, inside, flops, special = [], False, 0, 0
    for line in text.split("\n"):
        if line.startswith("define "):
            inside = bool(set(re.findall(r"#(\d+)", line)) & groups)
            flops = special = 0
        elif inside and line.startswith("  "):
            if TERMINATOR.match(line) and flops + special:
                out.append(f"  call void @msl_count_flops(i64 {flops}, i64 {special})")
                flops = special = 0
            found = operations(line)
            flops, special = flops + found[0], special + found[1]
        out.append(line)
    return "\n".join(out) + "\ndeclare void @msl_count_flops(i64, i64)\n"
