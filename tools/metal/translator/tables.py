"""The end of a translated file: an entry for each kernel, and the tables that msl_abi.h describes."""
import re

from .tokens import Refused
from .unit import BARRIERS, MATRICES, kernel_name


# After the author's code, still in its namespace.
BEGIN = '\n#line 1 "tables of kernels"\n'


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def plain_type(kind):
    """unsigned int and uint32_t are uint."""
    known = {"unsigned": "uint", "unsigned int": "uint", "unsigned short": "ushort", "unsigned char": "uchar"}
    kind = known.get(kind, kind.replace("metal::", ""))
    sized = {"int8_t": "char", "int16_t": "short", "int32_t": "int", "int64_t": "long"}
    return "u" + sized[kind[1:]] if kind[1:] in sized and kind[0] == "u" else sized.get(kind, kind)


def entry_points(unit):
    """(host name, kernel, qualified C++ name) of all kernels that can be launched."""
    points = [(host, unit.kernels[name], arguments) for host, name, arguments in unit.instances]
    points += [(k.name, k, "") for k in unit.kernels.values() if not k.template]
    names = [host for host, _, _ in points]
    for host in names:
        if names.count(host) > 1:
            raise Refused(None, f"two kernels have the name {host}")
    return [(host, k, "::".join(k.scope + [kernel_name(k.name)]) + arguments) for host, k, arguments in points]


def facts(unit, kernel):
    names = unit.reaches(kernel.name)
    matrix = bool(names & MATRICES)
    simdgroup = matrix or any(n.startswith(("simd_", "quad_", "simdgroup_barrier")) for n in names)
    atomics = any(n.startswith("atomic_") for n in names)
    return {"barrier": bool(names & BARRIERS), "simdgroup": simdgroup, "matrix": matrix, "atomics": atomics}


def calls(kernel, number):
    """The arguments of a kernel's call in its entry."""
    parts = ["g"]
    for position, a in enumerate(kernel.arguments):
        kind = f"typename ::msl::signature<msl_type_of_{number}>::template parameter<{position}>"
        if a.kind == "buffer":
            parts.append(f"::msl::from_address<{kind}>(g.launch->buffers[{a.index}].data)")
        elif a.kind == "threadgroup":
            parts.append(f"::msl::from_address<{kind}>(g.arguments[{a.index}])")
        else:
            parts.append(f"::msl::from_position<{kind}>(t.{a.index})")
    return ", ".join(parts)


def describe(out, unit, points, mode, family):
    """The tables, the same for all modes."""
    rows = []
    for number, (host, kernel, _) in enumerate(points):
        arguments = [a for a in kernel.arguments if a.kind != "position"]
        out.append(f"static const msl_argument arguments_{number}[] = {{\n")
        for position, a in enumerate(kernel.arguments):
            if a.kind != "position":
                kind = f"typename ::msl::signature<::metal::msl_type_of_{number}>::template parameter<{position}>"
                size = f"::msl::pointee_bytes<{kind}>()"
                out.append(f"    {{{quoted(a.name)}, {a.index}, MSL_{a.space.upper()}, {int(a.writable)}, "
                           f"{int(a.optional)}, {size}}},\n")
        out.append("    {nullptr, 0, 0, 0, 0, 0}};\n")
        f = facts(unit, kernel)
        rows.append(f"    {{{quoted(host)}, arguments_{number}, {len(arguments)}, {int(f['barrier'])}, "
                    f"{int(f['simdgroup'])}, {int(f['matrix'])}, {int(f['atomics'])}, {kernel.max_threads}}},\n")
    out.append("static const msl_kernel kernels[] = {\n" + "".join(rows)
               + "    {nullptr, nullptr, 0, 0, 0, 0, 0, 0}};\n")
    out.append("static const msl_constant constants[] = {\n")
    for name, kind, index in unit.constants:
        out.append(f"    {{{quoted(name)}, {index}, (uint32_t)sizeof(::metal::{name}), {quoted(plain_type(kind))}}},\n")
    out.append("    {nullptr, 0, 0, nullptr}};\n")
    out.append(f"extern const msl_library library = {{MSL_ABI_VERSION, {quoted(mode)}, {quoted(family)}, kernels, "
               f"{len(points)}, constants, {len(unit.constants)}}};\n")


