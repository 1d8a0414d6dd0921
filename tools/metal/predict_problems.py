"""What tools/metal/predict predicts: the study's layers and networks, its published figures, and how they are counted.

A layer is counted by `tilewise profile` of a network that has it alone: an ONNX file of a few bytes, whose weights are
a hole in the file.
"""
import ctypes
import json
import os
import re
import struct
import subprocess
import tempfile

from programs import load

HERE = os.path.dirname(os.path.abspath(__file__))

REFUSED = 3  # tilewise's exit status where a design does not take a layer
CONV_DESIGNS = ["naive", "tiled", "tiled_free", "im2col_gemm", "implicit_gemm", "winograd", "simdgroup_matrix"]
LINEAR_DESIGNS = ["naive", "tiled", "gemv", "gemv_simd", "simdgroup_matrix"]

# (name, operator, its sizes). conv2d: images, channels, side, output channels, kernel, stride, padding; linear: images,
# inputs, outputs
LAYERS = [
    ("lenet conv1", "conv2d", (1, 1, 32, 6, 5, 1, 0)),
    ("lenet fc2", "linear", (1, 120, 84)),
    ("alexnet conv1", "conv2d", (1, 3, 227, 64, 11, 4, 0)),
    ("alexnet conv1, 96", "conv2d", (1, 3, 227, 96, 11, 4, 0)),
    ("alexnet conv1, 96, batch 10", "conv2d", (10, 3, 227, 96, 11, 4, 0)),
    ("alexnet fc6", "linear", (1, 9216, 4096)),
    ("vgg conv1", "conv2d", (1, 3, 224, 64, 3, 1, 1)),
    ("vgg conv3", "conv2d", (1, 128, 56, 256, 3, 1, 1)),
    ("vgg fc6", "linear", (1, 25088, 4096)),
    ("fc 4096, batch 128", "linear", (128, 4096, 4096)),  # the study's own two: PRODUCTS
]

# The variants in which a network is predicted: each names designs of convolutions and linear layers, others are auto.
NETWORKS = {
    "lenet5": ["auto", "naive", "im2col", "tiled", "tiled_free"],
    "alexnet": ["auto", "naive", "im2col", "tiled", "tiled_free"],
    "mobilenet_v2": ["auto", "naive"],
    "efficientnet_lite0": ["auto", "naive"],
    "vgg11": ["auto", "im2col"],
    "vgg16": ["auto", "im2col", "naive", "tiled", "tiled_free"],
}
VARIANTS = {
    "auto": "auto",
    "naive": "conv2d=naive,linear=naive",
    "im2col": "conv2d=im2col_gemm,linear=naive",
    "tiled": "conv2d=tiled,linear=tiled",
    "tiled_free": "conv2d=tiled_free,linear=tiled",
}

# The study's products of matrices (predict_study.metal): (name, kernel, groups, threads, BARRIERS)
PRODUCTS = [
    ("product, naive", "product_naive", (256, 8), (16, 16), 1),
    ("product, tiled", "product_tiled", (256, 8), (16, 16), 1),
    ("product, tiled, no barriers (a race)", "product_tiled", (256, 8), (16, 16), 0),
    ("product, tiled, a tile a simdgroup", "product_simdgroup", (512, 32), (32, 1), 1),
]
PRODUCT_SIZES = (128, 4096, 4096)
# Convolutions that predict study shows beside these, by the designs that make the same comparison.
TILED_LAYERS = ["alexnet conv1, 96, batch 10", "vgg conv3"]
TILED_DESIGNS = ["naive", "tiled", "tiled_free"]

