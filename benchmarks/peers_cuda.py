#!/usr/bin/env python3
"""Tilewise beside PyTorch on a CUDA GPU: the same networks, weights and inputs, interleaved in one process.

    benchmarks/peers_cuda.py --networks resnet50,vgg16 --batch 1,8,128 --precision fp32,tf32,fp16 --output cuda.json

Wants a Python with torch (for CUDA), onnx and numpy, and a build of Tilewise with CUDA (TILEWISE_LIBRARY names another
than build/release/libtilewise.so). Each network is written as ONNX with seeded random weights and read back into a
PyTorch module of ordinary layers; PyTorch runs it in each of the modes asked for:

    graph         eager, NCHW, captured into a CUDA graph
    channels_last the same in channels-last
    compile       torch.compile(mode="reduce-overhead") with freezing, channels-last
    max_autotune  torch.compile(mode="max-autotune") with freezing, channels-last

torch.compile copies its input into its CUDA graph's own at each replay: of 128 images of 224x224 some 0.05 ms in fp32.

Times are device times between CUDA events around one replay, inputs and outputs in device memory, without the gap in
which the device waits for the host: PyTorch's events follow a kernel that is still asleep when the host has launched
all, Tilewise's lie in its graph. Each round runs every
program, begun by another one. The ratio is Tilewise's median over the best mode's: below 1, Tilewise is faster."""
import argparse
import math
import os
import platform
import shlex
import statistics
import sys
import tempfile

import peers

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "python"))

NETWORKS = ["lenet5", "alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0"]
MODES = ["graph", "channels_last", "compile", "max_autotune"]
PRECISIONS = ["fp32", "tf32", "fp16", "bf16"]
TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}  # whole networks, of the output's scale


def module_of(path, torch):
    """The ONNX file as a PyTorch module: one layer a node, in order."""
    import onnx
    from onnx import numpy_helper
    from torch import nn
    graph = onnx.load(path).graph
    constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}

    def square(values, what):
        if values[:2] != values[2:]:
            raise ValueError(f"{what}: asymmetric padding {values}")
        return tuple(values[:2])

    def convolution(node, a):
        w = constants[node.input[1]]
        bias = constants[node.input[2]] if len(node.input) > 2 else None
        pads = a.get("pads", [0, 0, 0, 0])
        symmetric = pads[:2] == pads[2:]
        groups = a.get("group", 1)
        layer = nn.Conv2d(w.shape[1] * groups, w.shape[0], tuple(w.shape[2:]), tuple(a.get("strides", [1, 1])),
                          tuple(pads[:2]) if symmetric else 0, tuple(a.get("dilations", [1, 1])), groups,
                          bias is not None)
        layer.weight.data = w
        if bias is not None:
            layer.bias.data = bias
        return layer if symmetric else nn.Sequential(nn.ZeroPad2d((pads[1], pads[3], pads[0], pads[2])), layer)

    def normalization(node, a):
        gamma, beta, mean, variance = (constants[name] for name in node.input[1:5])
        layer = nn.BatchNorm2d(len(gamma), eps=a.get("epsilon", 1e-5))
        layer.weight.data, layer.bias.data = gamma, beta
        layer.running_mean, layer.running_var = mean, variance
        return layer

    def linear(node, a):
        w = constants[node.input[1]]
        w = w if a.get("transB", 0) else w.T.contiguous()
        layer = nn.Linear(w.shape[1], w.shape[0], len(node.input) > 2)
        layer.weight.data = w
        if len(node.input) > 2:
            layer.bias.data = constants[node.input[2]]
        return layer

    def clip(node, _):
        low, high = (float(constants[name]) for name in node.input[1:3])
        return nn.Hardtanh(low, high)

    def max_pool(node, a):
        return nn.MaxPool2d(tuple(a["kernel_shape"]), tuple(a.get("strides", [1, 1])),
                            square(a.get("pads", [0, 0, 0, 0]), node.name), ceil_mode=bool(a.get("ceil_mode", 0)))

    def average_pool(node, a):
        return nn.AvgPool2d(tuple(a["kernel_shape"]), tuple(a.get("strides", [1, 1])),
                            square(a.get("pads", [0, 0, 0, 0]), node.name), bool(a.get("ceil_mode", 0)),
                            bool(a.get("count_include_pad", 0)))

    makers = {"Conv": convolution, "BatchNormalization": normalization, "Gemm": linear, "Clip": clip,
              "MaxPool": max_pool, "AveragePool": average_pool, "Relu": lambda *_: nn.ReLU(),
              "GlobalAveragePool": lambda *_: nn.AdaptiveAvgPool2d(1), "Flatten": lambda *_: nn.Flatten(),
              "Reshape": lambda *_: nn.Flatten(), "Dropout": lambda *_: nn.Identity(),
              "Identity": lambda *_: nn.Identity(), "Softmax": lambda *_: nn.Softmax(dim=1)}
    root, trace = nn.Module(), torch.fx.Graph()
    values = {graph.input[0].name: trace.placeholder("x")}
    for i, node in enumerate(graph.node):
        inputs = [values[name] for name in node.input if name in values]
        if node.op_type == "Add":
            made = trace.call_function(torch.add, tuple(inputs))
        elif node.op_type == "Concat":
            made = trace.call_function(torch.cat, (inputs, 1))
        else:
            a = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            root.add_module(f"layer{i}", makers[node.op_type](node, a))
            made = trace.call_module(f"layer{i}", (inputs[0],))
        values[node.output[0]] = made
    trace.output(values[graph.output[0].name])
    return torch.fx.GraphModule(root, trace).eval()


