"""A kernel's parameters: which buffer, threadgroup argument or position each one is, and what is wrong with it."""
import re

from .tokens import SPACES, Refused, split, words

# Positions whose declarations must have one shape: all scalars, or all vectors of as many components.
GRID_POSITIONS = {
    "thread_position_in_grid", "thread_position_in_threadgroup", "threadgroup_position_in_grid",
    "threadgroups_per_grid", "threads_per_threadgroup", "dispatch_threads_per_threadgroup", "threads_per_grid"}
POSITIONS = GRID_POSITIONS | {
    "thread_index_in_threadgroup", "thread_index_in_simdgroup", "simdgroup_index_in_threadgroup",
    "simdgroups_per_threadgroup", "dispatch_simdgroups_per_threadgroup", "threads_per_simdgroup",
    "thread_execution_width", "thread_index_in_quadgroup", "quadgroup_index_in_threadgroup",
    "quadgroups_per_threadgroup"}
POSITION_TYPE = re.compile(r"u(int|short|char|long)?[23]?$|unsigned")
OTHER_TYPE = re.compile(r"(int|short|char|long|float|half|bfloat|bool|uchar|ulong)[234]?$|(uint|ushort)4$")

# Metal that is not in the subset, by the name that shows it.
UNSUPPORTED = {
    **{f"texture{n}": "textures" for n in ("1d", "2d", "3d", "cube", "1d_array", "2d_array", "2d_ms", "_buffer")},
    "texture": "textures", "sampler": "samplers", "vertex": "vertex functions", "fragment": "fragment functions",
    "stage_in": "stage_in", "visible": "visible functions", "imageblock": "imageblocks",
    "threadgroup_imageblock": "imageblocks", "ray_data": "ray tracing", "object_data": "mesh shaders",
    "intersection_function": "ray tracing", "visible_function_table": "function pointers",
    "command_buffer": "indirect commands", "cooperative_tensor": "tensors", "tensor": "tensors",
    "simdgroup_event": "asynchronous copies", "os_log": "logging"}
MAX_INDEX = 30


