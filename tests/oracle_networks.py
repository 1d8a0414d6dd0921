"""Whole networks against PyTorch, layer by layer. From the same random weights and the same input, every value that a
run keeps must be within 1e-4 of the layer's scale: the largest magnitude of its reference, computed in float64.

    tests/oracle_networks.py BUILD_DIR [--quick] [NAME...]
"""
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's threads spin for each other: minutes on a busy machine

try:
    import numpy as np
    import torch
    import torchvision
    from torch import nn
    from efficientnet_lite import EfficientNetLite, other_names
except ImportError as missing:
    print(f"SKIP networks: {missing}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

TOLERANCE = 1e-4
TIMEOUT = 120  # seconds for one run of ours

# network, batch, image size (None: its own), whether in the quick subset
CASES = [
    ("lenet5", 1, None, True), ("lenet5", 3, 45, True),
    ("alexnet", 1, None, False), ("alexnet", 2, 79, False),
    ("vgg11", 1, 64, False), ("vgg11_bn", 1, 45, False), ("vgg13", 1, 33, False), ("vgg13_bn", 1, 32, False),
    ("vgg16", 1, None, False), ("vgg16_bn", 1, 33, False), ("vgg19", 1, 32, False), ("vgg19_bn", 1, 50, False),
    ("vgg_cifar", 2, None, False),
    ("resnet18", 1, None, True), ("resnet18", 2, 97, False), ("resnet34", 1, 64, False), ("resnet50", 1, None, False),
    ("resnet101", 1, 65, False), ("resnet152", 1, 64, False),
    ("mobilenet_v2", 1, None, True), ("mobilenet_v2", 2, 101, False),
    ("squeezenet1_0", 1, None, False), ("squeezenet1_1", 2, 95, True), ("squeezenet", 1, None, False),
    ("efficientnet_lite0", 1, None, True), ("efficientnet_lite0", 2, 123, False),
    ("efficientnet_lite1", 1, None, False), ("efficientnet_lite2", 1, None, False),
    ("efficientnet_lite3", 1, 141, False), ("efficientnet_lite4", 1, 150, False),
]


class LeNet5(nn.Module):
    def __init__(self, size):
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)
        self.conv2, self.relu2, self.pool2 = nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
        self.fc1, self.relu3 = nn.Linear(16 * side * side, 120), nn.ReLU()
        self.fc2, self.relu4, self.fc3 = nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        return self.fc3(self.relu4(self.fc2(self.relu3(self.fc1(torch.flatten(x, 1))))))


class VggCifar(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torchvision.models.vgg.make_layers([128, 128, "M", 256, 256, "M", 512, 512, "M"])
        self.classifier = nn.Sequential(nn.Linear(8192, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096),
                                        nn.ReLU(), nn.Dropout(), nn.Linear(4096, 10))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


# ---- the reference ----


def build(name, size):
    """The network without the cost of its own initialisation; randomise() follows."""
    kept = {key: value for key, value in vars(nn.init).items() if key.endswith("_") and callable(value)}
    for key in kept:
        setattr(nn.init, key, lambda tensor, *args, **kwargs: tensor)
    try:
        if name == "lenet5":
            net = LeNet5(size or 32)
        elif name == "vgg_cifar":
            net = VggCifar()
        elif name.startswith("efficientnet_lite"):
            net = EfficientNetLite(int(name[-1]))
        else:
            net = getattr(torchvision.models, "squeezenet1_1" if name == "squeezenet" else name)(weights=None)
    finally:
        for key, value in kept.items():
            setattr(nn.init, key, value)
    return net.eval()


@torch.no_grad()
def randomise(net, x, generator):
    """He's weights, and batch norms of which no number could be dropped unnoticed. Their variances follow the signal
    of x, layer by layer: else a deep network of relu6 saturates and each layer doubles every rounding error. They do so
    by layer and not by channel, and means stay near zero: a channel whose sums cancel would be blown up to the scale of
    the others, rounding errors and all. PyTorch's own float32 loses 1e-4 in both ways, and 2e-6 in this one."""

    def around(like, low, high):
        return torch.empty_like(like).uniform_(low, high, generator=generator)

    def follow(norm, inputs):
        square = inputs[0].square().mean()
        norm.running_var.copy_(square * around(norm.running_var, 0.5, 1.5))
        norm.running_mean.copy_(square.sqrt() * around(norm.running_mean, -0.2, 0.2))

    for name, tensor in net.named_parameters():
        if tensor.dim() > 1:
            bound = (6 / tensor[0].numel()) ** 0.5
            tensor.copy_(around(tensor, -bound, bound))
        else:
            tensor.copy_(around(tensor, 0.5, 1.5) if name.endswith("weight") else around(tensor, -0.2, 0.2))
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(follow) for norm in norms]
    if norms:
        net(x)
    for hook in hooks:
        hook.remove()