# What the study published, ms, by chip, and by layer or network or product and its design: tables 1 to 4 and 8 to 11.
PUBLISHED = {
    "A13": {
        ("lenet conv1", "naive"): 1.326, ("lenet conv1", "im2col_gemm"): 2.4071, ("lenet fc2", "naive"): 0.84396,
        ("alexnet conv1", "naive"): 35.127, ("alexnet conv1", "im2col_gemm"): 18.435,
        ("alexnet conv1, 96", "naive"): 35.249, ("alexnet conv1, 96", "im2col_gemm"): 19.591,
        ("alexnet conv1, 96, batch 10", "naive"): 162.263, ("alexnet conv1, 96, batch 10", "im2col_gemm"): 199.41,
        ("alexnet fc6", "naive"): 54.292, ("vgg fc6", "naive"): 107.06,
        ("vgg conv1", "naive"): 29.787, ("vgg conv1", "im2col_gemm"): 23.073,
        ("product, naive", None): 141.7414, ("product, tiled", None): 188.7117,
        ("product, tiled, no barriers (a race)", None): 135.32,
        ("lenet5", "naive"): 15.0539, ("lenet5", "im2col"): 16.8789,
        ("vgg16", "naive"): 1785.973, ("vgg16", "im2col"): 1324.170,
    },
    "RTX2080": {
        ("product, naive", None): 5.837, ("product, tiled", None): 4.791,
        ("alexnet conv1, 96, batch 10", "naive"): 6.186, ("alexnet conv1, 96, batch 10", "im2col_gemm"): 2.670,
    },
}
# What its harness on the phone took for a kernel of next to nothing (relu on 28x28, table 8): waiting for a command
# buffer, for the most part. Its figures have that once a layer.
FLOOR_MS = {"A13": 0.695}


# ---- a network of one layer, as ONNX ----

class Zeros:
    """So many bytes of a file that nobody writes."""

    def __init__(self, count):
        self.count = count


def size_of(parts):
    return sum(p.count if isinstance(p, Zeros) else len(p) for p in parts)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytearray([value]))


def number(field, value):
    return [varint(field << 3) + varint(value)]


def message(field, parts):
    parts = [parts.encode()] if isinstance(parts, str) else parts
    return [varint(field << 3 | 2) + varint(size_of(parts)), *parts]


def value_info(name, dims):
    shape = []
    for dim in dims:
        shape += message(1, message(2, dim) if isinstance(dim, str) else number(1, dim))
    return message(1, name) + message(2, message(1, number(1, 1) + message(2, shape)))


def zeros(name, dims):
    count = 4
    for dim in dims:
        count *= dim
    parts = [p for dim in dims for p in number(1, dim)]
    return parts + number(2, 1) + message(8, name) + message(9, [Zeros(count)])


def attribute(name, values):
    if isinstance(values, int):
        return message(1, name) + number(3, values) + number(20, 2)
    return message(1, name) + [p for v in values for p in number(8, v)] + number(20, 7)


def write_layer(path, op, sizes):
    if op == "conv2d":
        _, ic, side, oc, kernel, stride, pad = sizes
        given, made, weights = ["N", ic, side, side], ["N", oc, "H", "W"], [oc, ic, kernel, kernel]
        kind = "Conv"
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    else:
        _, ic, oc = sizes
        given, made, weights, kind, attributes = ["N", ic], ["N", oc], [oc, ic], "Gemm", {"transB": 1}
    node = message(1, "x") + message(1, "w") + message(1, "b") + message(2, "y") + message(3, "layer")
    node += message(4, kind)
    for name, values in attributes.items():
        node += message(5, attribute(name, values))
    graph = message(1, node) + message(2, "layer") + message(5, zeros("w", weights)) + message(5, zeros("b", [oc]))
    graph += message(11, value_info("x", given)) + message(12, value_info("y", made))
    model = number(1, 8) + message(7, graph) + message(8, number(2, 13))
    with open(path, "wb") as file:
        for part in model:
            if isinstance(part, Zeros):
                file.seek(part.count, os.SEEK_CUR)
            else:
                file.write(part)
        file.truncate()


# ---- counting and timing ----

