"""ONNX models of the operators that Tilewise writes, computed by PyTorch in float64, node by node.

The meaning of each operator is taken from ONNX's specification (docs/Operators.md, opset 17), not from Tilewise."""
import numpy as np
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F


def windows(size, before, after, kernel, stride, dilation, ceil):
    """The padding that floor mode needs behind one direction for as many windows as there are."""
    span = dilation * (kernel - 1) + 1
    room = size + before + after - span
    count = (-(-room // stride) if ceil else room // stride) + 1
    return max(after, (count - 1) * stride + span - size - before)


def pooled(x, a, reduce, padding):
    """reduce() over windows of x, with `padding` in x and in what ceil_mode adds to it."""
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    kernel, strides = a["kernel_shape"], a.get("strides", [1, 1])
    dilations, ceil = a.get("dilations", [1, 1]), a.get("ceil_mode", 0)
    down = windows(x.shape[2], top, bottom, kernel[0], strides[0], dilations[0], ceil)
    across = windows(x.shape[3], left, right, kernel[1], strides[1], dilations[1], ceil)
    return reduce(F.pad(x, (left, across, top, down), value=padding), kernel, strides, dilations)


def max_pool(x, a):
    return pooled(x, a, lambda p, k, s, d: F.max_pool2d(p, k, s, dilation=d), -torch.inf)


def average_pool(x, a):
    def total(t, attributes):
        return pooled(t, attributes, lambda p, k, s, _: F.avg_pool2d(p, k, s, divisor_override=1), 0)

    counted = torch.ones_like(x)
    without = dict(a)
    if a.get("count_include_pad", 0):
        top, left, bottom, right = without.pop("pads", [0, 0, 0, 0])
        counted = F.pad(counted, (left, right, top, bottom), value=1)
    return total(x, a) / total(counted, without)


def conv(x, w, b, a):
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    return F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, a.get("strides", 1), 0, a.get("dilations", 1),
                    a.get("group", 1))


def gemm(x, w, b, a):
    x, w = (x.T if a.get("transA", 0) else x), (w.T if a.get("transB", 0) else w)
    y = a.get("alpha", 1.0) * (x @ w)
    return y if b is None else y + a.get("beta", 1.0) * b


def clip(x, low, high):
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def batch_norm(x, inputs, a):
    scale, bias, mean, var = (t.reshape(1, -1, *[1] * (x.dim() - 2)) for t in inputs)
    return (x - mean) / torch.sqrt(var + a.get("epsilon", 1e-5)) * scale + bias


def lrn(x, a):
    size, channels = a["size"], x.shape[1]
    total = torch.zeros_like(x)
    for c in range(channels):
        first, last = c - (size - 1) // 2, c + size // 2  # floor and ceil of (size - 1) / 2
        total[:, c] = x[:, max(first, 0):last + 1].square().sum(1)
    return x / (a.get("bias", 1.0) + a.get("alpha", 1e-4) / size * total) ** a.get("beta", 0.75)


def reshape(x, shape):
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.long().tolist())])


def pad(x, pads):
    top, left, bottom, right = (int(pads[i]) for i in (2, 3, 6, 7))
    return F.pad(x, (left, right, top, bottom))


OPERATORS = {
    "Conv": lambda i, a: conv(i[0], i[1], i[2] if len(i) > 2 else None, a),
    "Gemm": lambda i, a: gemm(i[0], i[1], i[2] if len(i) > 2 else None, a),
    "MaxPool": lambda i, a: max_pool(i[0], a),
    "AveragePool": lambda i, a: average_pool(i[0], a),
    "GlobalAveragePool": lambda i, a: i[0].mean((2, 3), keepdim=True),
    "Relu": lambda i, a: i[0].clamp(min=0),
    "Clip": lambda i, a: clip(*(i + [None, None])[:3]),
    "Add": lambda i, a: i[0] + i[1],
    "Concat": lambda i, a: torch.cat(i, a["axis"]),
    "Softmax": lambda i, a: torch.softmax(i[0], a.get("axis", -1)),
    "BatchNormalization": lambda i, a: batch_norm(i[0], i[1:], a),
    "LRN": lambda i, a: lrn(i[0], a),
    "Dropout": lambda i, a: i[0],
    "Flatten": lambda i, a: i[0].flatten(1) if a.get("axis", 1) == 1 else None,
    "Reshape": lambda i, a: reshape(i[0], i[1]),
    "Pad": lambda i, a: pad(i[0], i[1]),
}


@torch.no_grad()
def evaluate(model, x):
    """The outputs for one input array, in float64."""
    graph = model.graph
    values = {t.name: torch.from_numpy(numpy_helper.to_array(t).astype(np.float64)) for t in graph.initializer}
    values[graph.input[0].name] = torch.from_numpy(x.astype(np.float64))
    values[""] = None
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type]([values[name] for name in node.input], attributes)
    return [values[output.name].numpy() for output in graph.output]
