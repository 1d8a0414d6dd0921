#!/usr/bin/env python3
"""Corners of ONNX's operators that the cases of its own test suite leave out; expected values by NumPy.

    tests/onnx_semantics_test.py BUILD_DIR

Needs NumPy and onnx. The last line is 'N passed, N failed, N skipped'.
"""
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    print(f"onnx_semantics_test.py: {missing}\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)

TILEWISE = os.path.join(os.path.abspath(sys.argv[1]), "tilewise")
X = np.random.default_rng(1).standard_normal((1, 3, 4, 5)).astype(np.float32)
INTEGERS = {"empty": [], "two": [2], "row": [[1, 3]], "column": [[1], [20]], "one": [[2]]}


def run(folder, opset, nodes):
    """The result y of a model with input x: an array, or what is said of it."""
    model, x, y = (os.path.join(folder, name) for name in ("m.onnx", "x.npy", "y.npy"))
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in INTEGERS.items() if k in used]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *X.shape[1:]])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with open(model, "wb") as file:
        file.write(made.SerializeToString())
    np.save(x, X)
    done = subprocess.run([TILEWISE, "run", model, "--input", x, "--output", y], capture_output=True, text=True,
                          timeout=60, check=False)
    return np.load(y) if done.returncode == 0 else done.stderr


def reduction(op, noop, axes, opset):
    inputs = ["x", "empty"] if axes else ["x"]
    return opset, [helper.make_node(op, inputs, ["y"], name="node", noop_with_empty_axes=noop)]


def arithmetic(a, b):
    return 13, [helper.make_node("Add", [a, b], ["s"], name="node"), helper.make_node("Reshape", ["x", "s"], ["y"])]


# Name, model, and the expected array or words of the refusal.
CASES = [
    *((f"{op} of no axes is x, {'an empty' if axes else 'no'} input", reduction(op, 1, axes, 18), X)
      for op in ("ReduceMean",) for axes in (False, True)),
    ("ReduceMean of no axes is of all", reduction("ReduceMean", 0, True, 18), "over the batch"),
    ("2x1 and 1x2 integers make 2x2", arithmetic("column", "row"), "Add of 2 and 2 integers"),
    ("an integer of a higher rank", arithmetic("empty", "one"), "Add of 0 and 1 integers"),
]


def main():
    failed = 0
    folder = tempfile.mkdtemp(prefix="tilewise-onnx-semantics-")
    for name, (opset, nodes), expected in CASES:
        actual = run(folder, opset, nodes)
        if isinstance(expected, str) or isinstance(actual, str):
            right = isinstance(expected, str) and isinstance(actual, str) and expected in actual
        else:
            right = actual.shape == expected.shape and np.allclose(actual, expected, 1e-5, 1e-6)
        if not right:
            failed += 1
            print(f"FAIL {name}: {actual}")
    shutil.rmtree(folder)
    print(f"{len(CASES) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
