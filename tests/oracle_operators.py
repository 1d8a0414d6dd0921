#!/usr/bin/env python3
"""Each operator's reference design against PyTorch, in float64, from random problems with their parameters.

The reference is what every other design is checked against, so what it means has to be checked by somebody else.
A case is one random problem: the result must be within 1e-6 of the largest magnitude of PyTorch's; a problem that
PyTorch refuses must be refused. Usage: oracle_operators.py BUILD_FOLDER [OPERATOR]. Needs numpy and torch.
"""
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

TOLERANCE = 1e-6
CASES = 60  # of each operator
choice = random.choice


class Refused(Exception):
    """PyTorch does not take this problem."""


def image(rank=None):
    rank = rank or choice([2, 4])
    channels = choice([1, 2, 3, 5, 8, 16, 17, 33])
    sizes = [random.randint(1, 3), channels]
    return sizes if rank == 2 else sizes + [choice([1, 2, 3, 5, 7, 8, 11]) for _ in range(2)]


def values(*sizes):
    return np.random.standard_normal(sizes).astype(np.float32)


def exact(array):
    return torch.from_numpy(array).double()


def by(sizes):
    return "x".join(map(str, sizes))


def keys(**pairs):
    return "".join(f"{key}{value}" for key, value in pairs.items())


def asked(function):
    """What PyTorch says; Refused where it raises."""
    try:
        return function()
    except (RuntimeError, ValueError) as error:
        raise Refused(str(error).splitlines()[0]) from None


def activation(y, kind):
    return [lambda v: v, torch.relu, F.relu6][kind](y)


# Each returns the problem, its inputs, and a function that asks PyTorch.

