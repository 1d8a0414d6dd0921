#!/usr/bin/env python3
"""What Tilewise sets itself on a GPU, beside comparisons with others: each target measured, and met or not.

    benchmarks/targets_cuda.py --output targets.json
    benchmarks/targets_cuda.py --only growth,memory --precision fp16 --networks resnet50,vgg16

Wants NumPy, a build of Tilewise with CUDA (TILEWISE_LIBRARY names another than build/release/libtilewise.so; the
program `tilewise` is looked for beside it) and, for the peaks of compute and linear, torch for CUDA. Sections:

    startup    process start to the first prediction of EfficientNet-Lite0, less the time that a bare context takes
    memory     on the device, beyond the context, against packed weights and arena as the plan states them
    p99        ResNet-50 at batch 1 and 8, 99th percentile over median
    accuracy   every design against the double-precision reference; photographs' classes against the CPU's
    linear     a linear layer of one image, weights beyond any cache, of the bandwidth of reading
    compute    large convolutions of VGG-16, of a matrix product's rate (tf32, fp16) or the multiply-add peak (fp32)
    bandwidth  pooling, activation, add and depthwise layers with large tensors, of the bandwidth of copying
    depth      ResNet-152 and VGG-19, time a FLOP over that of ResNet-50 and VGG-16
    sizes      odd image sizes, FLOP/s over the neighbouring even size's
    growth     milliseconds an image from batch 1 to 256, which must not rise

Times of networks are the device's own, between events around a replay. Times of single layers are those of a profiled
plan, so that no reference, which would take minutes, has to be computed for them.
What is not begun within --budget seconds is a row that says so. Exit status: 0 all met; 1 not all; 2 bad usage, or
something that it wants is missing; 130 interrupted."""
import argparse
import ctypes
import json
import math
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import peers
from peers_cuda import NETWORKS, PRECISIONS, listed, positive

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 2**20
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
DEPTHS = [("resnet152", "resnet50"), ("vgg19", "vgg16")]
SIZES = [(161, 160), (191, 192), (225, 224), (299, 300), (333, 332), (447, 448)]  # odd, its even neighbour
ERRORS = {"fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 1.6e-2}  # of the layer's scale
WINOGRAD_ERROR = 1e-4  # in fp32
YARDSTICKS = {"cudnn", "cublas", "openblas"}
BANDWIDTH_PCT = {"pooling": 90, "activation": 90, "add": 90, "depthwise": 80}


# ---- the driver, as it is without Tilewise ----


class Driver:
    """A context by the driver's own interface, and what is free on the device; on the CPU this process' memory."""

    def __init__(self, device):
        self.index = int(device.partition(":")[2] or 0) if device.startswith("cuda") else None
        if self.index is None:
            return
        self.cuda = ctypes.CDLL("libcuda.so.1")
        handle, self.context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(handle), self.index)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), handle)
        self.call("cuCtxSetCurrent", self.context)

    def call(self, name, *arguments):
        failure = getattr(self.cuda, name)(*arguments)
        if failure:
            raise peers.Problem(f"{name} returns {failure}")

    def used(self):
        if self.index is None:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuCtxSetCurrent", self.context)
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value


def child_context(device):
    """Seconds until a process that does nothing else has a context. What starting Python took is not in it, as it is in
    no C program: so the figure is, if anything, too small by what starting a bare C program takes."""
    start = time.perf_counter()
    Driver(device)
    return time.perf_counter() - start


def child_memory(device, network, precisions, batches):
    """Of each plan, created and run alone: bytes beyond the bare context. The kernels' code that earlier plans of this
    process loaded stays loaded and counts."""
    driver = Driver(device)
    before = driver.used()
    import numpy
    import tilewise
    opened = tilewise.Device(device)
    graph = tilewise.Graph.zoo(network).init(seed=1)
    found = []
    for precision in precisions:
        for batch in batches:
            with tilewise.Plan(graph, opened, batch=batch, precision=precision) as plan:
                plan.run(numpy.zeros(plan.inputs[0], numpy.float32))
                found.append({"batch": batch, "precision": precision, "used": driver.used() - before,
                              "planned": plan.info.packed_bytes + plan.info.arena_bytes})
    return found