ONCE = ["--iterations", "1", "--duration", "0.000001", "--warmUp", "0"]
OFTEN = ["--iterations", "50", "--duration", "0.5", "--warmUp", "50"]


def profile(program, model, options):
    """Results of `tilewise profile`, one row a layer; or None and the line in which a design refuses."""
    done = subprocess.run([program, "profile", model, "-o", "json", *options], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    said = done.stderr.strip().rpartition("\n")[2]
    if done.returncode == REFUSED and " refuses" in said:
        return None, said
    if done.returncode != 0:
        raise RuntimeError(said or f"{program} ended with status {done.returncode}")
    results = json.loads(done.stdout)
    results["rows"] = [row for row in results["rows"] if row["layer"] is not None]
    return results, None


def profile_network(program, network, family, design):
    return profile(program, network, ["--device", "metal-sim", "--family", family, "--design", design, "--fallback",
                                      "auto", *ONCE])


def profile_layer(program, layer, design, options):
    """By that design alone. options: the device, and how often."""
    _, op, sizes = layer
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layer.onnx")
        write_layer(path, op, sizes)
        return profile(program, path, ["--design", f"{op}={design}", "--batch", str(sizes[0]), *options])


def designs_of(op):
    return CONV_DESIGNS if op == "conv2d" else LINEAR_DESIGNS


def descriptor(op, sizes):
    """The problem's name in rows of results: benchdnn's."""
    if op == "linear":
        return "linear:mb{}ic{}oc{}bias1".format(*sizes)
    n, ic, side, oc, kernel, stride, pad = sizes
    out = (side + 2 * pad - kernel) // stride + 1
    return (f"conv2d:mb{n}ic{ic}ih{side}oc{oc}oh{out}kh{kernel}" + (f"sh{stride}" if stride > 1 else "") +
            (f"ph{pad}" if pad else "") + "bias1")


def plain(problem):
    """A problem without what a layer has beside its product: a bias, a residual, an activation."""
    return re.sub(r"(bias|res|act)\d+", "", problem.partition('n"')[0])


def count_product(kernel, groups, threads, barriers, sizes):
    """The counters of one of the study's products."""
    mslrun = load("mslrun")
    m, n, k = sizes
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "study.so")
        source = os.path.join(HERE, "predict_study.metal")
        subprocess.run([os.path.join(HERE, "build"), "count", source, "-o", library], check=True)
        launch, counters = mslrun.Launch(), mslrun.Counters()
        memory = [struct.pack("<3i", m, n, k), bytes(4 * m * k), bytes(4 * k * n), bytes(4 * m * n)]
        kept = [ctypes.create_string_buffer(data, len(data)) for data in memory]
        for index, data in enumerate(kept):
            launch.buffers[index] = mslrun.Buffer(ctypes.addressof(data), len(data))
        value = ctypes.c_uint8(barriers)
        constant = mslrun.Value(b"BARRIERS", 0, ctypes.addressof(value), 1, b"bool")
        launch.kernel, launch.constants, launch.constant_count = kernel.encode(), ctypes.pointer(constant), 1
        launch.threadgroups[:], launch.threads[:] = (*groups, 1), (*threads, 1)
        launch.counters = ctypes.pointer(counters)
        said = ctypes.create_string_buffer(1024)
        run = ctypes.CDLL(library).msl_launch
        run.argtypes = [ctypes.POINTER(mslrun.Launch), ctypes.c_char_p, ctypes.c_size_t]
        if run(ctypes.byref(launch), said, len(said)) != 0:
            raise RuntimeError(said.value.decode())
    counted = {name: getattr(counters, name) for name, _ in mslrun.Counters._fields_}
    counted.update(source="predict_study", kernel=kernel, threads_per_threadgroup=threads[0] * threads[1],
                   threadgroup_memory_bytes=counted["threadgroup_bytes"],
                   simdgroup_matrix_operations=counted["simdgroup_matrix_products"])
    return counted
