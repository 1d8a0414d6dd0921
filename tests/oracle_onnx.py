"""Networks that PyTorch exports as ONNX, read back: every intermediate against the same file run by onnxruntime, or,
where Python has none, evaluated by PyTorch in float64; the outputs against PyTorch's own network as well. Then ONNX's own
test cases (onnx_nodes.py).

    tests/oracle_onnx.py BUILD_DIR

With TILEWISE_TEST_ALL=1 every network is exported in every way; otherwise each in one or two. Prints which oracle it
used, and the largest error of each network relative to the value's scale, its largest magnitude.
"""
import io
import itertools
import os
import sys
import tempfile
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import numpy as np
    import onnx
    import torch
    import torchvision
    from torch import nn
    import onnx_nodes
    from efficientnet_lite import EfficientNetLite
    from onnx_torch import OPERATORS, clip
except ImportError as missing:
    print(f"SKIP onnx: {missing}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

TOLERANCE = 1e-4


class LeNet5(nn.Module):
    """With view(), which exports as shape arithmetic where the batch is free."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                                      nn.AvgPool2d(2, ceil_mode=True))
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = self.features(x)
        x = torch.relu(self.fc1(x.view(x.size(0), -1)))
        return torch.softmax(self.fc3(torch.relu(self.fc2(x))), 1)


def without_wide_layers(net, features):
    """AlexNet and VGG for small images: their first linear layer alone is 100 million numbers."""
    net.avgpool = nn.Identity()
    net.classifier = nn.Sequential(nn.Linear(features, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 10))
    return net


NETWORKS = {
    "lenet5": (LeNet5, (1, 32, 32)),
    "alexnet": (lambda: without_wide_layers(torchvision.models.alexnet(), 256), (3, 64, 64)),
    "vgg11": (lambda: without_wide_layers(torchvision.models.vgg11(), 512), (3, 32, 32)),
    "vgg16_bn": (lambda: without_wide_layers(torchvision.models.vgg16_bn(), 512), (3, 32, 32)),
    "resnet18": (torchvision.models.resnet18, (3, 64, 64)),
    "resnet50": (torchvision.models.resnet50, (3, 48, 48)),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (3, 64, 64)),
    "squeezenet1_1": (torchvision.models.squeezenet1_1, (3, 64, 64)),
    "efficientnet_lite0": (lambda: EfficientNetLite(0), (3, 64, 64)),
}
WAYS = list(itertools.product([9, 11, 13, 16], [True, False], [True, False]))  # opset, free batch, folding
SOME = {"lenet5": [(9, True, True), (13, False, True), (16, True, False)], "resnet18": [(11, True, False)],
        "mobilenet_v2": [(16, True, True), (9, False, False)], "efficientnet_lite0": [(13, True, False)]}


# ---- the references ----


def evaluate_by_onnxruntime(model, x):
    """Every floating-point value of the graph, by the name under which the importer has it; and the output."""
    graph, names = model.graph, {}
    output = graph.output[0].name
    for node in graph.node:
        if node.op_type != "Constant":
            names[node.name or node.output[0]] = node.output[0]
    del graph.output[:]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names.values())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # every node as it is
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = dict(zip(names.values(), session.run(list(names.values()), {session.get_inputs()[0].name: x})))
    return {name: values[value] for name, value in names.items() if values[value].dtype == np.float32}, values[output]


def axes_of(inputs, a):
    return [int(i) for i in (a["axes"] if "axes" in a else inputs[1].tolist())]


def unsqueeze(x, axes):
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def take_slice(inputs, a):
    x = inputs[0]
    starts, ends = [[int(v) for v in t] for t in (inputs[1:3] or (a["starts"], a["ends"]))]
    axes = [int(v) for v in (inputs[3] if len(inputs) > 3 else a.get("axes", range(len(starts))))]
    steps = [int(v) for v in inputs[4]] if len(inputs) > 4 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        x = torch.index_select(x, axis, torch.tensor(range(x.shape[axis])[start:end:step]))
    return x


def pad(inputs, a):
    pads = [int(p) for p in (inputs[1].tolist() if len(inputs) > 1 else a["pads"])]
    return torch.nn.functional.pad(inputs[0], (pads[3], pads[7], pads[2], pads[6]))


def tensor(proto):
    array = onnx.numpy_helper.to_array(proto)
    return torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))


EVERY = dict(OPERATORS)
EVERY.update({
    "Constant": lambda i, a: tensor(a["value"]),
    "Identity": lambda i, a: i[0],
    "Cast": lambda i, a: i[0].double() if a["to"] in (1, 10, 11) else i[0].long(),
    "Shape": lambda i, a: torch.tensor(i[0].shape),
    "Gather": lambda i, a: i[0][i[1].long()],
    "Unsqueeze": lambda i, a: unsqueeze(i[0], axes_of(i, a)),
    "Slice": take_slice,
    "Transpose": lambda i, a: i[0].permute(a["perm"]),
    "Reshape": lambda i, a: i[0].reshape([i[0].shape[k] if n == 0 else int(n) for k, n in enumerate(i[1].tolist())]),
    "Sub": lambda i, a: i[0] - i[1],
    "Mul": lambda i, a: i[0] * i[1],
    "Div": lambda i, a: i[0] / i[1] if i[0].is_floating_point() else torch.div(i[0], i[1], rounding_mode="trunc"),
    "ConstantOfShape": lambda i, a: torch.full([int(n) for n in i[0]], 0.0) if "value" not in a else
        tensor(a["value"]).expand([int(n) for n in i[0]]),
    "ReduceMean": lambda i, a: i[0].mean(axes_of(i, a), keepdim=bool(a.get("keepdims", 1))),
    "Pad": pad,
    "Clip": lambda i, a: i[0].clamp(a["min"], a["max"]) if "min" in a else clip(*(i + [None, None])[:3]),
})


@torch.no_grad()
def evaluate_by_pytorch(model, x):
    """The same, all values, in float64."""
    graph, named = model.graph, {}
    values = {t.name: tensor(t) for t in graph.initializer}
    values[next(i.name for i in graph.input if i.name not in values)] = torch.from_numpy(x.astype(np.float64))
    values[""] = None
    for node in graph.node:
        a = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        y = EVERY[node.op_type]([values[name] for name in node.input], a)
        values[node.output[0]] = y
        named[node.name or node.output[0]] = y.numpy()
    return named, values[graph.output[0].name].numpy()


# ---- cases ----


def export(net, shape, way):
    opset, free, folding = way
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mode = torch.onnx.TrainingMode.EVAL if folding else torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(net, torch.zeros(2, *shape), file, opset_version=opset, training=mode, input_names=["x"],
                          do_constant_folding=folding, dynamic_axes={"x": {0: "n"}} if free else None)
    return onnx.load_from_string(file.getvalue())


def random_statistics(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.7, 1.3)


class Comparison:
    """Keeps the first thing that is wrong, and the largest error."""

    def __init__(self):
        self.wrong, self.largest, self.where, self.count = None, 0.0, "", 0

    def add(self, actual, expected, what):
        self.count += 1
        if actual.size != expected.size:
            self.wrong = self.wrong or f"{what} has {actual.size} numbers, expected {expected.size}"
            return
        scale = np.abs(expected).max()
        error = np.abs(actual.ravel().astype(np.float64) - expected.ravel()).max() / (scale or 1)
        if not error <= TOLERANCE:
            self.wrong = self.wrong or f"{what} is off by {error:.3g} of its scale, {scale:.3g}"
        if not error <= self.largest:
            self.largest, self.where = error, what


def check(run, folder, model, net, shape):
    """What is compared; its `wrong` is None where all agree."""
    comparison = Comparison()
    path, file = os.path.join(folder, "net.onnx"), os.path.join(folder, "x.npy")
    onnx.save(model, path)
    layers = sum(node.op_type in ("Conv", "Gemm", "Relu", "Clip") for node in model.graph.node)
    x = np.random.default_rng(5).standard_normal((2, *shape), dtype=np.float32)
    np.save(file, x)
    kind, message = run(path, "values", folder, [file])
    if kind != "ok":
        comparison.wrong = f"{kind}: {message}"
        return comparison
    named, expected = (evaluate_by_onnxruntime if onnxruntime else evaluate_by_pytorch)(model, x)
    with open(os.path.join(folder, "values.txt"), encoding="utf-8") as table:
        for line in table:
            index, name = line.rstrip("\n").split("\t")
            if name in named:
                comparison.add(np.load(os.path.join(folder, index + ".npy")), named[name], name)
    if comparison.count < layers and not comparison.wrong:
        comparison.wrong = f"only {comparison.count} values of {layers} layers were compared"
    ours = np.load(os.path.join(folder, "0.npy"))
    comparison.add(ours, expected, "the output")
    with torch.no_grad():
        comparison.add(ours, net(torch.from_numpy(x)).numpy(), "PyTorch's output")
    return comparison


def networks(build, folder):
    run, failed, passed, skipped = onnx_nodes.Runner(build), 0, 0, 0
    for name, (make, shape) in NETWORKS.items():
        torch.manual_seed(3)
        net = make().eval()
        random_statistics(net)
        number = list(NETWORKS).index(name)
        ways = WAYS if os.environ.get("TILEWISE_TEST_ALL") else SOME.get(name, [WAYS[(5 * number) % len(WAYS)]])
        for way in ways:
            words = f"{name}, opset {way[0]}, {'free' if way[1] else 'fixed'} batch, folding {way[2]}"
            try:
                model = export(net, shape, way)
            except torch.onnx.errors.OnnxExporterError as error:
                skipped += 1
                print(f"SKIP {words}: PyTorch cannot export it: {str(error).splitlines()[0][:80]}", flush=True)
                continue
            result = check(run, folder, model, net, shape)
            passed, failed = passed + (result.wrong is None), failed + (result.wrong is not None)
            print(f"FAIL {words}: {result.wrong}" if result.wrong else
                  f"{words}: {result.count} values, off by {result.largest:.2g} at most ({result.where})", flush=True)
    run.close()
    return passed, failed, skipped


def main():
    torch.set_num_threads(1)
    print("oracle: " + (f"onnxruntime {onnxruntime.__version__}" if onnxruntime else
                        f"PyTorch {torch.__version__} in float64, since this Python has no onnxruntime"), flush=True)
    with tempfile.TemporaryDirectory(prefix="tilewise-test-") as folder:
        passed, failed, skipped = networks(sys.argv[1], folder)
    suite = onnx_nodes.Suite(sys.argv[1])
    results = list(suite.results())
    suite.close()
    for r in results:
        passed, failed = passed + (r.state == "passed"), failed + (r.state == "failed")
        if r.state == "failed":
            print(f"FAIL {r.set}/{r.name}: {r.reason}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
