"""Formats as their own libraries write them: torch.save, numpy.save, and safetensors by its specification.

    oracle_formats.py BUILD_DIR

Every tensor that formats_dump reads must have the bytes, type and shape that PyTorch or NumPy say; files that PyTorch
would run code for must be refused. The last line is 'N passed, N failed, N skipped'.
"""
import collections
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile

counts = {"passed": 0, "failed": 0, "skipped": 0}


def record(outcome, name, text=""):
    counts[outcome] += 1
    if outcome != "passed":
        print("FAIL" if outcome == "failed" else "SKIP", f"{name}: {text}")


def finish():
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(1 if counts["failed"] else 0)


if len(sys.argv) != 2:
    sys.exit("usage: oracle_formats.py BUILD_DIR")
dump = os.path.join(sys.argv[1], "tests", "formats_dump")
try:
    import numpy as np
except ImportError as missing:
    record("skipped", "formats", missing)
    finish()
try:
    import torch
except ImportError as missing:
    torch = None
    record("skipped", "PyTorch's formats", missing)

folder = tempfile.TemporaryDirectory()
path_of = lambda name: os.path.join(folder.name, name)


def run(*arguments):
    return subprocess.run([dump, *arguments], capture_output=True, text=True, timeout=60)


def read(path):
    """{name: (type, shape, bytes)} as the library sees it, or the error's text."""
    with tempfile.TemporaryDirectory() as out:
        result = run("weights", path, out)
        if result.returncode == 2:
            return result.stderr.strip()
        if result.returncode != 0:
            return f"exit status {result.returncode}: {result.stderr.strip()}"
        tensors = {}
        for line in result.stdout.splitlines():
            index, dtype, name, *sizes = line.split(" ")
            with open(os.path.join(out, index), "rb") as file:
                tensors[name] = (dtype, tuple(map(int, sizes)), file.read())
        return tensors


def compare(name, path, expected):
    actual = read(path)
    if isinstance(actual, str):
        return record("failed", name, actual)
    if list(actual) != list(expected) and sorted(actual) != sorted(expected):
        return record("failed", name, f"names {list(actual)}, expected {list(expected)}")
    for key, value in expected.items():
        if actual[key] != value:
            return record("failed", name, f"{key}: {actual[key][:2]}, expected {value[:2]}; or the bytes differ")
    record("passed", name)


def refuse(name, path, part):
    actual = read(path)
    if not isinstance(actual, str) or part not in actual or "\n" in actual or "exit status" in actual:
        return record("failed", name, f"{actual!r}, expected an error with {part!r}")
    record("passed", name)


# ---- npy ----

def npy_case(name, array, save=np.save):
    source, copy = path_of("array.npy"), path_of("copy.npy")
    with open(source, "wb") as file:
        save(file, array)
    result = run("npy", source, copy)
    if result.returncode:
        return record("failed", name, result.stderr.strip())
    back = np.load(copy)
    if back.dtype != array.dtype or back.shape != array.shape or back.tobytes() != array.tobytes():
        return record("failed", name, f"{back.dtype} {back.shape}, expected {array.dtype} {array.shape}; or values differ")
    plain = io.BytesIO()
    np.save(plain, np.ascontiguousarray(array).reshape(array.shape))
    with open(copy, "rb") as file:
        if file.read() != plain.getvalue():
            return record("failed", name, "NumPy writes other bytes")
    record("passed", name)


def npy_cases():
    random = np.random.default_rng(1)
    for dtype in "f2 f4 f8 i1 i2 i4 i8 u1 ?".split():
        for shape in [(), (0,), (1,), (7,), (2, 3), (3, 0, 2), (2, 3, 4, 5), (1, 2, 1, 2, 1, 2, 1, 3)]:
            array = (random.standard_normal(shape) * 50).astype(dtype)
            array = np.asarray(array)
            npy_case(f"npy {dtype} {shape}", array)
            npy_case(f"npy {dtype} {shape} fortran", np.asfortranarray(array))
    for version in [(1, 0), (2, 0), (3, 0)]:
        npy_case(f"npy version {version}", np.arange(6, dtype="f4").reshape(2, 3),
                 lambda file, array: np.lib.format.write_array(file, array, version=version))
    for array, part in [(np.zeros(3, ">f4"), "big-endian"), (np.zeros(3, "u4"), "dtype"), (np.zeros(3, "c8"), "dtype"),
                        (np.zeros(3, "U3"), "dtype"), (np.zeros(3, [("a", "f4")]), "dtype"),
                        (np.array([None]), "dtype"), (np.zeros((1,) * 9, "f4"), "8 dimensions")]:
        np.save(path_of("odd.npy"), array, allow_pickle=True)
        result = run("npy", path_of("odd.npy"), path_of("copy.npy"))
        outcome = "passed" if result.returncode == 2 and part in result.stderr else "failed"
        record(outcome, f"npy {array.dtype}", f"{result.stderr.strip()!r}, expected an error with {part!r}")