def cpu_tables(unit, mode, family):
    out, points = [BEGIN], entry_points(unit)
    for number, (_, kernel, name) in enumerate(points):
        out.append(f"typedef decltype(&{name}) msl_type_of_{number};\n"
                   f"static void msl_entry_{number}(const ::msl::group &g, const ::msl::thread &t)\n"
                   f"{{\n    (void)t;\n    {name}({calls(kernel, number)});\n}}\n")
    out.append("} // namespace metal\nnamespace msl {\n")
    describe(out, unit, points, mode, family)
    out.append("extern const code codes[] = {\n")
    for number, (_, kernel, _) in enumerate(points):
        f = facts(unit, kernel)
        waits = f["barrier"] or f["simdgroup"] or kernel.name in unit.with_threadgroup_memory or any(
            a.kind == "threadgroup" for a in kernel.arguments)
        loop = "nullptr" if waits else f"each_thread<::metal::msl_entry_{number}>"
        names = unit.reaches(kernel.name) - unit.tested
        needs = sum(1 << n for n, c in enumerate(unit.constants) if c[0] in names)
        out.append(f"    {{::metal::msl_entry_{number}, {loop}, {needs}u}},\n")
    out.append("    {nullptr, nullptr, 0}};\nextern const constant_storage storages[] = {\n")
    for name, _, _ in unit.constants:
        out.append(f"    {{&::metal::{name}, &::metal::{name}_msl_defined}},\n")
    out.append("    {nullptr, nullptr}};\n} // namespace msl\n")
    return "".join(out)


def cuda_name(number, host):
    """As msl_abi.h says; debuggers and profilers show it."""
    return f"msl_{number}_" + re.sub(r"[^0-9A-Za-z]", "_", host)


def cuda_entries(unit):
    """Kernels of CUDA, one an entry point, that fetch their arguments from the launch's parameter."""
    out = [BEGIN]
    for number, (host, kernel, name) in enumerate(entry_points(unit)):
        parts, kind = ["g"], f"typename ::msl::signature<msl_type_of_{number}>::template parameter"
        constants = [a for a in kernel.arguments if a.space == "constant"]
        for position, a in enumerate(kernel.arguments):
            if a.space == "constant":
                at = 0 if a is constants[0] and not a.optional else f"l.constant_offsets[{a.index}]"
                where = f"::msl::from_address<{kind}<{position}>>((void *)(l.constants + {at}))"
            elif a.kind == "buffer":
                where = f"::msl::from_address<{kind}<{position}>>(l.buffers[{a.index}])"
            elif a.kind == "threadgroup":
                where = f"::msl::from_address<{kind}<{position}>>(::msl::dynamic + l.threadgroup_offsets[{a.index}])"
            else:
                where = f"::msl::from_position<{kind}<{position}>>(t.{a.index})"
            parts.append(where)
        bounds = f"__launch_bounds__({kernel.max_threads}) " if kernel.max_threads != "0" else ""
        out.append(f"typedef decltype(&{name}) msl_type_of_{number};\n"
                   f'extern "C" __global__ void {bounds}{cuda_name(number, host)}('
                   f"const __grid_constant__ msl_cuda_parameters l)\n"
                   f"{{\n    ::msl::group g;\n    ::msl::thread t;\n"
                   f"    if (::msl::here(l, g, t)) {name}({', '.join(parts)});\n}}\n")
    out.append("} // namespace metal\n")
    return "".join(out)


def cuda_table(unit, family):
    """The same file for the host's compiler, which keeps the tables only."""
    out, points = [BEGIN], entry_points(unit)
    for number, (_, _, name) in enumerate(points):
        out.append(f"typedef decltype(&{name}) msl_type_of_{number};\n")
    out.append("} // namespace metal\nnamespace msl {\n")
    describe(out, unit, points, "cuda", family)
    out.append('} // namespace msl\nextern "C" __attribute__((visibility("default"))) const msl_library '
               "*msl_describe(void) { return &::msl::library; }\n")
    return "".join(out)