def conv2d():
    groups, kind = choice([1, 1, 1, 2, 3]), random.randint(0, 2)
    ic, oc = groups * random.randint(1, 5), groups * random.randint(1, 5)
    if choice([0, 0, 1]):
        groups = ic = oc = random.randint(1, 8)
    n, ih, iw = random.randint(1, 2), random.randint(1, 11), random.randint(1, 11)
    kh, kw, sh, sw = (random.randint(1, limit) for limit in (4, 4, 3, 3))
    ph, pw, pb, pr = (random.randint(0, 3) for _ in range(4))
    dh, dw = choice([0, 0, 1, 2]), choice([0, 0, 1])
    bias, residual = random.randint(0, 1), choice([0, 0, 1])
    problem = keys(g=groups, mb=n, ic=ic, ih=ih, iw=iw, oc=oc, kh=kh, kw=kw, sh=sh, sw=sw, ph=ph, pw=pw, pb=pb, pr=pr,
                   dh=dh, dw=dw, act=kind, bias=bias, res=residual)
    x, w, b = values(n, ic, ih, iw), values(oc, ic // groups, kh, kw), values(oc)
    padded = F.pad(exact(x), (pw, pr, ph, pb))
    inputs = [x, w] + [b] * bias

    def ask():
        y = asked(lambda: F.conv2d(padded, exact(w), exact(b) if bias else None, (sh, sw), 0, (dh + 1, dw + 1), groups))
        return activation(y + exact(inputs[-1]) if residual else y, kind)

    if residual:
        oh, ow = (max(0, size - reach - 1) // step + 1 for size, reach, step in
                  ((padded.shape[2], (dh + 1) * (kh - 1), sh), (padded.shape[3], (dw + 1) * (kw - 1), sw)))
        inputs.append(values(n, oc, oh, ow))
    return problem, inputs, ask


def linear():
    n, ic, oc, kind, bias = (random.randint(1, 5), random.randint(1, 40), random.randint(1, 40), random.randint(0, 2),
                             random.randint(0, 1))
    x, w, b = values(n, ic), values(oc, ic), values(oc)
    return (keys(mb=n, ic=ic, oc=oc, act=kind, bias=bias), [x, w] + [b] * bias,
            lambda: activation(F.linear(exact(x), exact(w), exact(b) if bias else None), kind))


def pool_window():
    kernel = [random.randint(1, 5) for _ in range(2)]
    stride = [random.randint(1, 4) for _ in range(2)]
    padding = [random.randint(0, k // 2 + choice([0, 0, 0, 1])) for k in kernel]
    return kernel, stride, padding, random.randint(0, 1)


def pooled_length(length, kernel, stride, padding, dilation, ceil):
    """PyTorch's rule: with ceil_mode the last window starts inside the input or the padding before it."""
    span = length + 2 * padding - dilation * (kernel - 1) - 1
    if span < 0 and not (ceil and -span < stride):
        raise Refused("the window is larger than the padded input")
    out = (-(-span // stride) if ceil else span // stride) + 1
    return out - 1 if ceil and (out - 1) * stride >= length + padding else out


def wide_pool(x, window, dilation, average, include):
    """By the definition: padding of more than half the kernel, which ONNX has and PyTorch has not."""
    kernel, stride, padding, ceil = window
    if any(p >= k for p, k in zip(padding, kernel)):
        raise Refused("padding of a whole kernel")
    oh, ow = (pooled_length(x.shape[2 + i], kernel[i], stride[i], padding[i], dilation[i], ceil) for i in range(2))
    if oh < 1 or ow < 1:
        raise Refused("no output")
    y = np.empty(x.shape[:2] + (oh, ow))
    for at in np.ndindex(oh, ow):
        taps, divisor = [], 1
        for i in range(2):
            first, length = at[i] * stride[i] - padding[i], x.shape[2 + i]
            taps.append([t for t in range(first, first + dilation[i] * (kernel[i] - 1) + 1, dilation[i]) if 0 <= t < length])
            divisor *= min(first + kernel[i], length + padding[i]) - first
        elements = x[:, :, taps[0]][:, :, :, taps[1]].astype(np.float64).reshape(*x.shape[:2], -1)
        if average:
            y[:, :, at[0], at[1]] = elements.sum(-1) / (divisor if include else elements.shape[-1])
        else:
            y[:, :, at[0], at[1]] = elements.max(-1, initial=-np.inf)
    return torch.from_numpy(y)


def is_wide(window):
    return any(2 * p > k for p, k in zip(window[2], window[0]))


def max_pool():
    (n, c, ih, iw), window = image(4), pool_window()
    kernel, stride, padding, ceil = window
    dilation = [choice([1, 1, 2, 3]) for _ in range(2)]
    x = values(n, c, ih, iw)
    if choice([0, 1]):
        x.flat[:: random.randint(2, 30)] = choice([np.nan, -np.inf, np.inf])
    problem = keys(mb=n, ic=c, ih=ih, iw=iw, kh=kernel[0], kw=kernel[1], sh=stride[0], sw=stride[1], ph=padding[0],
                   pw=padding[1], dh=dilation[0] - 1, dw=dilation[1] - 1, ceil=ceil)
    if is_wide(window):
        return "pool:" + problem, [x], lambda: wide_pool(x, window, dilation, False, False)
    return "pool:" + problem, [x], lambda: asked(
        lambda: F.max_pool2d(exact(x), kernel, stride, padding, dilation, bool(ceil)))


def average_pool():
    (n, c, ih, iw), window, include = image(4), pool_window(), random.randint(0, 1)
    kernel, stride, padding, ceil = window
    x = values(n, c, ih, iw)
    problem = keys(mb=n, ic=c, ih=ih, iw=iw, kh=kernel[0], kw=kernel[1], sh=stride[0], sw=stride[1], ph=padding[0],
                   pw=padding[1], ceil=ceil, alg=1 + include)
    if is_wide(window):
        return "pool:" + problem, [x], lambda: wide_pool(x, window, [1, 1], True, include)
    return "pool:" + problem, [x], lambda: asked(
        lambda: F.avg_pool2d(exact(x), kernel, stride, padding, bool(ceil), bool(include)))


def adaptive_pool():
    (n, c, ih, iw), out = image(4), choice([[1, 1], [random.randint(1, 9), random.randint(1, 9)]])
    x = values(n, c, ih, iw)
    return ("pool:" + keys(mb=n, ic=c, ih=ih, iw=iw, oh=out[0], ow=out[1], alg=3), [x],
            lambda: F.adaptive_avg_pool2d(exact(x), out))


def relu():
    x = values(*image())
    return by(x.shape), [x], lambda: torch.relu(exact(x))


def clip():
    x, low, high = values(*image()), choice([-0.5, 0.0, 0.25, -np.inf]), choice([0.5, 6.0, np.inf])
    x.flat[::5] = np.nan
    return f"{by(x.shape)}:{low}:{high}", [x], lambda: torch.clamp(exact(x), low, high)


def add():
    sizes, kind = image(), random.randint(0, 2)
    a, b = values(*sizes), values(*sizes)
    return by(sizes) + ["", ":relu", ":relu6"][kind], [a, b], lambda: activation(exact(a) + exact(b), kind)


def concat():
    sizes = image()
    parts = [values(sizes[0], c, *sizes[2:]) for c in [sizes[1]] + random.choices(range(1, 20), k=random.randint(0, 5))]
    problem = by(sizes) + "".join(f"+{part.shape[1]}" for part in parts[1:])
    return problem, parts, lambda: torch.cat([exact(part) for part in parts], 1)


def softmax():
    x = values(*image()) * np.float32(choice([1, 10, 100]))
    return by(x.shape), [x], lambda: torch.softmax(exact(x), 1)


def batchnorm():
    x, epsilon = values(*image()), choice([1e-5, 1e-3, 0.1])
    weight, bias, mean = (values(x.shape[1]) for _ in range(3))
    var = np.abs(values(x.shape[1])) + np.float32(0.01)
    return (f"{by(x.shape)}:{epsilon}", [x, weight, bias, mean, var],
            lambda: F.batch_norm(exact(x), exact(mean), exact(var), exact(weight), exact(bias), False, 0,
                                 float(np.float32(epsilon))))


def lrn():
    x, size = values(*image(4)), random.randint(1, 7)
    alpha, beta, k = (float(np.float32(choice(of))) for of in ([1e-4, 0.5, 2.0], [0.75, 0.5, 1.0], [1.0, 2.0]))
    return (f"{by(x.shape)}:{size}:{alpha!r}:{beta!r}:{k!r}", [x],
            lambda: F.local_response_norm(exact(x), size, alpha, beta, k))


OPERATORS = [conv2d, linear, max_pool, average_pool, adaptive_pool, relu, clip, add, concat, softmax, batchnorm, lrn]


def run(program, problem, inputs, folder):
    """The result, or None and why it was refused."""
    paths = []
    for i, array in enumerate(inputs):
        paths.append(os.path.join(folder, f"{i}.npy"))
        np.save(paths[-1], array)
    output = os.path.join(folder, "y.npy")
    if os.path.exists(output):
        os.remove(output)
    done = subprocess.run([program, problem, output] + paths, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        return None, done.stderr.strip()
    if done.returncode != 0:
        raise RuntimeError(f"operator_run ended with {done.returncode}: {done.stderr.strip()}")
    return np.load(output), None


def compare(y, expected):
    """What is wrong with y; None where nothing is."""
    expected = expected.numpy()
    if y.shape != expected.shape:
        return f"shape {y.shape}, expected {expected.shape}"
    finite = np.isfinite(expected)
    if not np.array_equal(np.nan_to_num(y[~finite].astype(np.float64), nan=7, posinf=8, neginf=9),
                          np.nan_to_num(expected[~finite], nan=7, posinf=8, neginf=9)):
        return "NaN or infinities differ"
    scale = max(np.abs(expected[finite]).max(initial=0), 1e-30)
    error = np.abs(y[finite] - expected[finite]).max(initial=0) / scale
    return None if error <= TOLERANCE else f"error {error:.3g} of the scale"


def check(program, make, folder):
    problem, inputs, ask = make()
    if not problem.startswith("pool:"):
        problem = f"{make.__name__}:{problem}"
    y, refusal = run(program, problem, inputs, folder)
    try:
        expected = ask()
        fault = f"refused: {refusal}" if y is None else compare(y, expected)
    except Refused as error:
        fault = None if y is None else f"accepted, but PyTorch says: {error}"
    if fault:
        print(f"FAIL {problem}: {fault}")
    return not fault


def main():
    program = os.path.join(sys.argv[1], "tests", "operator_run")
    random.seed(20261122)
    np.random.seed(7)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for make in OPERATORS:
            if len(sys.argv) > 2 and sys.argv[2] not in make.__name__:
                continue
            for _ in range(CASES):
                if check(program, make, folder):
                    passed += 1
                else:
                    failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