CHILDREN = {"context": child_context, "memory": child_memory}


def in_child(name, *arguments):
    """A function of CHILDREN in a process of its own."""
    text = peers.command([sys.executable, os.path.abspath(__file__), "--child", name, json.dumps(arguments)])
    return json.loads(text)


# ---- peaks ----


def numpy_rate(work, function):
    """The stand-in for a GPU's: work a second, best of five."""
    def once():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    return work / min(once() for _ in range(5))


def torch_rate(torch, work, function):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def once():
        begin.record()
        function()
        end.record()
        end.synchronize()
        return 1e-3 * begin.elapsed_time(end)
    for _ in range(3):
        once()
    return work / min(once() for _ in range(10))


class Peaks:
    """Rates of this device, measured when first asked for."""

    def __init__(self, bench):
        self.bench, self.cache = bench, {}
        self.gpu = bench.options.device.startswith("cuda")

    def once(self, key, measure):
        if key not in self.cache:
            self.cache[key] = measure()
        return self.cache[key]

    def device(self, column):
        def measure():
            rows = json.loads(peers.command([self.bench.program, "devices", "--measure", "-o", "json"]))["rows"]
            return {row["device"]: row for row in rows}[self.bench.device.info.id]
        return 1e9 * self.once("device", measure)[column]

    @property
    def copy(self):
        return self.device("peak_gbps")

    @property
    def multiply_add(self):
        return self.device("peak_gflops")

    def torch(self):
        try:
            import torch
        except ImportError as problem:
            raise peers.Problem(f"a peak is measured with torch: {problem}")
        if not torch.cuda.is_available():
            raise peers.Problem("a peak is measured with torch, which sees no GPU")
        torch.cuda.set_device(int(self.bench.options.device.partition(":")[2] or 0))
        return torch

    def matmul(self, precision):
        """Operations a second of a square product: of 8,192 by cuBLAS."""
        def measure():
            if not self.gpu:
                a = self.bench.random((1024, 1024))
                return numpy_rate(2 * 1024**3, lambda: a @ a)
            torch, n = self.torch(), 8192
            torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
            dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
            a = torch.rand((n, n), device="cuda", dtype=dtype) - 0.5
            return torch_rate(torch, 2 * n**3, lambda: torch.matmul(a, a))
        return self.once(("matmul", precision), measure)

    @property
    def read(self):
        """Bytes a second of reading 2 GiB: the best of a sum, a maximum, a matrix times a vector, and what copying
        moves both ways. A kernel written for nothing else may read a little faster."""
        def measure():
            if not self.gpu:
                x = self.bench.random((2**24,))
                return max(numpy_rate(x.nbytes, x.sum), self.copy)
            torch = self.torch()
            x = torch.rand((2**14, 2**15), device="cuda")
            y = torch.rand(2**15, device="cuda")
            ways = [lambda: x.sum(), lambda: x.amax(), lambda: torch.mv(x, y)]
            return max(self.copy, *[torch_rate(torch, 4 * x.numel(), way) for way in ways])
        return self.once("read", measure)


# ---- measuring ----


