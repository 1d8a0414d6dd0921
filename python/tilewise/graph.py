"""Devices, and graphs: what a network means."""
import os
import tempfile
from ctypes import byref, c_char_p
from typing import NamedTuple

import numpy as np

from . import native
from .native import Handle, Invalid, call, library


def version():
    return library.tw_version().decode()


def zoo_names():
    return [library.tw_zoo_name(i).decode() for i in range(library.tw_zoo_count())]


class DeviceInfo(NamedTuple):
    id: str
    name: str
    features: str
    threads: int
    memory_bytes: int


class Device(Handle):
    """'cpu', with so many threads (0: one a core); 'metal-sim', as a GPU of a family: 'apple4' to 'apple10'."""
    release, kind = "tw_device_release", "device"

    def __init__(self, name="cpu", *, threads=0, family=None):
        named = native.encode_name(family, "the family") if family is not None else None
        desc = native.DeviceDesc(native.whole(threads, "threads"), named)
        self.create("tw_device_open", native.encode_name(name, "the device"), desc)

    @property
    def info(self):
        info = native.DeviceInfo()
        library.tw_device_describe(self.pointer, info)
        return DeviceInfo(native.text(info.id), native.text(info.name), native.text(info.features), info.threads,
                          info.memory_bytes)


class GraphInfo(NamedTuple):
    inputs: int
    outputs: int
    nodes: int
    parameters: int
    parameter_count: int
    flops: float


class Graph(Handle):
    """A network without a device. Made by Graph.zoo() or Graph.onnx()."""
    release, kind = "tw_graph_release", "graph"

    @classmethod
    def zoo(cls, name, *, classes=0, image_size=0):
        """A network by name, without weights until bind() or init()."""
        desc = native.ZooDesc(native.whole(classes, "classes"), native.whole(image_size, "image_size"))
        graph = cls.__new__(cls)
        graph.create("tw_zoo_create", native.encode_name(name, "the network"), desc)
        return graph

    @classmethod
    def onnx(cls, path, *, max_bytes=0):
        """A model from a file, with its weights."""
        desc = native.OnnxDesc(native.whole(max_bytes, "max_bytes", 2**64 - 1))
        graph = cls.__new__(cls)
        graph.create("tw_onnx_read", native.encode_path(path), desc)
        return graph

    def __init__(self):
        raise TypeError("a graph is made by Graph.zoo(name) or Graph.onnx(path)")

    def save_onnx(self, path):
        call("tw_onnx_write", native.encode_path(path), self.pointer)

    # ---- parameters ----

    def bind(self, weights):
        """Takes the parameters from a file (safetensors or a PyTorch state_dict) or a mapping of names to arrays."""
        self.refuse_views()
        if isinstance(weights, (str, bytes, os.PathLike)):
            self.bind_file(native.encode_path(weights))
            return self
        with tempfile.TemporaryDirectory(prefix="tilewise-") as folder:
            # The library maps the file, which may then lose its name.
            path = native.encode_path(os.path.join(folder, "weights.safetensors"))
            arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in weights.items()}
            tensors = (native.Tensor * len(arrays))(*[native.make_tensor(array) for array in arrays.values()])
            names = (c_char_p * len(arrays))(*[native.encode_name(name, "a weight's name") for name in arrays])
            call("tw_safetensors_write", path, names, tensors, len(arrays))
            self.bind_file(path)
        return self

    def bind_file(self, path):
        weights = Weights(path)
        call("tw_graph_bind", self.pointer, weights.pointer)
        weights.close()

    def init(self, *, seed=1, scheme="pytorch", distribution="uniform", random_statistics=False):
        """Random parameters, the same on any machine."""
        self.refuse_views()
        desc = native.InitDesc(native.choose(scheme, native.INIT_SCHEME, "scheme"),
                               native.choose(distribution, native.DISTRIBUTION, "distribution"),
                               native.whole(seed, "seed", 2**64 - 1), bool(random_statistics))
        call("tw_graph_init", self.pointer, desc)
        return self

    def refuse_views(self):
        self.pointer  # a closed graph is told first
        if len(self.owner.views) > 0:
            raise Invalid("arrays from graph.parameters are still in use and would lose their memory: copy them")

    @property
    def parameters(self):
        """Names and arrays: read-only views of the graph's memory, None where a parameter has no data yet."""
        views = {}
        for i in range(self.info.parameters):
            tensor = native.Tensor()
            name = native.text(library.tw_graph_parameter(self.pointer, i, tensor))
            views[name] = native.view(tensor, self.owner) if tensor.data else None
        return views

    # ---- shapes ----

    @property
    def name(self):
        return native.text(library.tw_graph_name(self.pointer))

    @property
    def info(self):
        info = native.GraphInfo()
        library.tw_graph_describe(self.pointer, info)
        return GraphInfo(info.inputs, info.outputs, info.nodes, info.parameters, info.parameter_count, info.flops)

    def value_shape(self, value):
        shape = native.Shape()
        call("tw_graph_shape", self.pointer, value, byref(shape))
        return native.dims(shape)

    @property
    def inputs(self):
        """The shapes of the inputs, with batch 1."""
        return [self.value_shape(library.tw_graph_input_at(self.pointer, i)) for i in range(self.info.inputs)]

    @property
    def outputs(self):
        return [self.value_shape(library.tw_graph_output_at(self.pointer, i)) for i in range(self.info.outputs)]

    def shape(self, name):
        """The shape of a value by name, with batch 1."""
        value = library.tw_graph_find(self.pointer, native.encode_name(name, "a value's name"))
        if value < 0:
            raise Invalid(f"{self.name}: has no value named {name!r}")
        return self.value_shape(value)


class Weights(Handle):
    """An open file of weights; the graphs bound to it keep it."""
    release, kind = "tw_weights_release", "weights file"

    def __init__(self, path):
        self.create("tw_weights_open", path)