# ---- safetensors ----

CODES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "int32": "I32", "int16": "I16",
         "int8": "I8", "uint8": "U8", "bool": "BOOL"}
LIBRARY_NAMES = {code: name for name, code in CODES.items()} | {"BF16": "bfloat16"}


def safetensors(tensors, metadata=None, pad=True):
    """A file as the specification has it, from {name: (code, shape, bytes)}."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (code, shape, content) in tensors.items():
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 if pad else 0)
    return struct.pack("<Q", len(text)) + text + data


def safetensors_cases():
    random = np.random.default_rng(2)
    tensors = {}
    for dtype, code in CODES.items():
        for shape in [(), (3,), (2, 0), (2, 3, 5)]:
            array = np.asarray((random.standard_normal(shape) * 9).astype(dtype))
            tensors[f"{dtype}.{'x'.join(map(str, shape))}"] = (code, shape, array.tobytes())
    tensors["bf16"] = ("BF16", (2, 2), bytes(range(8)))
    tensors["\u00fcber.\U0001f600"] = ("U8", (3,), b"abc")
    expected = {name: (LIBRARY_NAMES[code], shape, data) for name, (code, shape, data) in tensors.items()}
    variants = {"": safetensors(tensors), " with metadata": safetensors(tensors, {"format": "pt", "a": "b"}),
                " unpadded": safetensors(tensors, pad=False), " without tensors": safetensors({})}
    # Header lengths whose low bytes are also the beginning of a pickle.
    for length in (0x80, 0x0280, 0x0480):
        head = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode().ljust(length)
        with open(path_of("pickle-like"), "wb") as file:
            file.write(struct.pack("<Q", length) + head + b"x")
        compare(f"safetensors with a header of {length} bytes", path_of("pickle-like"), {"a": ("uint8", (1,), b"x")})
    for name, content in variants.items():
        with open(path_of("a.safetensors"), "wb") as file:
            file.write(content)
        wanted = {} if "without" in name else expected
        compare("safetensors" + name, path_of("a.safetensors"), wanted)
        result = run("convert", path_of("a.safetensors"), path_of("b.safetensors"))
        if result.returncode:
            record("failed", "safetensors written" + name, result.stderr.strip())
            continue
        compare("safetensors written" + name, path_of("b.safetensors"), wanted)
        check_written("safetensors written by the specification" + name, path_of("b.safetensors"), wanted)


def check_written(name, path, expected):
    """Reads what the library wrote with Python's own JSON: offsets without holes, aligned data, the same values."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header, data, end = json.loads(content[8:8 + length]), content[8 + length:], 0
    if length % 8 or sorted(header) != sorted(expected):
        return record("failed", name, f"header of {length} bytes, names {sorted(header)}")
    for key, item in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"]):
        begin, stop = item["data_offsets"]
        found = (LIBRARY_NAMES[item["dtype"]], tuple(item["shape"]), data[begin:stop])
        size = {"6": 8, "3": 4, "1": 2}.get(item["dtype"].lstrip("FIBU")[:1], 1)
        if begin != end or begin % size or found != expected[key]:
            return record("failed", name, f"{key}: {item}")
        end = stop
    if end != len(data):
        return record("failed", name, f"{len(data) - end} bytes after the last tensor")
    record("passed", name)


# ---- PyTorch ----

def plain(tensor):
    tensor = tensor.detach().contiguous()
    raw = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return (str(tensor.dtype).replace("torch.", ""), tuple(tensor.shape), raw.numpy().tobytes())