class Bench:
    def __init__(self, options, tilewise, numpy, folder):
        self.options, self.tilewise, self.numpy, self.folder = options, tilewise, numpy, folder
        self.device = tilewise.Device(options.device)
        self.library = os.path.abspath(tilewise.native.library._name)
        self.program = os.path.join(os.path.dirname(self.library), "tilewise")
        if not os.path.exists(self.program):
            raise peers.Problem(f"{self.program}: not there: set TILEWISE_LIBRARY to a build's, which has both")
        os.environ["TILEWISE_LIBRARY"] = self.library  # the children's too
        self.peaks = Peaks(self)
        self.graphs, self.inputs, self.rows = {}, {}, []
        self.start = time.monotonic()

    # ---- rows ----

    def row(self, target, what, status, **fields):
        row = {"device": self.device.info.id, "model": None, "batch": None, "precision": None, "status": status,
               "target": target, "what": what}
        row.update(fields)
        self.rows.append({key: None if isinstance(value, float) and not math.isfinite(value) else value
                          for key, value in row.items()})  # JSON has neither NaN nor infinity

    def judge(self, target, what, measured, limit, unit, *, least=False, **fields):
        """A line and a row. NaN meets nothing."""
        met = measured >= limit if least else measured <= limit
        sense = "at least" if least else "at most"
        print(f"{target:9s}  {what:58s} {measured:10.4g} {unit}, {sense} {limit:.4g}: {'met' if met else 'NOT MET'}",
              flush=True)
        self.row(target, what, "ok", measured=measured, limit=limit, unit=unit, sense=sense, met=met, **fields)

    def case(self, target, what, measure):
        """What cannot be measured is a line and a row with the reason."""
        if time.monotonic() - self.start > self.options.budget:
            status, reason = "not_run", f"the {self.options.budget:g} seconds of --budget were over"
        else:
            try:
                return measure()
            except (peers.Problem, self.tilewise.TilewiseError) as problem:
                status, reason = "failed", str(problem)
            except Exception as problem:  # of torch, say: the other cases are worth their time
                status, reason = "failed", f"{type(problem).__name__}: {problem}"
        print(f"{target:9s}  {what:58s} {status}: {reason}", flush=True)
        self.row(target, what, status, reason=reason)

    # ---- plans and times ----

    def random(self, shape):
        return self.numpy.random.default_rng(7).random(shape, self.numpy.float32) - 0.5

    def graph(self, name, image_size=0):
        """One of each is kept: large networks take seconds to fill."""
        key = name, image_size
        if key not in self.graphs:
            self.graphs[key] = self.tilewise.Graph.zoo(name, image_size=image_size).init(seed=1, scheme="kaiming")
        return self.graphs[key]

    def plan(self, graph, batch, precision, **how):
        return self.tilewise.Plan(graph, self.device, batch=batch, precision=precision, **how)

    def input(self, shape):
        """Of a few images, repeated: no time depends on them."""
        key = shape[1:]
        if key not in self.inputs or len(self.inputs[key]) < shape[0]:
            images = self.random((min(shape[0], 8), *key))
            self.inputs[key] = self.numpy.resize(images, shape)
        return self.inputs[key][:shape[0]]

    def times(self, plan, replays):
        """Milliseconds of each replay by the device's clock, where it has one, and by the host's."""
        x, device, host = self.input(plan.inputs[0]), [], []
        for _ in range(3):
            plan.run(x)
        for _ in range(replays):
            start = time.perf_counter()
            plan.run(x)
            host.append(1e3 * (time.perf_counter() - start))
            seconds = plan.times.device
            device.append(host[-1] if math.isnan(seconds) else 1e3 * seconds)
        return self.describe(device), self.describe(host)

    def describe(self, samples):
        low, middle, high = self.numpy.percentile(samples, [10, 50, 90])
        return dict(peers.describe(samples), spread=float((high - low) / middle))

    def time(self, graph, batch, precision):
        with self.plan(graph, batch, precision) as plan:
            samples, _ = self.times(plan, self.options.replays)
        return samples

    def layers(self, network, precision, batch, **how):
        """The steps of a plan, each problem and design once, with the median of its times in seconds."""
        found = {}
        with self.plan(self.graph(network), batch, precision, **how) as plan:
            x, steps = self.input(plan.inputs[0]), plan.steps
            for turn in range(2 + self.options.profiles):
                _, seconds = plan.profile(x)
                for step, one in zip(steps, seconds if turn >= 2 else []):
                    found.setdefault((step.problem, step.design), (step, []))[1].append(float(one))
        return [(step, statistics.median(seconds)) for step, seconds in found.values()]


# ---- sections ----


