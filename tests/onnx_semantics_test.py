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


def rand(seed, *shape):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), np.float32)


X = rand(1, 1, 3, 4, 5)
M = rand(13, 6, 7)  # a matrix that is one image
ROWS = rand(14, 2, 4)  # two images of one row
INTEGERS = {"big_pads": [0, 0, 2**29 - 1, 2**29 - 1] * 2, "no_pads": [0] * 8, "last": [199999], "huge": [2**62],
            "one_huge": [1, 2**62], "step": [2**63 - 1], "zero": [0], "axis": [1], "axes": [1, 2],
            "empty": [], "two": [2], "a_row": [[1, 3]], "a_column": [[1], [20]], "one": [[2]]}


CONSTANTS = {"w": rand(2, 4, 3), "w_t": rand(3, 3, 4), "left": rand(4, 5, 6), "left_t": rand(5, 6, 5),
             "row": rand(6, 1, 3), "column": rand(7, 5, 1), "all": rand(8, 5, 7), "one_w": rand(9, 1, 4, 3),
             "vector": rand(10, 4), "bias": rand(11, 3), "scalar": rand(12), "ones": np.ones(3, np.float32),
             "many": np.zeros(200000, np.float32), "two_reals": np.zeros(2, np.float32), "kernel": rand(15, 2, 5, 1, 1),
             "w_column": rand(16, 4, 1),
             "sizes": np.array([-1, 60.5]), "no_sizes": np.array([-1, np.nan])}
C = CONSTANTS
# Tensors without elements, however large.
NOTHING = {"rows": (TensorProto.UINT8, [0, 2**62]), "planes": (TensorProto.UINT8, [0, 1, 2**62]),
           "no_kernel": (TensorProto.FLOAT16, [1, 2**58, 0, 1])}


def run(folder, opset, nodes, x_array=X, free=True):
    """The result y of a model with input x: an array, or what is said of it."""
    model, x, y = (os.path.join(folder, name) for name in ("m.onnx", "x.npy", "y.npy"))
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in INTEGERS.items() if k in used]
    constants += [numpy_helper.from_array(v, k) for k, v in CONSTANTS.items() if k in used]
    constants += [helper.make_tensor(k, *v, b"", raw=True) for k, v in NOTHING.items() if k in used]
    shape = ["N", *x_array.shape[1:]] if free else x_array.shape
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    if "sparse" in used:
        graph.sparse_initializer.append(helper.make_sparse_tensor(
            helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("indices", TensorProto.INT64, [1], [0]), [3]))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with open(model, "wb") as file:
        file.write(made.SerializeToString())
    matrix = x_array.ndim == 3 or (x_array.ndim == 2 and not free)  # an image of one row of pixels
    np.save(x, x_array.reshape(-1, x_array.shape[-2], 1, x_array.shape[-1]) if matrix else x_array)
    done = subprocess.run([TILEWISE, "run", model, "--input", x, "--output", y], capture_output=True, text=True,
                          timeout=60, check=False)
    return np.load(y) if done.returncode == 0 else done.stderr


def reduction(op, noop, axes, opset):
    inputs = ["x", "empty"] if axes else ["x"]
    return opset, [helper.make_node(op, inputs, ["y"], name="node", noop_with_empty_axes=noop)]


def arithmetic(a, b):
    return 13, [helper.make_node("Add", [a, b], ["s"], name="node"), helper.make_node("Reshape", ["x", "s"], ["y"])]


def node(op, *inputs, **attributes):
    return [helper.make_node(op, inputs, ["y"], name="node", **attributes)]


def then_transposed(op, *inputs, perm=(1, 0), **attributes):
    return [helper.make_node(op, inputs, ["z"], name="node", **attributes),
            helper.make_node("Transpose", ["z"], ["y"], name="turn", perm=perm)]


def gemm(a, b, c=0, alpha=1.0, beta=1.0):
    return alpha * (a @ b) + beta * c


