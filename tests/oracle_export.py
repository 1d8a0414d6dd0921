"""What is written as ONNX: accepted by the ONNX checker with full shape inference, and computing the same in PyTorch
(onnx_torch.py), in onnxruntime where it is there, and in Tilewise after being read back.

    tests/oracle_export.py BUILD_DIR [NAME...]

Operators come from export_test --write, with the outputs of their reference designs; networks from tilewise convert.
Those of hundreds of megabytes run where they are named, or with TILEWISE_TEST_ALL=1.
Errors are relative to the output's scale, its largest magnitude.
"""
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's threads spin for each other: minutes on a busy machine

counts = {"passed": 0, "failed": 0, "skipped": 0}


def record(outcome, name, text=""):
    counts[outcome] += 1
    if outcome != "passed":
        print("FAIL" if outcome == "failed" else "SKIP", f"{name}: {text}", flush=True)


def finish():
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(1 if counts["failed"] else 0)


if len(sys.argv) < 2:
    sys.exit(__doc__)
BUILD, NAMES = os.path.abspath(sys.argv[1]), sys.argv[2:]
TILEWISE = os.path.join(BUILD, "tilewise")
try:
    import numpy as np
    import onnx
    import torch
    from onnx import checker
    from onnx_torch import evaluate
except ImportError as missing:
    record("skipped", "ONNX export", missing)
    finish()
try:
    import onnxruntime
except ImportError as missing:
    onnxruntime = None
    record("skipped", "onnxruntime", missing)

TOLERANCE = 1e-5
SEED = "11"
# network, batch, image size (None: its own), by the reference design too: bit for bit
NETWORKS = [
    ("lenet5", 3, None, True), ("lenet5", 1, 45, True), ("vgg_cifar", 2, None, False), ("alexnet", 1, None, False),
    ("resnet18", 2, 97, True), ("resnet34", 1, 65, False), ("resnet50", 1, 65, False), ("mobilenet_v2", 1, None, False),
    ("squeezenet1_0", 1, 95, True), ("squeezenet1_1", 2, None, False), ("efficientnet_lite0", 1, None, False),
]
# EfficientNet-Lite 1 to 4 are not here: with random weights onnxruntime itself is up to 8e-5 from PyTorch in float64.
MORE = [(name, 1, None, False) for name in ("vgg11", "vgg13", "vgg16", "vgg19")]
folder = tempfile.TemporaryDirectory()


class Mismatch(Exception):
    pass


def path(name):
    return os.path.join(folder.name, name)


def call(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        raise Mismatch(f"{' '.join(map(str, command[:3]))}: exit {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def close(what, ours, theirs):
    """The error, if it is one that rounding explains."""
    if ours.shape != theirs.shape:
        raise Mismatch(f"{what}: shape {theirs.shape}, ours is {ours.shape}")
    scale = np.abs(theirs).max()
    error = float(np.abs(ours - theirs.astype(np.float64)).max() / (scale if scale > 0 else 1))
    if not error <= TOLERANCE:
        raise Mismatch(f"{what}: off by {error:.3g} of its scale, allowed {TOLERANCE:g}")
    return error


def load(file):
    """The model, if it is what any reader of ONNX expects."""
    model = onnx.load(file)
    checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    if (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) != (8, [("", 17)]):
        raise Mismatch("not IR version 8 and opset 17")
    for value in [*inferred.graph.input, *inferred.graph.output]:
        if value.type.tensor_type.shape.dim[0].dim_param != "N":
            raise Mismatch(f"{value.name}: its batch is not free")
    return model


def compare(file, x, y):
    """The largest error of y, what Tilewise computes from x, against all who read the file."""
    errors = {"PyTorch": close("PyTorch", y, evaluate(load(file), x)[0])}
    if onnxruntime:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        errors["onnxruntime"] = close("onnxruntime", y, session.run(None, {session.get_inputs()[0].name: x})[0])
    return errors


def run(model, *arguments):
    call(TILEWISE, "run", model, "--input", path("x.npy"), "--output", path("y.npy"), "--threads", 2, *arguments)
    return np.load(path("y.npy"))


# ---- operators ----


def check_operator(name):
    return compare(path(f"{name}.onnx"), np.load(path(f"{name}.x.npy")), np.load(path(f"{name}.y.npy")))


def operators():
    try:
        call(os.path.join(BUILD, "tests", "export_test"), "--write", folder.name)
    except Mismatch as problem:
        record("failed", "export_test", problem)
    return sorted(entry[:-len(".onnx")] for entry in os.listdir(folder.name) if entry.endswith(".onnx"))


# ---- networks ----


def check_network(name, batch, size, reference):
    arguments = ["--seed", SEED] + (["--image-size", size] if size else [])
    file, weights = path("network.onnx"), path("network.safetensors")
    call(TILEWISE, "convert", name, "--output", file, *arguments)
    shape = [d.dim_value for d in onnx.load(file).graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(3).standard_normal([batch, *shape[1:]]).astype(np.float32)
    np.save(path("x.npy"), x)
    y = run(name, *arguments)
    errors = compare(file, x, y)
    errors["read back"] = close("read back", run(file), y)
    if reference:
        ours = run(name, "--design", "reference", *arguments)
        if run(file, "--design", "reference").tobytes() != ours.tobytes():
            raise Mismatch("read back and run by the reference designs: other bits")
    call(TILEWISE, "convert", file, "--output", weights)
    if run(name, "--weights", weights, *arguments[2:]).tobytes() != y.tobytes():
        raise Mismatch("with weights from the safetensors of the ONNX file: other bits")
    return errors


def check(label, function, *arguments):
    try:
        errors = function(*arguments)
        print(label + ": " + ", ".join(f"{who} {error:.2g}" for who, error in errors.items()), flush=True)
        record("passed", label)
    except (Mismatch, OSError, KeyError, ValueError, RuntimeError, checker.ValidationError,
            onnx.shape_inference.InferenceError) as problem:
        record("failed", label, " ".join(str(problem).split()))


torch.set_num_threads(2)
for operator in operators():
    if not NAMES or operator in NAMES:
        check(operator, check_operator, operator)
for network in NETWORKS + MORE:
    if network[0] in NAMES or (not NAMES and (network in NETWORKS or os.environ.get("TILEWISE_TEST_ALL"))):
        check(f"{network[0]} batch {network[1]}" + (f" at {network[2]}" if network[2] else ""), check_network, *network)
finish()