def read_enumerators(tokens, known):
    """The names between an enumeration's brackets with their values, where those are plain numbers."""
    value = -1
    for part in filter(None, split(words(tokens))):
        name, given = part[0].text, "".join(t.text for t in part[2:])
        if given:
            number = known.get(given, int(given, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]+|0|[1-9]\d*", given) else None)
            value = number
        elif value is not None:
            value += 1
        if value is not None:
            known[name] = value


class Argument:
    def __init__(self, kind, index, name, space=None, writable=False, optional=False):
        self.kind = kind  # "buffer", "threadgroup" or "position"
        self.index, self.name, self.space, self.writable, self.optional = index, name, space, writable, optional


class Kernel:
    def __init__(self, name, scope, arguments, template, max_threads):
        self.name, self.scope, self.arguments, self.template = name, scope, arguments, template
        self.max_threads = max_threads


def index_of(unit, place, what, text):
    text = str(unit.enumerators.get(text, text))
    if not text.isdigit() or int(text) > MAX_INDEX:
        unit.refuse(place, f"{what}({'' if text == 'None' else text}): the index is a number from 0 to {MAX_INDEX}")
        return 0
    return int(text)


def position(unit, what, tokens, attribute, name):
    """tokens are the parameter's, with its name last."""
    kinds = [t for t in tokens[:-1] if t.text not in ("const", "thread", "metal", "::")]
    if any(t.text in ("*", "&") for t in tokens) or len(kinds) == 1 and OTHER_TYPE.match(kinds[0].text):
        unit.refuse(tokens[0], f"parameter type: {what}, [[{attribute}]], is uint, ushort or a vector of two or three")
    elif attribute not in GRID_POSITIONS and (components(kinds) or 1) > 1:
        unit.refuse(tokens[0], f"parameter type: {what}, [[{attribute}]], is uint or ushort")
    return Argument("position", attribute, name)


def memory(unit, what, tokens, found, name):
    """A buffer or a threadgroup argument; its index is None where none is given."""
    place = tokens[0]
    spaces = [t.text for t in tokens if t.text in SPACES]
    pointer = any(t.text in ("*", "&", "[") for t in tokens)
    if "threadgroup" in found or pointer and spaces[:1] == ["threadgroup"]:
        if not pointer or spaces[:1] != ["threadgroup"]:
            unit.refuse(place, f"wrong address space: {what}, [[threadgroup(n)]], is no pointer to threadgroup memory")
        index = index_of(unit, place, "threadgroup", found.get("threadgroup") or "0")
        return Argument("threadgroup", index, name, "threadgroup", True)
    if not pointer:
        unit.refuse(place, f"missing attribute: {what} is a value and has no position's attribute" if "buffer" not in
                    found else f"parameter type: {what} is a value; a buffer is a pointer or a reference")
    elif not spaces or spaces[0] not in ("device", "constant"):
        unit.refuse(place, f"wrong address space: {what} must be in the device or constant address space")
    index = index_of(unit, place, "buffer", found["buffer"]) if "buffer" in found else None
    star = next((i for i, t in enumerate(tokens) if t.text in "*&["), 0)
    writable = spaces[:1] == ["device"] and not any(t.text == "const" for t in tokens[:star])
    return Argument("buffer", index, name, spaces[0] if spaces else "device", writable, "function_constant" in found)


def argument(unit, kernel, tokens, attributes):
    tokens = words(tokens)
    array = next((k for k, t in enumerate(tokens) if t.text == "["), len(tokens))
    at = next((k for k in range(array - 1, -1, -1) if tokens[k].kind == "name"), 0)
    what = f"parameter {tokens[at].text} of kernel {kernel}"
    found = {name.text: given for name, given in attributes}
    for word in list(found) + [t.text for t in tokens[:at]]:
        if word in UNSUPPORTED:
            unit.refuse(tokens[0], f"not in the subset: {UNSUPPORTED[word]} ({what})")
            return Argument("unsupported", word, tokens[at].text)
    attribute = next((a for a in found if a in POSITIONS), None)
    if attribute:
        return position(unit, what, tokens[:at + 1], attribute, tokens[at].text)
    return memory(unit, what, tokens, found, tokens[at].text)


def number_buffers(unit, place, kernel, arguments):
    """A buffer without [[buffer(n)]] takes the lowest free number."""
    buffers = [a for a in arguments if a.kind == "buffer"]
    for a in buffers:
        if a.index is None:
            a.index = next(n for n in range(len(buffers) + MAX_INDEX) if n not in {b.index for b in buffers})
    for kind in ("buffer", "threadgroup", "position"):
        taken = [a.index for a in arguments if a.kind == kind and not a.optional]
        for index in {i for i in taken if taken.count(i) > 1}:
            text = f"{kind}({index})" if kind != "position" else index
            unit.refuse(place, f"duplicate index: two parameters of kernel {kernel} are {text}")


def components(tokens):
    text = next((t.text for t in tokens if POSITION_TYPE.match(t.text)), "")
    return {"2": 2, "3": 3}.get(text[-1:], 1) if text else None


def read_kernel(unit, name, head, parameters, attributes, template):
    first = next((t for t in head if t.text == name), head[0])
    if not any(t.text == "void" for t in head):
        unit.refuse(first, f"kernel's result: kernel {name} must return void")
    if name in unit.kernels:
        unit.refuse(first, f"overloaded kernel: kernel {name} is defined twice")
    if any(not words(plain) for plain, _ in parameters):
        raise Refused(first, f"syntax: kernel {name} has a parameter without a type")
    arguments = [argument(unit, name, plain, found) for plain, found in parameters]
    number_buffers(unit, first, name, arguments)
    shapes = {components(words(plain)) for plain, found in parameters
              if any(n.text in GRID_POSITIONS for n, _ in found)}
    if len(shapes - {None}) > 1:
        unit.refuse(first, f"mixed positions: kernel {name} has grid positions of different numbers of components")
    threads = next((a for n, a in attributes if n.text == "max_total_threads_per_threadgroup"), "0")
    return Kernel(name, list(unit.scope), arguments, template, threads)