# Products: name, nodes, x, whether its batch is free, and the expected array or words of the refusal.
PRODUCTS = [
    ("Gemm, alpha and beta", node("Gemm", "x", "w_t", "bias", alpha=0.5, beta=2.0, transB=1), ROWS, True,
     gemm(ROWS, C["w_t"].T, C["bias"], 0.5, 2)),
    ("Gemm, a scalar C", node("Gemm", "x", "w", "scalar"), ROWS, True, gemm(ROWS, C["w"], C["scalar"])),
    ("Gemm, transA of a column", node("Gemm", "x", "w", "row", transA=1), ROWS[:1].T, False,
     gemm(ROWS[:1], C["w"], C["row"])),
    ("Gemm, transA of many rows, transposed after", then_transposed("Gemm", "x", "w", "row", alpha=3.0, transA=1),
     ROWS.T, False, gemm(ROWS, C["w"], C["row"], 3).T),
    ("Gemm, transA of many rows", node("Gemm", "x", "w", transA=1), ROWS.T, False, "with transA over the batch"),
    ("Gemm, a constant at the left", node("Gemm", "left", "x"), M, False, C["left"] @ M),
    *((f"Gemm, a constant at the left, C {name}", node("Gemm", "left_t", "x", name, transA=1, alpha=0.5, beta=2.0), M,
       False, gemm(C["left_t"].T, M, C[name], 0.5, 2)) for name in ("column", "all", "scalar")),
    ("Gemm, a constant at the left, beta 0", node("Gemm", "left", "x", "all", beta=0.0), M, False, C["left"] @ M),
    ("Gemm, a constant at the left, over the batch", node("Gemm", "left", "x"), M, True, "Gemm over the batch"),
    ("Gemm, a constant at the left of other rows", node("Gemm", "w", "x"), M, False, "Gemm over the batch"),
    ("MatMul, a constant at the left", node("MatMul", "left", "x"), np.stack([M, 2 * M]), True,
     np.stack([C["left"] @ M, 2 * C["left"] @ M])),
    ("MatMul by a vector", node("MatMul", "x", "vector"), ROWS, True, (ROWS @ C["vector"])[:, None]),
    ("MatMul by one matrix in 3 dimensions", node("MatMul", "x", "one_w"), ROWS[:, None], True,
     ROWS @ C["one_w"][0]),
    ("MatMul that gains a dimension", node("MatMul", "x", "one_w"), ROWS, True, "MatMul by a constant of 3 dimensions"),
    ("MatMul, Add, Relu", [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["bias", "a"], ["b"]),
                           helper.make_node("Relu", ["b"], ["y"])], ROWS, True,
     np.maximum(ROWS @ C["w"] + C["bias"], 0)),
    ("Transpose of a dimension of 1", node("Transpose", "x", perm=[0, 2, 1, 3]), X[:, :1], True, X[:, :1]),
    ("Transpose to an output", node("Transpose", "x", perm=[0, 2, 1, 3]), X, True,
     'Transpose that leaves an output transposed ("node")'),
    ("Transpose that moves the batch past a dimension of 1", [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3]),
        helper.make_node("Softmax", ["t"], ["y"], name="node", axis=1)], X.reshape(3, 1, 4, 5), True,
     'Softmax of a transposed activation'),
    ("Transpose of an input with channels last", [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "kernel"], ["y"], name="node")], X, True,
     'of an input with channels last (export with channels first; tf2onnx: --inputs-as-nchw) ("node")'),
    ("Gemm, an activation of another shape as C", [
        helper.make_node("Gemm", ["x", "w_column"], ["a"]), helper.make_node("Squeeze", ["a", "axis"], ["c"]),
        helper.make_node("Gemm", ["x", "w_column", "c"], ["y"], name="node")], ROWS, True,
     'Gemm with an input C of another shape ("node")'),
    ("Gemm, an activation as C", [
        helper.make_node("Gemm", ["x", "w"], ["a"]), helper.make_node("Gemm", ["x", "w", "a"], ["y"])], ROWS, True,
     2 * (ROWS @ C["w"])),
    ("Transpose there and back", [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["t"], ["y"], perm=[0, 3, 1, 2])], X, True, X),
]

