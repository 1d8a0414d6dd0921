"""The ONNX project's own test cases, through the importer and on every CPU design that takes them.

    tests/onnx_nodes.py BUILD_DIR [--table FILE.md] [--only NAME] [--cases WORDS]

The cases are those that the onnx package carries, or those under the folder ONNX_TEST_DATA (which has node/, simple/
and so on), such as onnx/backend/test/data of the newest wheel that still has them, onnx 1.17.0; WORDS say in the table
which they are. A case whose operators are not all Tilewise's, or that the importer refuses by name, is out of scope; the
table says why. Weights that a case gives as inputs become initialisers, as they are in a network's file.
"""
import collections
import glob
import os
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    from onnx import numpy_helper, version_converter
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"onnx_nodes.py: {missing}")

HERE = os.path.dirname(os.path.abspath(__file__))
SETS = ["node", "simple", "pytorch-converted", "pytorch-operator"]
TOLERANCE = 1e-4  # of the largest magnitude of the expected output

# Inputs that are parameters in a network; a node's first input is none, but for Gemm's with transA.
PARAMETERS = {
    "Conv": {1, 2}, "Gemm": {1, 2}, "MatMul": {1}, "BatchNormalization": {1, 2, 3, 4}, "Clip": {1, 2}, "Reshape": {1},
    "Pad": {1, 2, 3}, "Slice": {1, 2, 3, 4}, "Squeeze": {1}, "Unsqueeze": {1}, "ReduceMean": {1}, "ReduceMax": {1},
    "Dropout": {1, 2}, "Mul": {1}, "Sub": {1}, "Div": {1}, "Gather": {1},
}

# What the importer says of cases that are none of its business.
OUT_OF_SCOPE = [
    (r"operators? (?:is|are) not supported: (.*)", None),
    (r"has elements of ONNX type", "inputs that are not real numbers"),
    (r"does not depend on any input's numbers", "computes with constants only"),
    (r"is an input or an initialiser", "computes nothing"),
    (r"is no tensor", "inputs that are not tensors"),
    (r"only the first, the batch, may be free", "free dimensions beside the batch"),
]