class PyTorch:
    """One mode: replay() runs it once and gives the device's seconds."""

    def __init__(self, torch, path, x, precision, mode):
        self.torch = torch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
        layout = torch.contiguous_format if mode == "graph" else torch.channels_last
        model = module_of(path, torch).cuda().to(dtype=dtype, memory_format=layout)
        self.input = torch.from_numpy(x).cuda().to(dtype=dtype, memory_format=layout)
        self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.backends.cudnn.benchmark = True  # compiled modules call cuDNN too
        if mode in ("graph", "channels_last"):
            self.capture(model)
            return
        import torch._inductor.config
        torch._inductor.config.freezing = True
        compiled = torch.compile(model, mode="reduce-overhead" if mode == "compile" else "max-autotune")
        self.step = lambda: compiled(self.input)
        with torch.inference_mode():
            for _ in range(4):
                self.output = self.step()

    def capture(self, model):
        torch = self.torch
        stream = torch.cuda.Stream()
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):
                model(self.input)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                self.output = model(self.input)
        self.model, self.graph, self.step = model, graph, graph.replay

    def replay(self):
        with self.torch.inference_mode():
            self.torch.cuda._sleep(500_000)  # cycles: the device is busy while the host launches: no gap after the event
            self.begin.record()
            result = self.step()
            self.end.record()
        self.end.synchronize()
        if result is not None:
            self.output = result
        return 1e-3 * self.begin.elapsed_time(self.end)

    def result(self):
        """Of a run just now: compiled modules share their CUDA graphs' memory, so that another one's run has
        overwritten what this one gave, and PyTorch refuses to read it."""
        self.replay()
        return self.output.float().cpu().numpy()


class Tilewise:
    def __init__(self, tilewise, device, path, x, precision):
        self.plan = tilewise.Plan(tilewise.Graph.onnx(path), device, batch=len(x), precision=precision)
        self.x = x

    def replay(self):
        self.output = self.plan.run(self.x)
        return self.plan.times.device

    def result(self):
        return self.output


