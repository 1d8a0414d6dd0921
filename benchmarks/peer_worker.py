#!/usr/bin/env python3
"""One program of the comparison, in a process of its own: peers.py starts it and talks to it in lines of JSON.

    peer_worker.py PROGRAM          obeys commands from standard input until that ends
    peer_worker.py PROGRAM --once   does one {"do": "load"} from standard input, predicts once, and says so

A program is a class here: load() gets the network as ONNX and, where the program wants another format, as converted;
predict() takes the input and returns the output, both NumPy arrays. What a library prints goes to standard error.
"""
import importlib.util
import json
import os
import statistics
import sys
import time

import numpy as np


class Tilewise:
    def load(self, task):
        import tilewise
        device = tilewise.Device("cpu", threads=task["threads"])
        self.plan = tilewise.Plan(tilewise.Graph.onnx(task["onnx"]), device, batch=task["batch"])
        self.version = tilewise.version()

    def predict(self, x):
        return self.plan.run(x)


class OnnxRuntime:
    def load(self, task):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = task["threads"], 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(task["onnx"], options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.version = onnxruntime.__version__

    def predict(self, x):
        return self.session.run(None, {self.input: x})[0]


class OpenVino:
    def load(self, task):
        import openvino
        core = openvino.Core()
        model = core.read_model(task["onnx"])
        model.reshape(task["shape"])
        compiled = core.compile_model(model, "CPU", {
            "INFERENCE_NUM_THREADS": task["threads"], "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
        self.request = compiled.create_infer_request()
        self.version = openvino.__version__.split("-")[0]

    def predict(self, x):
        return self.request.infer({0: x}, share_inputs=True)[0]


class Ncnn:
    def load(self, task):
        import ncnn
        self.ncnn, self.net = ncnn, ncnn.Net()
        options = self.net.opt
        options.num_threads = task["threads"]
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        for load, path in ((self.net.load_param, task["param"]), (self.net.load_model, task["bin"])):
            if load(path) != 0:
                raise RuntimeError(f"ncnn cannot load {path}")
        self.version = ncnn.__version__

    def predict(self, x):
        extractor = self.net.create_extractor()
        extractor.input("in0", self.ncnn.Mat(x[0]))
        status, y = extractor.extract("out0")
        if status != 0:
            raise RuntimeError(f"ncnn's extract returns {status}")
        return np.array(y)[np.newaxis]


class Mnn:
    def load(self, task):
        import MNN
        import MNN.expr
        self.expr = MNN.expr
        runtime = MNN.nn.create_runtime_manager(
            ({"backend": "CPU", "precision": "high", "numThread": task["threads"]},))
        self.net = MNN.nn.load_module_from_file(task["mnn"], [], [], runtime_manager=runtime)
        self.version = MNN.version()

    def predict(self, x):
        value = self.expr.const(x, list(x.shape), self.expr.NCHW, self.expr.float)
        return self.net.onForward([value])[0].read()


class Torch:
    """The module that pnnx writes from the ONNX file, run eagerly."""

    def load(self, task):
        import torch
        self.torch = torch
        torch.set_num_threads(task["threads"])
        os.chdir(os.path.dirname(task["module"]))  # the module opens its weights by name
        spec = importlib.util.spec_from_file_location("network", task["module"])
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.net = module.Model().eval()
        self.version = torch.__version__.split("+")[0]

    def predict(self, x):
        with self.torch.inference_mode():
            return self.net(self.torch.from_numpy(x)).numpy()


class Nothing:
    """Python and NumPy alone: what is in every start-up but the command line's."""

    def load(self, task):
        self.version = sys.version.split()[0]

    def predict(self, x):
        return x


PROGRAMS = {"tilewise": Tilewise, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "ncnn": Ncnn, "MNN": Mnn,
            "torch": Torch, "python": Nothing}


class Worker:
    def __init__(self, program):
        self.program = program
        self.loaded = self.x = None

    def load(self, task):
        self.loaded = None  # the old network goes before the new one comes
        self.x = np.load(task["input"])
        start = time.perf_counter()
        loaded = PROGRAMS[self.program]()
        loaded.load(task)
        self.loaded = loaded
        return {"init_ms": 1e3 * (time.perf_counter() - start), "version": loaded.version}

    def predict(self, task):
        np.save(task["output"], np.ascontiguousarray(self.loaded.predict(self.x), dtype=np.float32))
        return {}

    def measure(self, task):
        """Warms up for a fifth of the time, then times single predictions."""
        predict, x, clock = self.loaded.predict, self.x, time.perf_counter
        end = clock() + task["seconds"] / 5
        predict(x)
        while clock() < end:
            predict(x)
        samples, end = [], clock() + task["seconds"]
        while len(samples) < task["least"] or clock() < end:
            start = clock()
            predict(x)
            samples.append(1e3 * (clock() - start))
        return {"samples": samples}

    def unload(self, task):
        self.loaded = self.x = None
        return {}

    def make_input(self, task):
        shape = task["shape"]
        np.save(task["output"], np.random.default_rng(task["seed"]).standard_normal(shape).astype(np.float32))
        return {}

    def compare(self, task):
        """Of each output, the largest distance from the middle one (elementwise median), absolute and to its scale. One
        that is not finite, or of another size than most, has none, and no part in the middle."""
        outputs = [np.load(path).astype(np.float64).reshape(-1) for path in task["outputs"]]
        size = statistics.mode(y.size for y in outputs)
        sound = [y.size == size and bool(np.isfinite(y).all()) for y in outputs]
        if not any(sound):
            return {"errors": [None] * len(outputs)}
        middle = np.median([y for y, fine in zip(outputs, sound) if fine], axis=0)
        scale = max(float(np.abs(middle).max()), 1e-30)
        errors = [float(np.abs(y - middle).max()) if fine else None for y, fine in zip(outputs, sound)]
        return {"errors": [None if error is None else [error, error / scale] for error in errors]}


def peak_bytes():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def obey(worker, task):
    try:
        return getattr(worker, task["do"])(task)
    except Exception as problem:  # whatever a peer raises is that peer's row
        text = " ".join(str(problem).split()) or "no message"
        return {"error": f"{type(problem).__name__}: {text[:500]}"}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    once = "--once" in sys.argv[2:]
    for line in sys.stdin:
        task = json.loads(line)
        answer = obey(worker, task)
        if once and "error" not in answer:
            answer.update(obey(worker, dict(task, do="predict")))
            answer["peak_bytes"] = peak_bytes()
        print(json.dumps(answer), file=answers, flush=True)
        if once:
            os._exit(0)  # the time to tear down is nobody's start-up


if __name__ == "__main__":
    main()