class Runner:
    """tests/onnx_run, kept running."""

    def __init__(self, build):
        program = os.path.join(build, "tests", "onnx_run")
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, model, design, folder, inputs):
        self.process.stdin.write("\t".join([model, design, folder, *inputs]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n")
        if not answer:
            raise RuntimeError(f"{model}: onnx_run ended with status {self.process.wait()}")
        kind, _, message = answer.partition(" ")
        return kind, message

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def designs():
    """All CPU designs' names, and auto."""
    with open(os.path.join(HERE, "..", "src", "ops", "designs.def"), encoding="utf-8") as table:
        names = re.findall(r"^DESIGN\(\w+, cpu, (\w+)", table.read(), re.M)
    return ["auto"] + sorted(set(names) - {"openblas"})


def importable():
    """The operators that the importer's table has."""
    with open(os.path.join(HERE, "..", "src", "onnx", "import_nodes.c"), encoding="utf-8") as source:
        return set(re.findall(r'^    \{"(\w+)", tw_onnx_', source.read(), re.M))


def at_least_opset_7(model):
    """Cases from before opset 7, the oldest that is read, in terms of opset 7."""
    old = next((o for o in model.opset_import if o.domain in ("", "ai.onnx") and o.version < 7), None)
    if old is None:
        return model
    unchanged = all(onnx.defs.get_schema(n.op_type, 7).since_version <= old.version for n in model.graph.node)
    if not unchanged:
        return version_converter.convert_version(model, 7)
    old.version = 7
    return model


def load_tensor(path):
    """A stored tensor, or None where it is a sequence or an optional."""
    tensor = onnx.TensorProto()
    try:
        with open(path, "rb") as file:
            tensor.ParseFromString(file.read())
        return numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001, whatever protobuf or onnx say of another message
        return None


def weighs_left(node):
    """Gemm with transA has its weights at the left, unless the other operand would have to be turned too."""
    flags = {a.name: a.i for a in node.attribute}
    return node.op_type == "Gemm" and flags.get("transA", 0) and not flags.get("transB", 0)


def is_parameter(node, index, shape, output_shape):
    if weighs_left(node) and index < 2:
        return index == 0
    if index == 0:
        return False
    if node.op_type == "Add":
        return shape != output_shape
    if node.op_type == "Gemm" and index == 2:
        return shape != output_shape or shape[0] == 1
    return index in PARAMETERS.get(node.op_type, ())


def make_initializers(model, arrays, outputs):
    """Moves inputs that are parameters, and gives the arrays of those that stay."""
    graph, moved = model.graph, set()
    known = {t.name for t in graph.initializer}
    names = [i.name for i in graph.input if i.name not in known]
    shapes = {name: array.shape for name, array in zip(names, arrays) if array is not None}
    firsts = {node.input[0] for node in graph.node if node.input and not weighs_left(node)}
    for node in graph.node:
        shape = outputs[0].shape if outputs and outputs[0] is not None else None
        for index, name in enumerate(node.input):
            if name in shapes and name not in firsts and is_parameter(node, index, shapes[name], shape):
                moved.add(name)
    for name, array in zip(names, arrays):
        if name in moved:
            graph.initializer.append(numpy_helper.from_array(array, name))
    kept = [i for i in graph.input if i.name not in moved]
    del graph.input[:]
    graph.input.extend(kept)
    return [array for name, array in zip(names, arrays) if name not in moved]


def stored(folder, kind):
    paths = glob.glob(os.path.join(folder, kind + "_*.pb"))
    return [load_tensor(p) for p in sorted(paths, key=lambda p: int(re.findall(r"\d+", os.path.basename(p))[0]))]


def agrees(actual, expected):
    if actual.size != expected.size:
        return f"{actual.size} numbers, expected {expected.size}"
    expected = expected.astype(np.float64).ravel()
    actual = actual.astype(np.float64).ravel()
    with np.errstate(invalid="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        finite = np.abs(expected[np.isfinite(expected)])
        scale = finite.max() if finite.size else 1.0
        close = np.abs(actual - expected) <= TOLERANCE * scale + 1e-7
    if (same | close).all():
        return None
    return f"off by {np.abs(actual - expected)[~(same | close)].max():.3g} where numbers go to {scale:.3g}"


Result = collections.namedtuple("Result", "set name operators state reason designs")


def out_of_scope(message):
    for pattern, words in OUT_OF_SCOPE:
        found = re.search(pattern, message)
        if found:
            return words or re.sub(r" \(\"[^)]*\)", "", found.group(1))
    return None


class Suite:
    def __init__(self, build, only=None):
        self.run, self.only, self.designs, self.operators = Runner(build), only, designs(), importable()
        self.folder = tempfile.mkdtemp(prefix="tilewise-onnx-")

    def cases(self):
        root = os.environ.get("ONNX_TEST_DATA")
        if not root:
            root = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
        for name in SETS:
            for folder in sorted(glob.glob(os.path.join(root, name, "*"))):
                if os.path.exists(os.path.join(folder, "model.onnx")):
                    if not self.only or self.only in folder:
                        yield name, folder

    def results(self):
        for name, folder in self.cases():
            yield self.case(name, folder)

    def case(self, set_name, folder):
        path = os.path.join(folder, "model.onnx")
        model = onnx.load(path)
        operators = tuple(sorted({node.op_type for node in model.graph.node} - {"Constant"})) or ("Constant",)
        name = os.path.basename(folder)
        foreign = [o for o in operators if o not in self.operators]
        if foreign:  # the importer must say so, whatever else the case is
            kind, message = self.run(path, "auto", self.folder, [])
            fine = kind == "error" and message.startswith(path + ": ")
            return Result(set_name, name, operators, "foreign" if fine else "failed", foreign[0] if fine else message, 0)
        data = sorted(glob.glob(os.path.join(folder, "test_data_set_*")))
        state, reason, taken = "out of scope", "no stored data", 0
        for data_set in data:
            state, reason, taken = self.data_set(at_least_opset_7(onnx.load(path)), data_set)
            if state != "passed":
                break
        return Result(set_name, name, operators, state, reason, taken)

    def data_set(self, model, data_set):
        if any(i.type.tensor_type.elem_type in (10, 16) for i in model.graph.input):
            return "out of scope", "inputs that are not float32", 0  # networks of them are read; stored numbers are not
        arrays, expected = stored(data_set, "input"), stored(data_set, "output")
        if any(a is None for a in arrays + expected):
            return "out of scope", "values that are not tensors", 0
        if any(o.type.tensor_type.elem_type != onnx.TensorProto.FLOAT for o in model.graph.output):
            return "out of scope", "outputs that are not float32", 0
        inputs = make_initializers(model, arrays, expected)
        path = os.path.join(self.folder, "model.onnx")
        with open(path, "wb") as file:
            file.write(model.SerializeToString())
        files = []
        for i, array in enumerate(inputs):
            files.append(os.path.join(self.folder, f"in{i}.npy"))
            np.save(files[-1], array.astype(np.float32))
        return self.on_designs(path, files, expected)

    def on_designs(self, path, files, expected):
        taken = 0
        for design in self.designs:
            kind, message = self.run(path, design, self.folder, files)
            if kind == "unavailable" and design != "auto":
                continue
            if kind != "ok":
                reason = out_of_scope(message) if design == "auto" else None
                return ("out of scope", reason, 0) if reason else ("failed", f"{design}: {message}", 0)
            for i, array in enumerate(expected):
                wrong = agrees(np.load(os.path.join(self.folder, f"{i}.npy")), array)
                if wrong:
                    return "failed", f"{design}: output {i}: {wrong}", 0
            taken += 1
        return "passed", "", taken

    def close(self):
        self.run.close()
        for path in glob.glob(os.path.join(self.folder, "*")):
            os.remove(path)
        os.rmdir(self.folder)


def table(results):
    """Markdown: a line an operator, then what is not read and why."""
    passed, others, foreign = collections.Counter(), collections.Counter(), collections.Counter()
    runs = sum(r.designs for r in results)
    for r in results:
        label = ", ".join(r.operators[:3]) + (" and others" if len(r.operators) > 3 else "")
        if r.state == "passed":
            passed[label] += 1
        elif r.state == "out of scope":
            others[label, r.reason] += 1
        elif r.state == "foreign":
            foreign[r.reason] += 1
    failed = [r for r in results if r.state == "failed"]
    lines = [f"{sum(passed.values())} cases pass ({runs} runs, each on every CPU design that takes it), {len(failed)} fail; "
             f"{sum(others.values())} are refused with a reason and {sum(foreign.values())} have operators that "
             "Tilewise lacks.", "", "| operators | cases that pass |", "|---|---|"]
    lines += [f"| {label} | {count} |" for label, count in sorted(passed.items())]
    lines += ["", "An input whose channels come last (a Transpose by 0, 3, 1, 2 is then the first node, as tf2onnx writes "
              "it) is refused: Tilewise takes images channels first. Export it so; with tf2onnx, by "
              "`--inputs-as-nchw INPUT`."]
    lines += ["", "| operators | out of scope because | cases |", "|---|---|---|"]
    lines += [f"| {label} | {reason} | {count} |" for (label, reason), count in sorted(others.items())]
    lines += ["", "Operators that Tilewise lacks, by the first one of each case: "
              + ", ".join(f"{name} ({count})" for name, count in sorted(foreign.items())) + "."]
    lines += [""] + [f"FAIL {r.set}/{r.name}: {r.reason}" for r in failed] if failed else []
    return "\n".join(lines) + "\n"


def main():
    arguments = sys.argv[1:]
    options = {}
    for name in ("--table", "--only", "--cases"):
        if name in arguments:
            at = arguments.index(name)
            options[name] = arguments[at + 1]
            del arguments[at:at + 2]
    suite = Suite(arguments[0], options.get("--only"))
    results = list(suite.results())
    suite.close()
    text = table(results)
    if "--table" in options:
        with open(options["--table"], "w", encoding="utf-8") as file:
            cases = options.get("--cases", f"onnx {onnx.__version__}")
            file.write("# ONNX's own test cases\n\nWritten by `tests/onnx_nodes.py BUILD_DIR --table` with the cases of "
                       f"{cases}.\n\n" + text)
    print(text, end="")
    sys.exit(any(r.state == "failed" for r in results))


if __name__ == "__main__":
    main()