def watch(net, values):
    """Notes what every module gives, under the names of the layers in our graphs."""

    def note(name, value):
        calls = 1
        while (name if calls == 1 else f"{name}_{calls}") in values:
            calls += 1
        values[name if calls == 1 else f"{name}_{calls}"] = value.detach().clone()

    for name, module in net.named_modules():
        if getattr(module, "inplace", False):
            module.inplace = False
        kind = type(module).__name__
        if kind == "Fire":
            module.register_forward_hook(lambda m, x, y, name=name: note(name + ".concat", y))
        elif kind in ("InvertedResidual", "Separable", "Inverted"):
            if getattr(module, "use_res_connect", False) or getattr(module, "residual", False):
                module.register_forward_hook(lambda m, x, y, name=name: note(name + ".add", y))
        elif kind in ("BasicBlock", "Bottleneck"):
            watch_last_call(module, name, note)
        if not isinstance(module, (nn.Sequential, nn.ModuleList)) and (
                next(module.children(), None) is None or isinstance(module, nn.BatchNorm2d)):
            module.register_forward_hook(lambda m, x, y, name=name: note(name, y))
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda m, x: None if "flatten" in values else note("flatten", x[0]))


def watch_last_call(block, name, note):
    """The sum of a residual block is what its relu is given last."""
    calls = [0, 3 if type(block).__name__ == "Bottleneck" else 2]

    def before(module, inputs):
        calls[0] += 1
        if calls[0] == calls[1]:
            note(name + ".add", inputs[0])

    block.relu.register_forward_pre_hook(before)


@torch.no_grad()
def reference(net, x):
    """Every value in float64, by its name."""
    values = {"input": x.double()}
    net.double()
    watch(net, values)
    output = net(x.double())
    if "flatten" not in values:  # SqueezeNet: no linear layer behind it
        values["flatten"] = output
    if "avgpool" not in values:  # MobileNetV2: a function, not a module
        flat = values["flatten"]
        values["avgpool"] = flat.reshape(*flat.shape, 1, 1)
    return output.numpy(), {name: value.numpy() for name, value in values.items()}


# ---- ours ----


class Mismatch(Exception):
    pass


def run(binary, folder, name, batch, size):
    command = [binary, "run", name, "--weights", f"{folder}/weights.pth", "--input", f"{folder}/x.npy", "--output",
               f"{folder}/y.npy", "--dump-layers", f"{folder}/layers", "--batch", str(batch), "--threads", "2"]
    if size:
        command += ["--image-size", str(size)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Mismatch(f"still running after {TIMEOUT} s") from None
    if result.returncode != 0:
        raise Mismatch(f"exit {result.returncode}: {result.stderr.strip()}")


def error_of(ours, theirs):
    """Relative to the layer's scale; NaN where anything is."""
    scale = np.abs(theirs).max()
    return float(np.abs(ours.astype(np.float64) - theirs).max() / (scale if scale > 0 else 1))


def compare(folder, output, values, steps):
    """The largest error and its layer. `steps`: how many values a run keeps at least."""
    worst, where, compared = 0.0, "", 0
    pairs = [("y.npy", output, f"{folder}/y.npy")]
    for entry in sorted(os.listdir(f"{folder}/layers")):
        value = entry[:-len(".npy")]
        if value not in values:
            raise Mismatch(f"a value {value} that PyTorch does not have")
        pairs.append((value, values[value], f"{folder}/layers/{entry}"))
        compared += 1
    for value, theirs, path in pairs:
        ours = np.load(path)
        if ours.shape != theirs.shape or ours.dtype != np.float32:
            raise Mismatch(f"{value}: {ours.dtype} {ours.shape}, expected float32 {theirs.shape}")
        error = error_of(ours, theirs)
        if not error <= TOLERANCE:
            raise Mismatch(f"{value}: off by {error:.3g} of its scale, allowed {TOLERANCE:g}")
        if error >= worst:
            worst, where = error, value
    if compared < steps:
        raise Mismatch(f"{compared} values kept, expected {steps} or more")
    return worst, where, compared


def check(binary, case, renamed=False):
    name, batch, size, _ = case
    generator = torch.Generator().manual_seed(7)
    net = build(name, size)
    side = size or {"lenet5": 32, "vgg_cifar": 32, "efficientnet_lite1": 240, "efficientnet_lite2": 260}.get(name, 224)
    x = torch.randn(batch, 1 if name == "lenet5" else 3, side, side, generator=generator)
    randomise(net, x, generator)
    steps = sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in net.modules())
    with tempfile.TemporaryDirectory() as folder:
        state = other_names(net.state_dict()) if renamed else net.state_dict()
        torch.save(state, f"{folder}/weights.pth", _use_new_zipfile_serialization=not renamed)
        np.save(f"{folder}/x.npy", x.numpy())
        run(binary, folder, name, batch, size)
        output, values = reference(net, x)
        return compare(folder, output, values, steps)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--quick"]
    if not arguments:
        sys.exit(__doc__)
    binary, names = os.path.join(arguments[0], "tilewise"), arguments[1:]
    quick = "--quick" in sys.argv
    torch.set_num_threads(2)
    jobs = [(case, False) for case in CASES] + [(("efficientnet_lite0", 1, 64, True), True)]
    jobs = [job for job in jobs if (not quick or job[0][3]) and (not names or job[0][0] in names)]
    passed = failed = 0
    for case, renamed in jobs:
        label = f"{case[0]} batch {case[1]}" + (f" at {case[2]}" if case[2] else "")
        label += ", EfficientNet-PyTorch's names in a legacy file" if renamed else ""
        try:
            worst, where, compared = check(binary, case, renamed)
            print(f"{label}: {compared} values, worst {worst:.2g} at {where}", flush=True)
            passed += 1
        except (Mismatch, OSError, ValueError) as problem:
            print(f"FAIL {label}: {problem}", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