class Payload:
    """What an attacker would pickle."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def state_dicts():
    torch.manual_seed(3)
    base = torch.randn(4, 5, 6)
    types = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16,
             torch.int8, torch.uint8, torch.bool]
    strided = {"t": base.transpose(0, 2), "slice": base[1:3, ::2, 1], "permuted": base.permute(1, 2, 0), "same": base,
               "row": base[2], "column": base[:, 3, 2], "expanded": torch.randn(4, 1).expand(4, 3),
               "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
               "ones": torch.randn(1, 7, 1).transpose(0, 2), "half": torch.randn(3, 4).half().t()}
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 2))
    yield "types", collections.OrderedDict((str(t), (torch.randn(3, 7) * 5).to(t)) for t in types)
    yield "strided", strided
    yield "shared", {"a": base, "b": base, "c": base.view(-1)[5:17], "d": base[0]}
    yield "module", model.state_dict()
    yield "parameters", collections.OrderedDict(model.named_parameters())
    yield "scalars and empty", {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "rank8": torch.randn([1, 2] * 4)}
    yield "many", {f"layer.{i}.weight": torch.full((3,), float(i)) for i in range(400)}
    yield "\u00fcber", {"gewicht.\u00fc": torch.ones(2)}


def nested(tensors):
    yield "under state_dict", {"epoch": 3, "state_dict": tensors, "best": 0.75, "arch": "net", "none": None,
                               "big": 1 << 80, "negative": -(1 << 40), "list": [1, (2, 3)], "flag": True}
    yield "under model", {"model": tensors, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "groups": [{}]}}


def torch_cases():
    kinds = [("zip", True, 2), ("legacy", False, 2), ("zip protocol 3", True, 3), ("zip protocol 4", True, 4),
             ("legacy protocol 4", False, 4), ("zip protocol 5", True, 5)]
    for name, tensors in state_dicts():
        expected = {key: plain(value) for key, value in tensors.items()}
        for kind, is_zip, protocol in kinds:
            torch.save(tensors, path_of("w.pth"), pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
            compare(f"torch.save {kind}: {name}", path_of("w.pth"), expected)
            if name not in ("module", "types"):
                continue
            for place, checkpoint in nested(tensors):
                torch.save(checkpoint, path_of("w.pth"), pickle_protocol=protocol,
                           _use_new_zipfile_serialization=is_zip)
                compare(f"torch.save {kind}: {name} {place}", path_of("w.pth"), expected)


def refused_torch_cases():
    ones = {"a": torch.ones(3)}
    hostile = [("os.system", Payload(os.system, "touch " + path_of("proof")), "system"),
               ("eval", Payload(eval, "1"), "eval"), ("a module", torch.nn.Linear(2, 2), "torch.nn.modules.linear"),
               ("a set", {"a", "b"}, "__builtin__.set"),
               ("complex numbers", {"a": torch.ones(2, dtype=torch.complex64)}, "ComplexFloatStorage"),
               ("no tensors", {"a": 1}, "no tensors"), ("a list", [torch.ones(2)], "dictionary"),
               ("a sparse tensor", {"a": torch.eye(3).to_sparse()}, "sparse"),
               ("9 dimensions", {"a": torch.ones([1] * 9)}, "8 dimensions"),
               ("a huge expansion", {"a": torch.ones(1).expand(1 << 20)}, "repeats")]
    for name, value, part in hostile:
        for is_zip in (True, False):
            torch.save(value, path_of("h.pth"), _use_new_zipfile_serialization=is_zip)
            refuse(f"{name}, {'zip' if is_zip else 'legacy'}", path_of("h.pth"), part)
    record("failed" if os.path.exists(path_of("proof")) else "passed", "no code is run", "a command ran")
    with open(path_of("plain.pkl"), "wb") as file:
        pickle.dump({"a": 1}, file, 2)
    refuse("a plain pickle", path_of("plain.pkl"), "torch.save")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), path_of("script.pt"))
    refuse("TorchScript", path_of("script.pt"), "compressed, expected stored")
    torch.save(ones, path_of("ones.pth"))
    with zipfile.ZipFile(path_of("ones.pth")) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for name, changes, method, part in [
            ("compressed entries", {}, zipfile.ZIP_DEFLATED, "compressed"),
            ("a big-endian archive", {"ones/byteorder": b"big"}, zipfile.ZIP_STORED, "big-endian"),
            ("a short storage", {"ones/data/0": b"12345678"}, zipfile.ZIP_STORED, "too few"),
            ("a missing storage", {"ones/data/0": None}, zipfile.ZIP_STORED, "no storage"),
            ("a missing pickle", {"ones/data.pkl": None}, zipfile.ZIP_STORED, "data.pkl")]:
        with zipfile.ZipFile(path_of("z.pth"), "w", method) as archive:
            for key, content in (entries | changes).items():
                if content is not None:
                    archive.writestr(key, content)
        refuse(name, path_of("z.pth"), part)
    with zipfile.ZipFile(path_of("z.pth"), "w") as archive: # Python's own zip, little-endian said aloud
        for key, content in (entries | {"ones/byteorder": b"little"}).items():
            archive.writestr(key, content)
    compare("an archive packed again", path_of("z.pth"), {"a": plain(ones["a"])})


npy_cases()
safetensors_cases()
if torch:
    torch_cases()
    refused_torch_cases()
finish()
