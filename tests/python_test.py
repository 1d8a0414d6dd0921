#!/usr/bin/env python3
"""The Python binding: it describes the header as it is, computes what the command line computes, and fails as Python
programs expect. Needs NumPy (skipped without) and a C compiler for the comparison with the header.

    tests/python_test.py BUILD_DIR

The last line is 'N passed, N failed, N skipped'.
"""
import ctypes
import gc
import gzip
import itertools
import json
import os
import struct
import subprocess
import sys
import threading

BUILD = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(BUILD, "libtilewise.so")
if not os.path.exists(LIBRARY) or b"__asan_report_load" in open(LIBRARY, "rb").read():
    print("SKIP the build has no shared library that Python can load")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit()
try:
    import numpy as np
except ImportError:
    # tests/run chooses any Python that has json; the system's may have NumPy where that one has not.
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("SKIP no NumPy")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit()

os.environ["TILEWISE_LIBRARY"] = LIBRARY
sys.path.insert(0, os.path.join(ROOT, "python"))
sys.dont_write_bytecode = True
import tilewise as tw  # noqa: E402
from cases import Skip, case, check, equal, main, path  # noqa: E402
from tilewise import native  # noqa: E402

X = np.random.default_rng(1).standard_normal((1, 1, 32, 32)).astype(np.float32)