# Name, model, and the expected array or words of the refusal.
CASES = [
    *((f"{op} of no axes is x, {'an empty' if axes else 'no'} input", reduction(op, 1, axes, 18), X)
      for op in ("ReduceMean",) for axes in (False, True)),
    ("ReduceMean of no axes is of all", reduction("ReduceMean", 0, True, 18), "over the batch"),
    ("2x1 and 1x2 integers make 2x2", arithmetic("a_column", "a_row"), "Add of 2 and 2 integers"),
    ("an integer of a higher rank", arithmetic("empty", "one"), "Add of 0 and 1 integers"),
    ("a real constant that becomes a size", (8, [helper.make_node("Cast", ["sizes"], ["s"], to=TensorProto.INT64),
                                                 helper.make_node("Reshape", ["x", "s"], ["y"])]), X),
    ("NaN that becomes a size", (8, [helper.make_node("Cast", ["no_sizes"], ["s"], to=TensorProto.INT64),
                                     helper.make_node("Reshape", ["x", "s"], ["y"])]), "Cast of nan to an integer"),
    *((f"BatchNormalization of opset {opset} whose further outputs nobody reads",
       (opset, [helper.make_node("BatchNormalization", ["x", "ones", "ones", "ones", "ones"], ["y", "m", "v", "sm", "sv"],
                                 name="node")]), "BatchNormalization in training mode") for opset in (9, 13)),
    ("more integers than shapes have", (13, [
        helper.make_node("Cast", ["many"], ["i"], to=TensorProto.INT64), helper.make_node("Add", ["i", "two"], ["j"]),
        helper.make_node("Gather", ["j", "last"], ["s"]), helper.make_node("Reshape", ["x", "s"], ["y"])]),
     "Add of 200000 integers"),
    ("zeros without end", (13, [helper.make_node("Pad", ["x", "big_pads"], ["p"], name="node"),
                                helper.make_node("Flatten", ["p"], ["y"])]), 'node "node" (Pad): a tensor of'),
    ("zeros of two kinds", (13, node("Pad", "x", "no_pads", "two_reals")), "its value is no single number"),
    ("Unsqueeze without axes", (13, node("Unsqueeze", "x")), "axes are missing"),
    ("a sparse initialiser", (13, node("Add", "x", "sparse")), "1 sparse initialisers, which are not supported"),
    # What only sanitisers see.
    ("nothing, in many groups", (13, node("Conv", "x", "no_kernel", group=2**29 - 1)), "weights of shape 1x288"),
    ("nothing, sliced from its end", (13, [
        helper.make_node("Slice", ["planes", "one_huge", "one_huge", "axes"], ["s"]),
        helper.make_node("Reshape", ["x", "s"], ["y"])]), "Reshape"),
    ("nothing, in steps beyond it", (13, [
        helper.make_node("Slice", ["rows", "zero", "huge", "axis", "step"], ["s"]),
        helper.make_node("Reshape", ["x", "s"], ["y"])]), "Reshape"),
    ("operators behind a refused one", (13, [helper.make_node("Erf", ["x"], ["a"], name="first"),
                                             helper.make_node("Relu", ["a"], ["b"]),
                                             helper.make_node("Det", ["b"], ["y"], name="second")]),
     '2 operators are not supported: Erf ("first"), Det ("second")'),
]


def main():
    failed = 0
    folder = tempfile.mkdtemp(prefix="tilewise-onnx-semantics-")
    products = [(name, (13, *model), expected) for name, *model, expected in PRODUCTS]
    for name, model, expected in CASES + products:
        actual = run(folder, *model)
        if isinstance(expected, str) or isinstance(actual, str):
            right = isinstance(expected, str) and isinstance(actual, str) and expected in actual
        else:
            right = actual.size == expected.size and np.allclose(actual.ravel(), expected.ravel(), 1e-5, 1e-5)
        if not right:
            failed += 1
            print(f"FAIL {name}: {actual}")
    shutil.rmtree(folder)
    print(f"{len(CASES) + len(PRODUCTS) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