def measure(programs, rounds, replays):
    samples = [[] for _ in programs]
    for turn in range(rounds):
        order = [(turn + i) % len(programs) for i in range(len(programs))]
        for i in order:
            for _ in range(max(2, replays // 10)):
                programs[i].replay()
            samples[i] += [programs[i].replay() for _ in range(replays)]
    return samples


def describe(samples):
    ordered = sorted(samples)

    def at(p):
        return 1e3 * ordered[min(len(ordered) - 1, int(p * len(ordered)))]

    mean = statistics.fmean(samples)
    return {"samples": len(samples), "min_ms": at(0), "median_ms": 1e3 * statistics.median(samples),
            "mean_ms": 1e3 * mean, "p90_ms": at(0.9), "p99_ms": at(0.99), "cv": statistics.pstdev(samples) / mean}


def errors(outputs):
    """Each against the first: the largest difference, of the first's scale."""
    import numpy as np
    scale = float(np.abs(outputs[0]).max()) if outputs else 1
    return [float(np.abs(output - outputs[0]).max()) / scale for output in outputs]


def compare(context, network, batch, precision):
    torch, tilewise, device, options, folder = context
    import numpy as np
    path = os.path.join(folder, f"{network}.onnx")
    if not os.path.exists(path):
        graph = tilewise.Graph.zoo(network)
        graph.init(seed=1, scheme="kaiming", random_statistics=False)
        graph.save_onnx(path)
    shape = tilewise.Plan(tilewise.Graph.onnx(path), tilewise.Device("cpu"), batch=1).inputs[0]
    x = np.random.default_rng(7).uniform(-1, 1, (batch, *shape[1:])).astype(np.float32)
    if precision in ("fp16", "bf16"):  # what a half can hold, so that all read the same numbers
        dtype = torch.float16 if precision == "fp16" else torch.bfloat16
        x = torch.from_numpy(x).to(dtype).float().numpy()
    programs, rows = [], []
    for name, make in [("tilewise", lambda: Tilewise(tilewise, device, path, x, precision))] + [
            (f"torch {mode}", lambda mode=mode: PyTorch(torch, path, x, precision, mode)) for mode in options.modes]:
        row = {"device": device.info.id, "model": network, "batch": batch, "precision": precision, "program": name,
               "status": "ok"}
        try:
            program = make()
            program.replay()
            programs.append((program, row))
        except Exception as problem:  # a program that cannot run is a row that says so
            text = str(problem).strip().splitlines() or [type(problem).__name__]
            row.update(status="failed", reason=text[0][:300])
        rows.append(row)
    for (program, row), samples in zip(programs, measure([p for p, _ in programs], options.rounds, options.replays)):
        row.update(describe(samples))
    for (program, row), error in zip(programs, errors([program.result() for program, _ in programs])):
        row["max_rel_err"] = error
        if not error <= TOLERANCES[precision]:
            first = programs[0][1]["program"]
            row.update(status="incorrect", reason=f"differs from {first} by {error:.2g} of the scale")
    return rows


def ratio(rows):
    own = [row for row in rows if row.get("program") == "tilewise" and row["status"] == "ok"]
    others = [row for row in rows if row.get("program") != "tilewise" and row["status"] == "ok"]
    if not own or not others:
        return None
    best = min(others, key=lambda row: row["median_ms"])
    return own[0]["median_ms"], best["median_ms"], best["program"], own[0]["median_ms"] / best["median_ms"]


def print_group(network, batch, precision, rows):
    found = ratio(rows)
    if not found:
        print(f"{network:20s} {batch:4d} {precision}  " + "; ".join(f"{r['program']}: {r.get('reason', r['status'])}"
                                                                  for r in rows if r["status"] != "ok"), flush=True)
        return
    own, best, name, value = found
    wrong = "".join(f"  {r['program']}: {r['reason']}" for r in rows if r["status"] != "ok")
    print(f"{network:20s} {batch:4d} {precision}  tilewise {own:9.4f} ms  best {best:9.4f} ms ({name})  ratio {value:.3f}"
          + wrong, flush=True)


def print_means(groups):
    """The speed-up's geometric mean over the networks, LeNet-5 apart."""
    means = {}
    for (network, batch, precision), rows in groups.items():
        found = ratio(rows)
        if found and network != "lenet5":
            means.setdefault((precision, batch), []).append(1 / found[3])
    for (precision, batch), values in sorted(means.items()):
        mean = math.exp(statistics.fmean(math.log(value) for value in values))
        print(f"{precision} batch {batch}: {mean:.2f} times PyTorch's best mode, geometric mean of {len(values)} networks")


def listed(known):
    def parse(text):
        items = text.split(",")
        for item in items:
            if item not in known:
                raise argparse.ArgumentTypeError(f"unknown \"{item}\": expected some of {', '.join(known)}")
        return items
    return parse


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: expected 1 or more")
    return value


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", type=listed(NETWORKS), default=NETWORKS)
    parser.add_argument("--batch", type=lambda text: [positive(item) for item in text.split(",")], default=[1, 8, 128])
    parser.add_argument("--precision", type=listed(PRECISIONS), default=PRECISIONS[:3])
    parser.add_argument("--modes", type=listed(MODES), default=MODES)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--replays", type=positive, default=30, help="of each program in each round (30)")
    parser.add_argument("--output", help="JSON with a row for each program, written after each case")
    return parser.parse_args()


def write(path, rows, torch, tilewise, device):
    info = device.info
    result = {"tilewise": tilewise.__version__, "host": {"system": platform.platform()},
              "devices": [{"id": info.id, "name": info.name, "features": info.features}],
              "peers": {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version()},
              "command": shlex.join(["benchmarks/peers_cuda.py", *sys.argv[1:]]), "rows": rows}
    peers.write_json(path, result)


def main():
    options = parse()
    try:
        if options.output:
            peers.check_output(options.output)
        import onnx  # noqa: F401: module_of() needs it, and says so late
        import torch
        import tilewise
        device = tilewise.Device("cuda")
    except Exception as problem:  # whatever is missing, one line says it
        sys.exit(f"peers_cuda.py: {problem}")
    groups = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            for precision in options.precision:
                for batch in options.batch:
                    rows = compare((torch, tilewise, device, options, folder), network, batch, precision)
                    groups[network, batch, precision] = rows
                    print_group(network, batch, precision, rows)
                    if options.output:
                        write(options.output, [row for rows in groups.values() for row in rows], torch, tilewise, device)
    print_means(groups)


if __name__ == "__main__":
    main()