def startup(bench):
    """The time until the output's file is there, which is renamed to its name when it is whole; and until the end of
    the process, which also tears the context down. Turns are interleaved; the first of each warms the file cache."""
    model, x, y = (os.path.join(bench.folder, name) for name in ("startup.onnx", "x.npy", "y.npy"))

    def predict():
        start = time.perf_counter()
        with subprocess.Popen([bench.program, "run", model, "--no-tune", "--device", bench.options.device, "--input", x,
                               "--output", y], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as process:
            while not os.path.exists(y) and process.poll() is None:
                time.sleep(2e-4)
            first = time.perf_counter() - start
            said = process.stderr.read()
        end = time.perf_counter() - start
        if process.returncode != 0:
            raise peers.Problem(f"tilewise run: {peers.last_line(said)}")
        os.remove(y)
        return first, end

    def measure():
        graph = bench.graph("efficientnet_lite0")
        graph.save_onnx(model)
        bench.numpy.save(x, bench.input(graph.inputs[0]))
        runs, bare = [], []
        for _ in range(bench.options.starts + 1):
            bare.append(in_child("context", bench.options.device))
            runs.append(predict())
        first, end = (1e3 * statistics.median(run[i] for run in runs[1:]) for i in range(2))
        context = 1e3 * statistics.median(bare[1:])
        bench.judge("startup", "efficientnet_lite0 beyond a bare context", first - context, 150, "ms",
                    model="efficientnet_lite0", batch=1, precision="fp32", samples=bench.options.starts,
                    first_prediction_ms=first, process_ms=end, context_ms=context)

    bench.case("startup", "efficientnet_lite0", measure)


def memory(bench):
    def measure(network):
        options = bench.options
        for found in in_child("memory", options.device, network, options.precision, options.memory_batch):
            limit = 1.1 * found["planned"] + 64 * MIB
            bench.judge("memory", f"{network} {found['precision']} batch {found['batch']}", found["used"] / MIB,
                        limit / MIB, "MiB", model=network, batch=found["batch"], precision=found["precision"],
                        used_bytes=found["used"], planned_bytes=found["planned"])

    for network in bench.options.networks:
        bench.case("memory", network, lambda network=network: measure(network))


def p99(bench):
    def measure(precision, batch):
        with bench.plan(bench.graph("resnet50"), batch, precision) as plan:
            device, host = bench.times(plan, bench.options.tail_replays)
        bench.judge("p99", f"resnet50 {precision} batch {batch}", device["p99_ms"] / device["median_ms"], 1.2,
                    "times the median", model="resnet50", batch=batch, precision=precision, **device,
                    host_median_ms=host["median_ms"], host_p99_ms=host["p99_ms"])

    for precision in bench.options.precision:
        for batch in (1, 8):
            bench.case("p99", f"resnet50 {precision} batch {batch}", lambda p=precision, b=batch: measure(p, b))


def run_program(arguments):
    """What a command printed as JSON; a failed check, status 1, has printed all the same."""
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if result.returncode not in (0, 1):
        raise peers.Problem(f"{shlex.join(arguments[1:3])}: {peers.last_line(result.stderr)}")
    return json.loads(result.stdout)["rows"]


def accuracy(bench):
    def allowed(row):
        precision = row["precision"]
        return WINOGRAD_ERROR if precision == "fp32" and row["design"] == "winograd" else ERRORS[precision]

    def error(row):
        """A wrong result may have no number: then it is worse than any."""
        return row["max_rel_err"] if row["max_rel_err"] is not None else math.inf

    def designs(precision):
        worst = {}
        for row in run_program([bench.program, "verify", "--device", bench.options.device, "--precision", precision,
                                "-o", "json"]):
            if row["status"] == "not_supported" or row["design"] in YARDSTICKS:
                continue
            key = row["op"], row["design"]
            if key not in worst or error(row) > error(worst[key]):
                worst[key] = row
        if not worst:
            raise peers.Problem("no design has this precision")
        (op, design), row = max(worst.items(), key=lambda item: error(item[1]) / allowed(item[1]))
        bench.judge("accuracy", f"{precision}, nearest of {len(worst)} designs: {op} {design}", error(row),
                    allowed(row), "of the scale", precision=precision, problem=row["problem"],
                    designs={" ".join(key): error(row) for key, row in worst.items()})

    def classes(device, precision, pictures):
        rows = run_program([bench.program, "classify", "efficientnet_lite0", *pictures, "--no-tune", "--device", device,
                            "--precision", precision, "--top", "5", "-o", "json"])
        for row in rows:
            if row["top"] is None:
                raise peers.Problem(f"{row['image']}: {row['error']}")
        return {row["image"]: [one["class"] for one in row["top"]] for row in rows}

    def photographs(precision):
        folder = bench.options.photos
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        pictures = [os.path.join(folder, name) for name in names if name.endswith((".jpg", ".jpeg", ".png"))]
        if not pictures:
            raise peers.Problem(f"{folder}: no photographs: 'make demo' gets some, or name others with --photos")
        wanted, found = classes("cpu", "fp32", pictures), classes(bench.options.device, precision, pictures)
        top = 5 if precision in ("fp32", "tf32") else 1
        changed = [image for image in wanted if wanted[image][:top] != found.get(image, [])[:top]]
        bench.judge("accuracy", f"{precision}, photographs of {len(wanted)} whose top {top} changed", len(changed), 0,
                    "photographs", model="efficientnet_lite0", batch=1, precision=precision, changed=changed)

    for precision in bench.options.accuracy:
        bench.case("accuracy", f"{precision}, designs", lambda p=precision: designs(p))
        bench.case("accuracy", f"{precision}, photographs", lambda p=precision: photographs(p))


def linear(bench):
    """VGG-16's first linear layer of one image, in its network: 411 MB of weights in float32, 206 in half precision."""
    def measure(precision):
        for step, seconds in bench.layers("vgg16", precision, 1):
            if step.op == "linear" and "ic25088" in step.problem:
                bench.judge("linear", f"{step.problem} {precision} {step.design}",
                            100 * step.bytes / seconds / bench.peaks.read, 95, "% of reading", least=True, model="vgg16",
                            batch=1, precision=precision, problem=step.problem, design=step.design,
                            median_ms=1e3 * seconds, gbps=1e-9 * step.bytes / seconds,
                            peak_gbps=1e-9 * bench.peaks.read)

    for precision in bench.options.precision:
        bench.case("linear", f"vgg16 {precision}", lambda p=precision: measure(p))


def compute(bench):
    """VGG's third to fifth stage: 3x3 over 56x56 to 14x14."""
    def measure(precision):
        plain = precision == "fp32"
        peak = bench.peaks.multiply_add if plain else bench.peaks.matmul(precision)
        for step, seconds in bench.layers("vgg16", precision, bench.options.layer_batch):
            if step.op != "conv2d" or not re.search(r"ih(56|28|14)(?!\d)", step.problem):
                continue
            bench.judge("compute", f"{step.problem.split(':')[1]} {precision} {step.design}",
                        100 * step.flops / seconds / peak, 160 if plain else 75,
                        "% of multiply-adds" if plain else "% of a matrix product", least=True, model="vgg16",
                        batch=bench.options.layer_batch, precision=precision, problem=step.problem, design=step.design,
                        median_ms=1e3 * seconds, gflops=1e-9 * step.flops / seconds, peak_gflops=1e-9 * peak)

    for precision in bench.options.precision:
        bench.case("compute", f"vgg16 {precision}", lambda p=precision: measure(p))


def kind_of(step):
    """Of a layer that memory bounds; None of the rest."""
    if step.op == "pool":
        return None if "alg3" in step.problem else "pooling"  # 3: to 1x1, a reduction
    if step.op == "conv2d":
        found = re.search(r":g(\d+)mb\d+ic(\d+)", step.problem)
        return "depthwise" if found and found[1] == found[2] else None
    return {"relu": "activation", "clip": "activation", "add": "add"}.get(step.op)


def bandwidth(bench):
    """Unfused plans have activations and sums as layers of their own; depthwise layers are measured as they are
    used."""
    def measure(network, precision, unfused):
        graph, peak = bench.graph(network), bench.peaks.copy
        size, found = 2 if precision in ("fp16", "bf16") else 4, False
        for step, seconds in bench.layers(network, precision, bench.options.layer_batch,
                                          no_fusion=unfused):
            kind = kind_of(step)
            if not kind or unfused == (kind == "depthwise"):
                continue
            out = size * bench.options.layer_batch * math.prod(graph.shape(step.output)[1:])
            largest = max(out, (step.bytes - out) / (2 if kind == "add" else 1))
            if largest <= bench.options.layer_mib * MIB:
                continue
            found = True
            bench.judge("bandwidth", f"{step.problem} {precision} {step.design}", 100 * step.bytes / seconds / peak,
                        BANDWIDTH_PCT[kind], "% of copying", least=True, model=network, precision=precision,
                        batch=bench.options.layer_batch, kind=kind, problem=step.problem, design=step.design,
                        median_ms=1e3 * seconds, gbps=1e-9 * step.bytes / seconds, peak_gbps=1e-9 * peak)
        if not found:
            raise peers.Problem(f"no layer of it has a tensor over {bench.options.layer_mib:g} MiB")

    for precision in bench.options.precision:
        if precision == "tf32":  # moves what fp32 moves
            continue
        for network, unfused in (("vgg16", True), ("resnet50", True), ("mobilenet_v2", False)):
            bench.case("bandwidth", f"{network} {precision}",
                       lambda n=network, p=precision, u=unfused: measure(n, p, u))


def depth(bench):
    def measure(deep, base, precision, batch):
        seconds = {}
        for name in (deep, base):
            graph = bench.graph(name)
            seconds[name] = bench.time(graph, batch, precision)["median_ms"] / (batch * graph.info.flops)
        bench.judge("depth", f"{deep} over {base} {precision} batch {batch}", seconds[deep] / seconds[base], 1.1,
                    "times the time a FLOP", model=deep, batch=batch, precision=precision, base=base,
                    tflops=1e-9 / seconds[deep], base_tflops=1e-9 / seconds[base])

    for precision in bench.options.precision:
        for deep, base in DEPTHS:
            for batch in bench.options.depth_batch:
                bench.case("depth", f"{deep} {precision} batch {batch}",
                           lambda d=deep, b=base, p=precision, n=batch: measure(d, b, p, n))


def sizes(bench):
    def measure(precision, batch, odd, even):
        rate = {}
        for side in (odd, even):
            graph = bench.graph("resnet18", side)
            rate[side] = 1e-6 * batch * graph.info.flops / bench.time(graph, batch, precision)["median_ms"]
        bench.judge("sizes", f"resnet18 {odd}x{odd} over {even}x{even} {precision} batch {batch}",
                    rate[odd] / rate[even], 0.85, "times the FLOP/s", least=True, model="resnet18", batch=batch,
                    precision=precision, size=odd, even_size=even, gflops=rate[odd], even_gflops=rate[even])

    for precision in bench.options.precision:
        for batch in bench.options.size_batch:
            for odd, even in SIZES:
                bench.case("sizes", f"resnet18 {odd}x{odd} {precision} batch {batch}",
                           lambda p=precision, b=batch, o=odd, e=even: measure(p, b, o, e))


def growth(bench):
    """Each batch is held against the fastest of the smaller ones, so that small rises do not add up. What is allowed is
    half the sum of both spreads: from the 10th to the 90th percentile, of the median."""
    def measure(network, precision):
        found = []
        for batch in bench.options.batch:
            with bench.plan(bench.graph(network), batch, precision) as plan:
                samples, _ = bench.times(plan, bench.options.replays)
            found.append({"batch": batch, "ms": samples["median_ms"] / batch, "spread": samples["spread"]})
        worst = None
        for i in range(1, len(found)):
            best, one = min(found[:i], key=lambda other: other["ms"]), found[i]
            rise, limit = one["ms"] / best["ms"], 1 + (one["spread"] + best["spread"]) / 2
            if worst is None or rise / limit > worst[0] / worst[1]:
                worst = rise, limit, best["batch"], one["batch"]
        rise, limit, low, high = worst
        bench.judge("growth", f"{network} {precision}, batch {low} to {high}", rise, limit, "times the ms an image",
                    model=network, batch=high, precision=precision, points=found)

    for precision in bench.options.precision:
        for network in bench.options.networks:
            bench.case("growth", f"{network} {precision}", lambda n=network, p=precision: measure(n, p))


SECTIONS = {"startup": startup, "memory": memory, "p99": p99, "accuracy": accuracy, "linear": linear,
            "compute": compute, "bandwidth": bandwidth, "depth": depth, "sizes": sizes, "growth": growth}


# ---- the command line ----


def numbers(text):
    return [positive(item) for item in text.split(",")]


def several(text):
    """Growth needs two to compare."""
    found = sorted(set(numbers(text)))
    if len(found) < 2:
        raise argparse.ArgumentTypeError(f"\"{text}\": expected two numbers or more")
    return found


def amount(text):
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0")
    return value


def parse():
    data = os.environ.get("TILEWISE_DATA") or os.path.expanduser("~/.local/share/tilewise")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--only", type=listed(list(SECTIONS)), default=list(SECTIONS), metavar="LIST", help=", ".join(SECTIONS))
    add("--networks", type=listed(NETWORKS), default=NETWORKS, metavar="LIST", help="of growth and memory (all eight)")
    add("--precision", type=listed(PRECISIONS), default=["fp16", "tf32", "fp32"], metavar="LIST",
        help="of all sections but accuracy (fp16,tf32,fp32)")
    add("--accuracy", type=listed(PRECISIONS), default=PRECISIONS, metavar="LIST", help="its precisions (all four)")
    add("--batch", type=several, default=BATCHES, metavar="LIST", help="of growth (1 to 256)")
    add("--memory-batch", type=numbers, default=[1, 128], metavar="LIST", help="(1,128)")
    add("--depth-batch", type=numbers, default=[1, 128], metavar="LIST", help="(1,128)")
    add("--size-batch", type=numbers, default=[1, 32], metavar="LIST", help="(1,32)")
    add("--layer-batch", type=positive, default=128, metavar="N", help="of compute and bandwidth (128)")
    add("--layer-mib", type=amount, default=64, metavar="N", help="bandwidth: a layer's least tensor (64)")
    add("--replays", type=positive, default=15, metavar="N", help="of each plan (15)")
    add("--tail-replays", type=positive, default=500, metavar="N", help="of p99 (500)")
    add("--profiles", type=positive, default=7, metavar="N", help="of compute and bandwidth (7)")
    add("--starts", type=positive, default=9, metavar="N", help="processes of startup (9)")
    add("--photos", default=os.path.join(data, "photos"), metavar="DIR", help="of accuracy (the data folder's)")
    add("--budget", type=amount, default=210, metavar="S", help="nothing is begun after so many seconds (210)")
    add("--device", default="cuda", help="(cuda)")
    add("--output", metavar="FILE", help="JSON with a row for each line, written after each section")
    return parser.parse_args()


def write(bench, path):
    info = bench.device.info
    result = {"tilewise": bench.tilewise.__version__, "host": {"system": platform.platform()},
              "devices": [{"id": info.id, "name": info.name, "features": info.features}],
              "command": shlex.join(["benchmarks/targets_cuda.py", *sys.argv[1:]]), "rows": bench.rows}
    peers.write_json(path, result)


def summarise(bench):
    """A line a section: how many of its rows are met."""
    print()
    for target in bench.options.only:
        rows = [row for row in bench.rows if row["target"] == target]
        met, measured = sum(row.get("met", False) for row in rows), sum(row["status"] == "ok" for row in rows)
        rest = len(rows) - measured
        print(f"{target:9s}  met {met} of {measured}" + (f", {rest} not measured" if rest else ""))
    return bool(bench.rows) and all(row.get("met", False) for row in bench.rows)


def main():
    options = parse()
    try:
        if options.output:
            peers.check_output(options.output)
        import numpy
        import tilewise
        with tempfile.TemporaryDirectory(prefix="tilewise-targets-") as folder:
            bench = Bench(options, tilewise, numpy, folder)
            for name in options.only:
                start = time.monotonic()
                SECTIONS[name](bench)
                print(f"{name}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
                if options.output:
                    write(bench, options.output)
        return 0 if summarise(bench) else 1
    except KeyboardInterrupt:
        print("targets_cuda.py: interrupted", file=sys.stderr)
        return 130
    except Exception as problem:  # whatever is missing, one line says it
        print(f"targets_cuda.py: {problem}", file=sys.stderr)
        return 2


def child():
    try:
        found = CHILDREN[sys.argv[2]](*json.loads(sys.argv[3]))
    except Exception as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child()
    else:
        sys.exit(main())