def refuse(kind, fragment, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind as problem:
        check(fragment in str(problem), f"{problem!r} has no {fragment!r}")
        return
    raise AssertionError(f"{kind.__name__} with {fragment!r} was not raised")


def make_plan(seed=3, **options):
    with tw.Graph.zoo("lenet5").init(seed=seed) as graph, tw.Device("cpu", threads=1) as device:
        return tw.Plan(graph, device, **options)


# ---- the header ----


def compile_c(name, source, *options):
    with open(path(name + ".c"), "w") as file:
        file.write('#include "tilewise.h"\n#include <stdio.h>\n' + source)
    compiler = os.environ.get("CC", "cc")
    return subprocess.run([compiler, "-std=c17", "-Wall", "-Werror", "-I", os.path.join(ROOT, "include"), *options,
                           path(name + ".c"), "-o", path(name)], capture_output=True, text=True)


@case
def structs_and_enums_are_the_headers():
    lines = []
    for name, kind in native.STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field, _ in kind._fields_:
            lines.append(f'printf("{name}.{field} %zu %zu %d\\n", offsetof({name}, {field}), '
                         f'sizeof((({name} *)0)->{field}), FLOATING((({name} *)0)->{field}));')
    for name in itertools.chain(*native.ENUMS):
        lines.append(f'printf("{name} %d\\n", {name});')
    lines.append('printf("%s %d\\n", TW_VERSION, TW_MAX_RANK);')
    built = compile_c("layout", "#define FLOATING(x) _Generic((x), float: 1, double: 1, float *: 1, const float *: 1,"
                      " default: 0)\nint main(void)\n{\n" + "\n".join(lines) + "\n}\n")
    equal(built.returncode, 0, f"exit status of the compiler ({built.stderr})")
    theirs = subprocess.run([path("layout")], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = []
    for name, kind in native.STRUCTS.items():
        ours.append(f"{name} {ctypes.sizeof(kind)}")
        for field, ctype in kind._fields_:
            member = getattr(kind, field)
            element = getattr(ctype, "_type_", None) if issubclass(ctype, ctypes.Array) else ctype
            floating = element in (ctypes.c_float, ctypes.c_double) or (name, field) == ("tw_batch", "pixels")
            ours.append(f"{name}.{field} {member.offset} {member.size} {int(floating)}")
    ours += [f"{name} {value}" for enum in native.ENUMS for name, value in enum.items()]
    ours.append(f"{native.VERSION} {native.MAX_RANK}")
    for mine, real in itertools.zip_longest(ours, theirs):
        equal(mine, real, "the binding's layout")


@case
def declarations_are_the_headers():
    built = compile_c("declarations", native.DECLARATIONS, "-c")
    equal(built.returncode, 0, f"exit status of the compiler ({built.stderr})")
    wrong = native.DECLARATIONS.replace("size_t max_pixels", "int max_pixels")
    check(compile_c("wrong", wrong, "-c").returncode != 0, "a wrong declaration compiles")
    declared = native.DECLARATIONS.count(";")
    typed = [n for n in dir(native.library) if n.startswith("tw_") and getattr(native.library, n).argtypes is not None]
    equal(len(typed), declared, "the number of declared functions")


@case
def a_missing_library_is_named():
    def load(**environment):
        command = [sys.executable, "-B", "-c", "import tilewise"]
        env = dict(os.environ, PYTHONPATH=os.path.join(ROOT, "python"), **environment)
        result = subprocess.run(command, env=env, capture_output=True, text=True)
        equal(result.returncode, 1, "exit status")
        return result.stderr.strip().splitlines()[-1]
    message = load(TILEWISE_LIBRARY="/nowhere/libtilewise.so")
    check(message.startswith("ImportError: no libtilewise.so: tried /nowhere/libtilewise.so"), message)
    message = load(TILEWISE_LIBRARY=path("layout"))
    check("tried " + path("layout") in message, message)


# ---- errors ----


@case
def errors_are_exceptions():
    refuse(tw.Invalid, "lenet6", tw.Graph.zoo, "lenet6")
    refuse(ValueError, "lenet6", tw.Graph.zoo, "lenet6")
    refuse(tw.Invalid, "nothing.onnx", tw.Graph.onnx, path("nothing.onnx"))
    refuse(tw.Invalid, "quantum", tw.Device, "quantum")
    with tw.Graph.zoo("lenet5") as graph, tw.Device(threads=1) as device:
        refuse(tw.Invalid, "fp8", tw.Plan, graph, device, precision="fp8")
        refuse(tw.TilewiseError, "", tw.Plan, graph, device)  # parameters have no data
    with tw.Graph.zoo("lenet5").init() as graph, tw.Device(threads=1) as device:
        refuse(tw.Unavailable, "winograd", tw.Plan, graph, device, designs="winograd")
        refuse(tw.Invalid, "-1", tw.Plan, graph, device, batch=-1)
        refuse(tw.Invalid, "4294967297", tw.Plan, graph, device, batch=2**32 + 1)
        refuse(tw.Invalid, "nothing", graph.shape, "nothing")
    with tw.Graph.zoo("lenet5") as graph:
        refuse(tw.Invalid, "no.such", graph.bind, path("no.such"))
        refuse(tw.Invalid, "zero byte", graph.bind, "a\0b")
    try:
        tw.Graph.zoo("lenet6")
    except tw.TilewiseError as problem:
        equal(problem.status, "invalid", "status")


@case
def wrong_arrays_are_named():
    plan = make_plan()
    refuse(tw.Invalid, "float64", plan.run, X.astype(np.float64))
    refuse(tw.Invalid, "(1, 32, 32), expected (1, 1, 32, 32)", plan.run, X[0])
    refuse(tw.Invalid, "(2, 1, 32, 32)", plan.run, np.concatenate([X, X]))
    refuse(tw.Invalid, "2 inputs, expected 1", plan.run, X, X)
    refuse(tw.Invalid, "list", plan.run, X.tolist())
    refuse(tw.Invalid, ">f4", plan.run, X.astype(">f4"))
    with tw.Graph.zoo("lenet5") as graph:
        refuse(tw.Invalid, "complex64", graph.bind, {"conv1.weight": np.zeros((6, 1, 5, 5), np.complex64)})
        refuse(tw.Invalid, "conv1.weight", graph.bind, {"conv1.weight": np.zeros((6, 1, 5, 4), np.float32)})


@case
def closed_objects_say_so():
    plan = make_plan()
    run = tw.Run(plan)
    for thing, use in ((run, lambda: run.run(X)), (plan, lambda: plan.run(X))):
        thing.close()
        thing.close()
        refuse(tw.Invalid, "is closed", use)


# ---- inference ----


@case
def inference_is_the_command_lines():
    np.save(path("x.npy"), X)
    with tw.Graph.zoo("lenet5").init(seed=3) as graph, tw.Device("cpu", threads=1) as device:
        graph.save_onnx(path("seeded.onnx"))
        plan = tw.Plan(graph, device)
    subprocess.run([os.path.join(BUILD, "tilewise"), "run", path("seeded.onnx"), "--threads", "1", "--input",
                    path("x.npy"), "--output", path("y.npy")], check=True, stdout=subprocess.DEVNULL)
    y = plan.run(X)
    check(np.array_equal(y, np.load(path("y.npy"))), "logits differ from tilewise run")
    strided = np.zeros((1, 1, 64, 64), np.float32)
    strided[:, :, ::2, ::2] = X
    check(np.array_equal(y, plan.run(strided[:, :, ::2, ::2])), "a strided input gives other logits")
    batch = make_plan(batch=3)
    equal((batch.inputs, batch.outputs), ([(3, 1, 32, 32)], [(3, 10)]), "shapes of a batch")
    check(np.allclose(batch.run(np.concatenate([X * 0, X, X]))[2], y[0], atol=1e-6), "the batch's third image differs")


@case
def metal_sim_is_of_a_family():
    refuse(tw.Invalid, '"apple3"', tw.Device, "metal-sim", family="apple3")
    refuse(tw.Invalid, "str", tw.Device, "metal-sim", family=6)
    try:
        device = tw.Device("metal-sim", family="apple6")
    except tw.Unavailable as error:
        raise Skip(f"{error}") from None
    equal(device.info.features.split()[0], "apple6", "its family")
    with tw.Graph.zoo("lenet5").init(seed=3) as graph, tw.Plan(graph, device) as plan:
        check(np.allclose(plan.run(X), make_plan().run(X), atol=1e-5), "logits differ from the CPU's")
        refuse(tw.Unavailable, "Apple7", tw.Plan, graph, device, designs="linear=simdgroup_matrix")


@case
def plans_tell_steps_values_and_times():
    plan = make_plan(keep_values=True, designs="reference")
    equal(plan.info.precision, "fp32", "precision")
    steps = plan.steps
    equal([step.op for step in steps if step.op in ("conv2d", "linear")], ["conv2d"] * 2 + ["linear"] * 3, "operators")
    equal({step.design for step in steps}, {"reference"}, "designs")
    y, seconds = plan.profile(X)
    check(seconds.shape == (len(steps),) and (seconds >= 0).all() and seconds.sum() > 0, f"seconds {seconds}")
    check(np.array_equal(y, plan.value(steps[-1].output)), "the last value is no logits")
    refuse(tw.Invalid, "nothing", plan.value, "nothing")
    check(plan.value(steps[0].output).shape[1] == 6, "the first value has no 6 channels")


@case
def tuned_plans_choose_by_measurements():
    before, cache = os.environ.get("XDG_CACHE_HOME"), path("cache")
    os.environ["XDG_CACHE_HOME"] = cache
    try:
        check(all(np.isnan(step.measured) for step in make_plan(tuned=True).steps), "something was measured")
        subprocess.run([os.path.join(BUILD, "tilewise"), "tune", "lenet5", "--threads", "1", "--iterations", "1",
                        "--warmUp", "0", "--duration", "0.01"], check=True, capture_output=True)
        predicted, tuned = make_plan(), make_plan(tuned=True)
        check(all(np.isnan(step.measured) for step in predicted.steps), "a plan was tuned that need not be")
        check(any(step.measured > 0 for step in tuned.steps), "a tuned plan was not")
        check(np.allclose(tuned.run(X), predicted.run(X), atol=1e-5), "logits differ")
        (name,) = os.listdir(os.path.join(cache, "tilewise"))
        with open(os.path.join(cache, "tilewise", name), "w", encoding="utf-8") as file:
            file.write("nonsense\n")
        refuse(tw.Invalid, "not a tuning", make_plan, tuned=True)
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


@case
def parameters_bind_and_come_back():
    with tw.Graph.zoo("lenet5").init(seed=3) as graph, tw.Graph.zoo("lenet5") as other:
        equal([view for view in other.parameters.values() if view is not None], [], "data before binding")
        arrays = {name: view.copy() for name, view in graph.parameters.items()}
        equal(sum(a.size for a in arrays.values()), graph.info.parameter_count, "numbers in parameters")
        other.bind({**arrays, "unasked": np.zeros(3, np.int64)})
        for name, view in other.parameters.items():
            check(np.array_equal(view, arrays[name]), f"{name} differs")
            check(not view.flags.writeable, f"{name} may be written")
        del view
        half = {name: a.astype(np.float16) for name, a in arrays.items()}
        other.bind(half)
        check(np.array_equal(other.parameters["fc1.bias"], half["fc1.bias"].astype(np.float32)), "float16 differs")


@case
def onnx_goes_out_and_comes_back():
    with tw.Graph.zoo("lenet5").init(seed=3) as graph, tw.Device(threads=1) as device:
        graph.save_onnx(path("lenet5.onnx"))
        with tw.Graph.onnx(path("lenet5.onnx")) as read, tw.Plan(read, device) as plan:
            equal(read.inputs, [(1, 1, 32, 32)], "inputs")
            check(np.allclose(plan.run(X), make_plan().run(X), atol=1e-6), "logits differ after ONNX")
        refuse(tw.TilewiseError, "nowhere", graph.save_onnx, "/nowhere/x.onnx")


# ---- threads and lifetimes ----


@case
def threads_share_a_plan_and_have_their_own():
    shared, alone = make_plan(), [make_plan(seed=seed) for seed in range(2)]
    inputs = [X * (i + 1) for i in range(4)]
    expected = [[plan.run(x) for x in inputs] for plan in (shared, *alone)]
    problems = []

    def work(index):
        try:
            for _ in range(100):
                for plan, answers in ((shared, expected[0]), (alone[index], expected[index + 1])):
                    for x, y in zip(inputs, answers):
                        check(np.array_equal(plan.run(x), y), f"thread {index}: other logits")
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(problems, [], "problems in threads")


@case
def objects_die_in_any_order():
    expected = make_plan().run(X)
    for order in itertools.permutations(range(4)):
        graph, device = tw.Graph.zoo("lenet5").init(seed=3), tw.Device(threads=1)
        plan = tw.Plan(graph, device)
        things = [graph, device, plan, tw.Run(plan)]
        del graph, device, plan
        for index in order:
            if things[3] is not None:
                check(np.array_equal(things[3].run(X), expected), f"logits differ in order {order}")
            if index % 2:
                things[index].close()
            things[index] = None
            gc.collect()


@case
def arrays_outlive_their_graph():
    graph = tw.Graph.zoo("lenet5").init(seed=3)
    weight = graph.parameters["fc1.weight"]
    part, before = weight[3:5], weight.copy()
    del weight
    refuse(tw.Invalid, "still in use", graph.init, seed=4)
    graph.close()
    del graph
    gc.collect()
    check(np.array_equal(part, before[3:5]), "a view lost its memory")


# ---- images and data sets ----


def write_png(name, pixels):
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    with open(path(name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path(name)


@case
def images_become_inputs():
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    image = tw.read_image(write_png("noise.png", pixels))
    check(np.array_equal(image, pixels), "pixels differ")
    how = tw.Preprocess(crop=20, mean=(0.5, 0, 0), std=(1, 2, 1), pad=1, resize=20)
    x = tw.preprocess(image, how)
    expected = pixels[:, 5:25].transpose(2, 0, 1) / 255
    expected = (expected - np.array([0.5, 0, 0])[:, None, None]) / np.array([1, 2, 1])[:, None, None]
    check(x.shape == (3, 22, 22) and np.allclose(x[:, 1:-1, 1:-1], expected, atol=1e-6), "the crop differs")
    equal(tw.Preprocess.zoo("resnet18").shape, (3, 224, 224), "resnet18's input")
    refuse(tw.Invalid, "not a JPEG or PNG", tw.read_image, LIBRARY)
    refuse(tw.Invalid, "float32", tw.preprocess, pixels.astype(np.float32), how)
    refuse(tw.Invalid, "", tw.read_image, path("noise.png"), max_pixels=10)


@case
def data_sets_are_iterated():
    images = np.random.default_rng(3).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
    folder = path("idx")
    os.mkdir(folder)
    with gzip.open(os.path.join(folder, "t10k-images-idx3-ubyte.gz"), "wb") as file:
        file.write(struct.pack(">IIII", 0x803, 7, 28, 28) + images.tobytes())
    with open(os.path.join(folder, "t10k-labels-idx1-ubyte"), "wb") as file:
        file.write(struct.pack(">II", 0x801, 7) + labels.tobytes())
    dataset = tw.Dataset(folder)
    equal((dataset.format, len(dataset), dataset.shape), ("idx", 7, (1, 28, 28)), "the data set")
    equal([dataset.label(i) for i in range(7)], labels.tolist(), "labels")
    loader = tw.Loader(dataset, tw.Preprocess.zoo("lenet5"), batch=3, threads=2)
    dataset.close()
    batches = list(loader)
    equal([len(batch.labels) for batch in batches], [3, 3, 1], "batch sizes")
    equal(np.concatenate([batch.labels for batch in batches]).tolist(), labels.tolist(), "labels in batches")
    pixels = np.concatenate([batch.pixels for batch in batches])
    check(np.allclose(pixels[:, 0, 2:-2, 2:-2], images / 255, atol=1e-6), "pixels differ")
    with tw.Dataset(folder) as again, tw.Loader(again, tw.Preprocess.zoo("lenet5"), order=[5, 0]) as some:
        equal([batch.indices.tolist() for batch in some], [[5], [0]], "indices in the order asked for")
        refuse(IndexError, "7", again.label, 7)
    refuse(tw.Invalid, "idx-nowhere", tw.Dataset, path("idx-nowhere"))


@case
def files_without_labels_are_loaded():
    good = write_png("good.png", np.full((8, 8, 3), 255, np.uint8))
    with tw.Loader([good, path("bad.png")], tw.Preprocess(crop=8), batch=2, threads=1) as loader:
        batch = next(loader)
        equal(batch.labels.tolist(), [-1, -1], "labels")
        check(batch.errors[0] is None and "bad.png" in batch.errors[1], f"errors {batch.errors}")
        check((batch.pixels[0] == 1).all() and (batch.pixels[1] == 0).all(), "pixels differ")
        equal(list(loader), [], "what follows the last batch")


@case
def zoo_names_are_the_command_lines():
    output = subprocess.run([os.path.join(BUILD, "tilewise"), "devices", "-o", "json"], check=True, capture_output=True)
    equal(tw.version(), json.loads(output.stdout)["tilewise"], "version")
    check({"lenet5", "vgg16", "efficientnet_lite0"} <= set(tw.zoo_names()), "networks are missing")


main()
