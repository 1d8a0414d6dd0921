"""Plans: how one device computes a graph; and runs, which execute them."""
import ctypes
import threading
from typing import NamedTuple, Optional

import numpy as np

from . import native
from .native import Handle, Invalid, call, library


class PlanInfo(NamedTuple):
    batch: int
    precision: str
    steps: int
    arena_bytes: int
    packed_bytes: int
    weight_bytes: int
    values_bytes: int


class Step(NamedTuple):
    name: str
    op: str
    design: str
    output: str
    note: Optional[str]
    problem: str
    flops: float
    bytes: float
    predicted: float
    measured: float
    workspace_bytes: int
    packed_bytes: int
    in_layout: str
    out_layout: str


class Times(NamedTuple):
    upload: float
    device: float
    download: float


class Tuning(Handle):
    """What `tilewise tune` measured; empty where it was never run."""
    release, kind = "tw_tuning_release", "tuning"

    def __init__(self, device, precision):
        self.create("tw_tuning_open", None, device.pointer, precision)


class Plan(Handle):
    """May be used from many Python threads at once: each gets a Run of its own. A tuned plan chooses by what `tilewise
    tune` measured on this device; Invalid is raised where its file is damaged or another version's or driver's."""
    release, kind = "tw_plan_release", "plan"

    def __init__(self, graph, device, *, batch=1, precision="fp32", designs=None, fallback=False, keep_values=False,
                 no_fusion=False, tuned=False):
        number = native.choose(precision, native.PRECISION, "precision")
        tuning = Tuning(device, number) if tuned else None
        desc = native.PlanDesc(native.whole(batch, "batch"), number,
                               None if designs is None else native.encode_name(designs, "designs"), bool(fallback),
                               bool(keep_values), bool(no_fusion), tuning.pointer if tuning else None)
        info = graph.info
        self.create("tw_plan_create", graph.pointer, device.pointer, desc)
        self.inputs = [self.shape("tw_plan_input_shape", i) for i in range(info.inputs)]
        self.outputs = [self.shape("tw_plan_output_shape", i) for i in range(info.outputs)]
        self.local = threading.local()

    def shape(self, function, index):
        shape = native.Shape()
        call(function, self.pointer, index, ctypes.byref(shape))
        return native.dims(shape)

    @property
    def info(self):
        info = native.PlanInfo()
        library.tw_plan_describe(self.pointer, info)
        precision = next(name for name, value in native.PRECISION.items() if value == info.precision)
        return PlanInfo(info.batch, precision.rsplit("_", 1)[1].lower(), info.steps, info.arena_bytes,
                        info.packed_bytes, info.weight_bytes, info.values_bytes)

    @property
    def steps(self):
        return [self.step(i) for i in range(self.info.steps)]

    def step(self, index):
        info = native.StepInfo()
        library.tw_plan_step(self.pointer, index, info)
        values = [getattr(info, field) for field in Step._fields]
        return Step(*[native.text(value) if isinstance(value, bytes) else value for value in values])

    @property
    def thread_run(self):
        self.pointer  # a closed plan runs nothing
        if not hasattr(self.local, "run"):
            self.local.run = Run(self)
        return self.local.run

    def run(self, *inputs):
        """Float32 arrays in, one array out, or a tuple where the graph has several outputs."""
        return self.thread_run.run(*inputs)

    def profile(self, *inputs):
        """The same and the seconds of each step, as plan.steps has them."""
        return self.thread_run.profile(*inputs)

    @property
    def times(self):
        """Seconds of this thread's last run by the device's own clock; NaN where it has none (the CPU)."""
        return self.thread_run.times

    def value(self, name):
        """Of a keep_values plan, after a run in this thread: what a layer computed."""
        return self.thread_run.value(name)

    def close(self):
        self.local = threading.local()
        super().close()


class Run(Handle):
    """Executes a plan, which it keeps alive. Threads that share one wait for each other."""
    release, kind = "tw_run_release", "run"

    def __init__(self, plan):
        self.create("tw_run_create", plan.pointer)
        self.inputs, self.outputs, self.steps = plan.inputs, plan.outputs, plan.info.steps
        self.lock = threading.Lock()
        self.error = native.Error()
        self.ins, self.outs = self.tensors(self.inputs), self.tensors(self.outputs)

    @staticmethod
    def tensors(shapes):
        dtype, dims = native.DTYPE["TW_F32"], ctypes.c_int64 * native.MAX_RANK
        made = [native.Tensor(dtype, native.Shape(len(shape), dims(*shape)), None) for shape in shapes]
        return (native.Tensor * len(made))(*made)

    def check(self, inputs):
        """Row-major arrays of just the plan's shapes; another memory order is copied, another type is refused."""
        if len(inputs) != len(self.inputs):
            raise Invalid(f"{len(inputs)} inputs, expected {len(self.inputs)}")
        arrays = []
        for i, (array, shape) in enumerate(zip(inputs, self.inputs)):
            if not isinstance(array, np.ndarray):
                raise Invalid(f"input {i} is a {type(array).__name__}, expected a NumPy array")
            if array.dtype != np.float32:
                raise Invalid(f"input {i} is {array.dtype}, expected float32: convert it with astype(numpy.float32)")
            if array.shape != shape:
                raise Invalid(f"input {i} has shape {array.shape}, expected {shape}")
            arrays.append(np.require(array, requirements="CA") if not array.flags.carray else array)
        return arrays

    def execute(self, inputs, function, *extra):
        arrays = self.check(inputs)
        results = [np.empty(shape, np.float32) for shape in self.outputs]
        with self.lock:
            for tensor, array in zip(self.ins, arrays):
                tensor.data = array.ctypes.data
            for tensor, array in zip(self.outs, results):
                tensor.data = array.ctypes.data
            status = function(self.pointer, self.ins, self.outs, *extra, self.error)
            if status:
                native.raise_error(status, self.error)
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, *inputs):
        return self.execute(inputs, library.tw_run_execute)

    def profile(self, *inputs):
        seconds = np.zeros(self.steps)
        return self.execute(inputs, library.tw_run_profile, seconds.ctypes.data), seconds

    @property
    def times(self):
        times = native.RunTimes()
        with self.lock:
            call("tw_run_measured", self.pointer, ctypes.byref(times))
        return Times(times.upload, times.device, times.download)

    def value(self, name):
        tensor = native.Tensor()
        with self.lock:
            call("tw_run_value", self.pointer, native.encode_name(name, "a value's name"), ctypes.byref(tensor))
        try:
            return native.copy(tensor.data, np.float32, native.dims(tensor.shape))
        finally:
            library.tw_tensor_free(tensor)

    def close(self):
        with self.lock:
            super().close()
