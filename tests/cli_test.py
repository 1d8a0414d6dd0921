#!/usr/bin/env python3
"""The command line as its users and their scripts see it: exit codes, one-line errors, formats, files, streams.

    tests/cli_test.py BUILD_DIR

Only Python's standard library is used. The last line is 'N passed, N failed, N skipped'.
"""
import csv
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import zlib

from cases import FOLDER, TILEWISE, Skip, as_json, case, check, equal, main, path, read, refuse, run, succeed, write

DATA = os.environ.get("TILEWISE_DATA") or os.path.join(
    os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "tilewise")
QUICK = ["--iterations", "2", "--warmUp", "0", "--duration", "0.01", "--threads", "1"]
LAYER = "conv2d:mb1ic16ih14oc32kh3ph1"
COMMANDS = ["devices", "designs", "inspect", "convert", "classify", "eval", "run", "bench", "profile", "verify"]
ROW_KEYS = ["device", "model", "batch", "precision", "threads"]
BENCH_KEYS = ROW_KEYS + """layer op problem design status reason samples min_ms median_ms mean_ms p90_ms p95_ms p99_ms
    cv init_ms preprocess_ms h2d_ms device_ms d2h_ms flops bytes gflops gbps roofline_pct max_abs_err
    max_rel_err""".split()


# ---- files ----

def random_floats(count, seed):
    state, values = seed * 2654435761 % 2**32 or 1, []
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state / 2**31 - 1)
    return struct.pack(f"<{count}f", *values)


def npy(shape, data, dtype="<f4"):
    header = repr({"descr": dtype, "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def npy_values(data):
    length = struct.unpack("<H", data[8:10])[0]
    header, body = data[10:10 + length].decode(), data[10 + length:]
    shape = tuple(int(n) for n in re.search(r"'shape': \(([^)]*)\)", header).group(1).split(",") if n.strip())
    return shape, struct.unpack(f"<{len(body) // 4}f", body)


def png(width, height, seed):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes((x * seed + y * 7) % 256 for x in range(3 * width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


LENET = {"conv1.weight": [6, 1, 5, 5], "conv1.bias": [6], "conv2.weight": [16, 6, 5, 5], "conv2.bias": [16],
         "fc1.weight": [120, 400], "fc1.bias": [120], "fc2.weight": [84, 120], "fc2.bias": [84],
         "fc3.weight": [10, 84], "fc3.bias": [10]}


def safetensors(shapes):
    header, body = {}, b""
    for seed, (name, shape) in enumerate(shapes.items(), 1):
        count = 1
        for dim in shape:
            count *= dim
        data = random_floats(count, seed)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def lenet_weights():
    return write("lenet5.safetensors", safetensors(LENET))


def lenet_input(batch=1):
    return write(f"x{batch}.npy", npy([batch, 1, 32, 32], random_floats(batch * 1024, 99)))


# ---- the program ----

@case
def version_and_overview():
    check(re.fullmatch(r"tilewise \d+\.\d+\.\d+\n", succeed("--version")), "--version is not 'tilewise N.N.N'")
    overview = succeed("--help")
    for command in COMMANDS:
        check(command in overview, f"--help does not name {command}")


@case
def help_of_each_command_has_options_and_examples():
    for command in COMMANDS:
        text = succeed(command, "--help")
        check(text.startswith(tuple("abcdefghijklmnopqrstuvwxyz")), f"{command} --help begins {text[:20]!r}")
        check(f"usage: tilewise {command}" in text, f"{command} --help has no usage")
        check("examples:\n  tilewise " + command in text, f"{command} --help has no examples")
        check("--help" in text, f"{command} --help lists no options")


@case
def unknown_commands():
    refuse(2, "no command")
    refuse(2, 'unknown command "bnech": did you mean "bench"', "bnech")
    equal(succeed("help"), succeed("--help"), "help")
    for later in ["train", "report"]:
        refuse(2, f'unknown command "{later}"', later)


@case
def unknown_options_and_arguments():
    refuse(2, 'unknown option "--devise": did you mean "--device"', "bench", "lenet5", "--devise", "cpu")
    refuse(2, 'unknown option "-x"', "bench", "lenet5", "-x")
    refuse(2, 'unknown option "-x"', "bench", "--batch", "1", "-xo", "json")
    refuse(2, 'unknown option "-o"', "run", "lenet5", "-o", "json")
    refuse(2, "-o needs a value", "designs", "-o")
    refuse(2, 'unknown option "--trace"', "bench", "lenet5", "--trace", "x")
    refuse(2, "--weights needs a value", "bench", "lenet5", "--weights")
    refuse(2, "takes no value", "devices", "--measure=1")
    refuse(2, "missing", "inspect")
    refuse(2, "missing", "classify", "lenet5")
    refuse(2, '"b" is one argument too many', "inspect", "lenet5", "b")
    refuse(2, "expected one of MODEL", "bench")
    refuse(2, "expected one of MODEL", "bench", "lenet5", "--layer", LAYER)
    refuse(2, "--input FILE and --output FILE are needed", "run", "lenet5")


@case
def numbers_are_checked():
    refuse(2, re.escape('--batch: "x" is not a number from 1 to 65536'), "bench", "lenet5", "--batch", "x")
    for option, bad in [("--batch", "0"), ("--batch", "-1"), ("--batch", "65537"), ("--batch", "1.5"),
                        ("--batch", "99999999999999999999"), ("--threads", "0"), ("--threads", "1025"),
                        ("--seed", "-1"), ("--seed", "18446744073709551616"), ("--iterations", "0"),
                        ("--duration", "-1"), ("--duration", "nan"), ("--duration", "0x10"), ("--warmUp", "1e99"),
                        ("--percentile", "101"), ("--image-size", "0"), ("--image-size", "1e3"), ("--batch", "")]:
        refuse(2, f"^tilewise: {option}: ", "bench", "lenet5", option, bad)
    refuse(2, "empty element", "bench", "lenet5", "--batch", "1,,2")
    refuse(2, "--top", "classify", "lenet5", "x.png", "--top", "0")


@case
def lists_only_where_they_are_swept():
    refuse(2, "--batch: 2 values, but profile takes one", "profile", "lenet5", "--batch", "1,2")
    refuse(2, "--threads: 2 values", "inspect", "lenet5", "--threads", "1,2")
    refuse(2, '"all" are several', "inspect", "lenet5", "--design", "all")


@case
def unknown_names_and_suggestions():
    refuse(2, 'unknown network "resnet19": did you mean "resnet18".*ends in .onnx', "inspect", "resnet19")
    refuse(2, 'unknown network "zzzzzzzzz": expected one of .*vgg16', "bench", "zzzzzzzzz")
    refuse(2, "model.pth: a model's file ends in .onnx", "inspect", "model.pth")
    refuse(2, 'unknown device "cpuu": did you mean "cpu"', "bench", "lenet5", "--device", "cpuu")
    refuse(2, 'unknown precision "fp15": did you mean "fp16"', "bench", "lenet5", "--precision", "fp15")
    refuse(2, 'unknown design "niave": did you mean "naive"', "bench", "lenet5", "--design", "niave")
    refuse(2, 'unknown operator "conv3d": did you mean "conv2d"', "bench", "lenet5", "--design", "conv3d=naive")
    refuse(2, 'unknown conv2d design "gemv"', "bench", "lenet5", "--design", "conv2d=gemv")
    refuse(2, 'unknown operator "liner": did you mean "linear"', "designs", "liner")
    refuse(2, 'unknown operator or network "con2d": did you mean "conv2d"', "verify", "con2d")
    refuse(2, 'unknown format "yaml"', "devices", "-o", "yaml")
    refuse(2, "nowhere.onnx: ", "bench", "nowhere.onnx")
    refuse(2, "nowhere.onnx: ", "verify", "nowhere.onnx")


@case
def known_but_not_available():
    if any(row["device"].startswith("cuda") and row["available"] for row in as_json("devices")["rows"]):
        raise Skip("this machine has a CUDA device")
    refuse(3, "cuda", "bench", "lenet5", "--device", "cuda")
    refuse(3, "cuda:1", "inspect", "lenet5", "--device", "cuda:1")
    refuse(3, "fp16", "inspect", "lenet5", "--precision", "fp16")
    refuse(3, "bf16", "verify", "linear", "--precision", "bf16")
    result = run("bench", "lenet5", "--device", "cpu,cuda", *QUICK, "-o", "json")
    equal(result.returncode, 3, "exit status of a sweep with an absent device")
    rows = json.loads(result.stdout)["rows"]
    equal([(row["device"], row["status"]) for row in rows], [("cpu", "ok"), ("cuda", "not_supported")], "rows")
    check(rows[1]["reason"] and rows[1]["min_ms"] is None, f"the absent device's row is {rows[1]}")


# ---- formats ----

@case
def json_says_where_it_comes_from():
    document = as_json("bench", "lenet5", *QUICK, "--threads", "1,2", "--batch", "1,3")
    for key in ["tilewise", "host", "devices", "command", "rows"]:
        check(key in document, f"no {key}")
    check(document["command"].startswith("tilewise bench lenet5 "), f"command {document['command']!r}")
    equal(sorted(device["threads"] for device in document["devices"]), [1, 2], "devices' threads")
    for device in document["devices"]:
        for key in ["id", "name", "features", "memory_bytes", "peak_flops", "peak_bytes"]:
            check(device[key], f"device has no {key}")
    equal([(row["threads"], row["batch"]) for row in document["rows"]], [(1, 1), (1, 3), (2, 1), (2, 3)], "sweep")


@case
def bench_rows_have_the_documented_fields():
    row = as_json("bench", "lenet5", *QUICK, "--percentile", "50,99.9")["rows"][0]
    equal([key for key in BENCH_KEYS if key not in row], [], "missing fields")
    for key in ["layer", "op", "problem", "reason", "preprocess_ms", "h2d_ms", "max_abs_err"]:
        equal(row[key], None, key)
    check(row["samples"] >= 2 and row["status"] == "ok", f"row {row}")
    check(0 < row["min_ms"] <= row["median_ms"] <= row["p90_ms"] <= row["p95_ms"] <= row["p99_ms"], f"times {row}")
    check(row["init_ms"] > 0 and row["gflops"] > 0 and row["roofline_pct"] > 0, f"rates {row}")
    equal(row["p50_ms"], row["median_ms"], "p50")
    check(row["p99.9_ms"] >= row["p99_ms"], "p99.9")
    image = write("photo.png", png(40, 30, 3))
    check(as_json("bench", "lenet5", *QUICK, "--image", image)["rows"][0]["preprocess_ms"] > 0, "no preprocess_ms")


@case
def iterations_are_counted():
    row = as_json("bench", "lenet5", "--iterations", "7", "--duration", "0", "--warmUp", "0")["rows"][0]
    equal(row["samples"], 7, "samples")


@case
def other_formats_hold_the_same_rows():
    command = ["bench", "lenet5", *QUICK, "--design", "auto,reference"]
    lines = [json.loads(line) for line in succeed(*command, "-o", "jsonl").splitlines()]
    equal([row["design"] for row in lines], ["auto", "reference"], "JSON lines")
    equal([key for key in BENCH_KEYS if key not in lines[0]], [], "missing fields")
    table = list(csv.DictReader(io.StringIO(succeed(*command, "-o", "csv"))))
    equal([row["design"] for row in table], ["auto", "reference"], "CSV")
    equal([key for key in BENCH_KEYS if key not in table[0]], [], "missing CSV columns")
    equal((table[0]["layer"], table[0]["model"]), ("", "lenet5"), "CSV's null and text")
    float(table[0]["median_ms"])
    lines = succeed(*command, "-o", "md").splitlines()
    equal(len(lines), 4, "lines of Markdown")
    equal(len({line.count("|") for line in lines}), 1, "kinds of Markdown lines")
    check(re.fullmatch(r"\|(-+:?\|)+", lines[1]), f"Markdown rule {lines[1]!r}")
    lines = succeed(*command).splitlines()
    equal(len(lines), 3, "lines of the table")
    equal(lines[1].index("auto"), lines[0].index("design"), "where the column begins")


@case
def design_specifications_in_lists():
    rows = as_json("bench", "lenet5", *QUICK, "--design", "conv2d=naive,linear=naive,naive")["rows"]
    equal([row["design"] for row in rows], ["conv2d=naive,linear=naive", "naive"], "designs")


@case
def dump_profile_adds_layers():
    rows = as_json("bench", "lenet5", *QUICK, "--dumpProfile")["rows"]
    equal(rows[0]["layer"], None, "the first row's layer")
    check(len(rows) > 5 and all(row["layer"] and row["op"] and row["median_ms"] > 0 for row in rows[1:]), f"{rows}")


# ---- devices and designs ----

@case
def devices_list_what_is_here():
    document = as_json("devices")
    rows = {row["device"]: row for row in document["rows"]}
    for kind in ["cpu", "cuda", "metal"]:
        check(kind in rows or kind + ":0" in rows, f"no row for {kind}")
    check(rows["cpu"]["available"] and "fp32" in rows["cpu"]["precisions"], f"cpu {rows['cpu']}")
    equal(rows["cpu"]["peak_gflops"], None, "a peak that was not measured")
    check(rows["metal"]["available"] or rows["metal"]["reason"], "an absent device without a reason")
    equal(as_json("devices", "--threads", "1")["rows"][0]["threads"], 1, "threads")
    measured = as_json("devices", "--measure")["rows"][0]
    check(measured["peak_gflops"] > 0 and measured["peak_gbps"] > 0, f"measured {measured}")


@case
def designs_are_listed_with_summaries():
    rows = as_json("designs")["rows"]
    check(all(row["op"] and row["device"] and row["design"] and row["summary"] for row in rows), "an incomplete row")
    of_conv = as_json("designs", "conv2d")["rows"]
    equal({row["op"] for row in of_conv}, {"conv2d"}, "operators of 'designs conv2d'")
    equal([row["design"] for row in of_conv if row["device"] == "cpu"][-1], "reference", "the last design of the CPU")
    equal(len(of_conv), sum(row["op"] == "conv2d" for row in rows), "designs of conv2d")
    check("reference" in succeed("designs", "linear"), "the table has no reference")


# ---- networks ----

@case
def inspect_shows_the_plan():
    document = as_json("inspect", "lenet5", "--batch", "4")
    summary, rows = document["summary"], document["rows"]
    equal(summary["parameters"], 61706, "parameters")
    equal((summary["input_shape"], summary["output_shape"]), ("4x1x32x32", "4x10"), "shapes")
    check(summary["arena_bytes"] > 0 and summary["values_bytes"] > 0 and summary["weight_bytes"] == 4 * 61706, "bytes")
    equal(len(rows), summary["steps"], "rows")
    first = next(row for row in rows if row["op"] == "conv2d")
    equal((first["layer"], first["output_shape"], first["parameters"], first["flops"]),
          ("conv1", "4x6x28x28", 156, 940800.0), "conv1")
    check(all(row["design"] and row["predicted_ms"] >= 0 and row["problem"].startswith(row["op"] + ":")
              for row in rows), "a row without design, prediction or problem")
    equal(sum(row["parameters"] for row in rows), 61706, "parameters of all layers")
    check("61706 parameters" in succeed("inspect", "lenet5"), "the table has no summary")
    equal(as_json("inspect", "resnet18", "--image-size", "64")["summary"]["input_shape"], "1x3x64x64", "image size")


@case
def run_is_reproducible():
    x, weights = lenet_input(3), lenet_weights()
    outputs = []
    for threads in [1, 1, 2]:
        y = path("y.npy")
        succeed("run", "lenet5", "--weights", weights, "--input", x, "--output", y, "--threads", threads)
        outputs.append(read(y))
    equal(outputs[0], outputs[1], "the same run")
    shape, values = npy_values(outputs[0])
    equal(shape, (3, 10), "shape")
    scale = max(abs(v) for v in values)
    check(all(abs(a - b) <= 1e-5 * scale for a, b in zip(values, npy_values(outputs[2])[1])), "threads change values")
    succeed("run", "lenet5", "--seed", "7", "--input", x, "--output", path("a.npy"))
    succeed("run", "lenet5", "--seed", "7", "--input", x, "--output", path("b.npy"))
    succeed("run", "lenet5", "--seed", "8", "--input", x, "--output", path("c.npy"))
    equal(read(path("a.npy")), read(path("b.npy")), "the same seed")
    check(read(path("a.npy")) != read(path("c.npy")), "another seed gives the same output")


@case
def run_dumps_layers():
    folder = path("layers")
    succeed("run", "lenet5", "--input", lenet_input(2), "--output", path("y.npy"), "--dump-layers", folder)
    names = os.listdir(folder)
    check(len(names) >= 5 and all(name.endswith(".npy") for name in names), f"files {names}")
    equal(npy_values(read(os.path.join(folder, "fc3.npy"))), npy_values(read(path("y.npy"))), "the last layer")
    equal(npy_values(read(os.path.join(folder, "pool1.npy")))[0], (2, 6, 14, 14), "pool1's shape")


@case
def run_refuses_wrong_inputs():
    def wrong(pattern, data, *more):
        source, target = write("wrong.npy", data), path("none.npy")
        refuse(2, pattern, "run", "lenet5", "--input", source, "--output", target, *more)
        check(not os.path.exists(target), "an output was left")
    good = read(lenet_input(2))
    wrong("wrong.npy", good[:-1])
    wrong("wrong.npy", good[:40])
    wrong("wrong.npy", b"")
    wrong("wrong.npy", b"not numpy")
    wrong(r"1x3x32x32.*1x1x32x32", npy([1, 3, 32, 32], random_floats(3072, 1)))
    wrong(r"takes float32", npy([1, 1, 32, 32], b"\0" * 8192, "<f8"))
    wrong(r"takes float32", npy([1024], random_floats(1024, 1)))
    wrong(r"batch", npy([0, 1, 32, 32], b""))
    wrong(r"--batch: 3, but .* holds a batch of 2", good, "--batch", "3")
    refuse(2, "nowhere.npy", "run", "lenet5", "--input", path("nowhere.npy"), "--output", path("none.npy"))
    refuse(2, "no/such", "run", "lenet5", "--input", lenet_input(), "--output", path("no/such/y.npy"))


@case
def weights_are_checked():
    x, good = lenet_input(), safetensors(LENET)
    def wrong(pattern, name, data):
        refuse(2, pattern, "run", "lenet5", "--weights", write(name, data), "--input", x, "--output", path("none.npy"))
        check(not os.path.exists(path("none.npy")), "an output was left")
    wrong("cut.safetensors", "cut.safetensors", good[:-4])
    wrong("text.pth", "text.pth", b"hello, world\n" * 20)
    wrong("fc3.bias", "missing.safetensors", safetensors({k: v for k, v in LENET.items() if k != "fc3.bias"}))
    wrong(r"fc1.weight.*120x399.*120x400|fc1.weight.*120x400.*120x399", "shape.safetensors",
          safetensors(dict(LENET, **{"fc1.weight": [120, 399]})))
    refuse(2, "nowhere.pth", "bench", "lenet5", "--weights", path("nowhere.pth"))


@case
def refusals_and_fallback():
    x, y = lenet_input(), path("refused.npy")
    command = ["run", "lenet5", "--input", x, "--output", y, "--design", "conv2d=depthwise"]
    refuse(3, "conv1.*depthwise.*refuses", *command)
    check(not os.path.exists(y), "an output was left")
    result = run(*command, "--fallback", "auto")
    equal(result.returncode, 0, "exit status with --fallback auto")
    check(b"conv1" in result.stderr and b"depthwise" in result.stderr, f"the fallback is not told: {result.stderr}")
    refuse(2, "--fallback", *command, "--fallback", "naive")
    result = run("bench", "lenet5", *QUICK, "--design", "conv2d=depthwise,naive", "-o", "json")
    equal(result.returncode, 3, "exit status of a sweep with a refusal")


@case
def verify_checks_a_network():
    for arguments in [["lenet5"], ["lenet5", "--batch", "3", "--design", "all"], ["resnet18", "--image-size", "64"]]:
        rows = as_json("verify", *arguments)["rows"]
        check(rows and all(row["status"] == "ok" for row in rows), f"verify {arguments}")
        check(all(row["max_rel_err"] <= row["tolerance"] and row["layer"] for row in rows), "errors")
    equal(len({row["design"] for row in as_json("verify", "lenet5", "--design", "naive")["rows"]
               if row["op"] in ["conv2d", "linear"]}), 1, "designs of verify --design naive")


@case
def verify_checks_operators():
    rows = as_json("verify", "linear")["rows"]
    equal({row["op"] for row in rows}, {"linear"}, "operators")
    equal({row["design"] for row in rows}, {row["design"] for row in as_json("designs", "linear")["rows"]
                                            if row["device"] == "cpu"}, "designs")
    check(all(row["status"] in ["ok", "not_supported"] and row["direction"] == "forward" for row in rows), "status")
    check(all(row["reason"] for row in rows if row["status"] == "not_supported"), "a refusal without a reason")
    equal({row["design"] for row in as_json("verify", "linear", "--design", "gemv")["rows"]}, {"gemv"}, "one design")
    refuse(2, "--batch is for networks", "verify", "linear", "--batch", "2")
    check("reference" in succeed("verify", "pool"), "no table")


@case
def profile_and_trace():
    trace = path("trace.json")
    rows = as_json("profile", "lenet5", *QUICK, "--trace", trace)["rows"]
    equal(rows[-1]["layer"], None, "the last row's layer")
    check(all(row["median_ms"] > 0 and row["roofline_pct"] >= 0 for row in rows), "times")
    events = json.loads(read(trace))["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    steps = [event for event in slices if "design" in event["args"]]
    equal({step["name"] for step in steps}, {row["layer"] for row in rows[:-1]}, "steps of the trace")
    for step in steps:
        check(step["dur"] >= 0 and step["ts"] >= 0 and step["args"]["problem"] and "flops" in step["args"], f"{step}")
    check(any(event["ph"] == "M" and event["name"] == "thread_name" for event in events), "no track has a name")
    refuse(2, "no/such", "profile", "lenet5", *QUICK, "--trace", path("no/such/trace.json"))


# ---- single layers ----

@case
def layer_contests():
    result = run("bench", "--layer", LAYER, "--design", "all", *QUICK, "-o", "json")
    equal(result.returncode, 0, "exit status")
    rows = json.loads(result.stdout)["rows"]
    equal([row["design"] for row in rows],
          [row["design"] for row in as_json("designs", "conv2d")["rows"] if row["device"] == "cpu"], "designs")
    for row in rows:
        check(row["status"] in ["ok", "not_supported"], f"{row['design']}: {row['status']}, {row['reason']}")
        equal(row["status"] == "ok", row["median_ms"] is not None, f"{row['design']} has times")
        equal(row["status"] == "ok", row["reason"] is None, f"{row['design']} has no reason")
        check(row["problem"].startswith(LAYER[:16]) and row["layer"] and row["batch"] == 1, f"row {row}")
    check(any(row["status"] == "not_supported" for row in rows), "depthwise took a dense convolution")
    text = run("bench", "--layer", LAYER, "--design", "openblas", *QUICK).stdout
    check(b" (openblas) " in text, f"a vendor's library without brackets: {text}")
    check(re.search(rb"fastest is \w+, .* ms.* as fast as naive.* as fast as reference", result.stderr),
          f"no winner: {result.stderr}")
    equal(as_json("bench", "--layer", "relu:1x16x5x5", "--batch", "2,3", *QUICK)["rows"][1]["problem"],
          "relu:3x16x5x5", "the batch of a problem")
    equal(len(as_json("bench", "--layer", LAYER, *QUICK)["rows"]), 1, "rows of auto")


@case
def layer_refusals():
    refused = ["bench", "--layer", LAYER, "--design", "depthwise", *QUICK, "-o", "json"]
    result = run(*refused)
    equal(result.returncode, 3, "exit status")
    row = json.loads(result.stdout)["rows"][0]
    check(row["status"] == "not_supported" and row["reason"] and row["min_ms"] is None, f"row {row}")
    check(row["reason"].encode() in result.stderr, f"the reason is not told: {result.stderr}")
    result = run(*refused, "--fallback", "auto")
    equal(result.returncode, 0, "exit status with --fallback auto")
    equal(json.loads(result.stdout)["rows"][-1]["status"], "ok", "the fallback")
    equal(run("bench", "--layer", LAYER, "--design", "gemv", *QUICK).returncode, 3, "a design of another operator")
    equal(run("bench", "--layer", LAYER, "--precision", "fp16", *QUICK).returncode, 3, "a precision the CPU lacks")


@case
def layer_descriptors_are_checked():
    for bad in ["conv2d", "conv2d:", "conv2d:mb1", "conv2d:mb1ic3ih8oc4kh3zz9", "conv2d:mb1ic3ih8oc4kh99",
                "conv2d:ic3ih8oc4kh3kh3", "conv2d:mb2147483647ic2147483647ih2147483647oc2147483647kh1",
                "conv2d:g2ic3ih8oc4kh3", "linear:mb0ic1oc1", "relu:1x", "nothing:mb1", 'conv2d:ic3ih8oc4kh3n"open']:
        refuse(2, "^tilewise: --layer: ", "bench", "--layer", bad)


@case
def shape_files():
    shapes = write("shapes", '# ResNet\n\nmb2ic8ih14oc16oh14kh3ph1n"first"\n  ic16ih7oc8oh7kh1ph0n"second" # the end\r\n')
    rows = as_json("bench", "--shapes", shapes, *QUICK)["rows"]
    equal([row["layer"] for row in rows], ["first", "second"], "names")
    equal(rows[0]["batch"], 2, "the batch of the file")
    rows = as_json("bench", "--shapes", "conv2d:" + shapes, "--batch", "1,3", *QUICK)["rows"]
    equal([row["batch"] for row in rows], [1, 3, 1, 3], "batches")
    lines = write("linear", 'mb4ic32oc10n"fc"\n')
    equal(as_json("bench", "--shapes", "linear:" + lines, *QUICK)["rows"][0]["op"], "linear", "operator")
    refuse(2, "shapes.bad:2: .*expected", "bench", "--shapes", write("shapes.bad", "ic3ih8oc4kh3\nic3ih8\n"))
    refuse(2, "batch:1: .*--dir=FWD_B.* is an option", "bench", "--shapes", write("batch", "--dir=FWD_B ic3ih8oc4kh3"))
    refuse(2, "holds no shapes", "bench", "--shapes", write("empty", "# nothing\n"))
    refuse(2, "not a text file", "bench", "--shapes", write("binary", b"ic3\0ih8"))
    refuse(2, "nowhere", "bench", "--shapes", path("nowhere"))
    refuse(2, "directory", "bench", "--shapes", FOLDER)


# ---- photographs ----

def photos():
    folder = path("photos")
    os.makedirs(folder, exist_ok=True)
    for name, size in [("b.png", (64, 48)), ("a.png", (40, 70)), ("c.png", (28, 28))]:
        write("photos/" + name, png(*size, seed=len(name) + size[0]))
    return folder


@case
def classify_needs_weights():
    image = os.path.join(photos(), "a.png")
    message = refuse(2, "lenet5.*needs real weights", "classify", "lenet5", image, env={"TILEWISE_DATA": path("no data")})
    check(path("no data/lenet5.pth") in message, f"the file that was looked for is not named: {message}")
    data = path("data")
    os.makedirs(data, exist_ok=True)
    shutil.copy(lenet_weights(), os.path.join(data, "lenet5.safetensors"))
    succeed("classify", "lenet5", image, env={"TILEWISE_DATA": data})


@case
def classify_rows():
    folder, weights = photos(), lenet_weights()
    rows = as_json("classify", "lenet5", folder, "--weights", weights, "--top", "3")["rows"]
    equal([os.path.basename(row["image"]) for row in rows], ["a.png", "b.png", "c.png"], "images")
    for row in rows:
        equal([key for key in ROW_KEYS if key not in row], [], "missing fields")
        probabilities = [entry["probability"] for entry in row["top"]]
        equal(len(probabilities), 3, "top")
        equal(probabilities, sorted(probabilities, reverse=True), "order")
        check(all(0 <= p <= 1 for p in probabilities) and row["error"] is None, f"row {row}")
        equal(row["top"][0]["label"], str(row["top"][0]["class"]), "a label where there are none")
    everything = as_json("classify", "lenet5", folder, "--weights", weights, "--top", "99")["rows"]
    for row in everything:
        check(abs(sum(entry["probability"] for entry in row["top"]) - 1) < 1e-5, "probabilities do not add up to 1")
    batched = as_json("classify", "lenet5", folder, "--weights", weights, "--batch", "2")["rows"]
    for one, other in zip(rows, batched):
        equal(one["top"][0]["class"], other["top"][0]["class"], "a class in a batch")
    command = ["classify", "lenet5", folder, "--weights", weights, "-o"]
    equal(succeed(*command, "json"), succeed(*command, "json"), "two runs")
    ranks = list(csv.DictReader(io.StringIO(succeed(*command, "csv"))))
    equal([(row["rank"], os.path.basename(row["image"])) for row in ranks[:6]],
          [("1", "a.png"), ("2", "a.png"), ("3", "a.png"), ("4", "a.png"), ("5", "a.png"), ("1", "b.png")], "CSV")
    check("a.png" in succeed(*command, "table") and "| " in succeed(*command, "md"), "no table")


@case
def classify_on_several_devices():
    image, weights = os.path.join(photos(), "a.png"), lenet_weights()
    document = as_json("classify", "lenet5", image, "--weights", weights, "--device", "cpu,cpu")
    equal([row["agrees"] for row in document["rows"]], [True, True], "agreement")
    check("agree" in succeed("classify", "lenet5", image, "--weights", weights, "--device", "cpu,cpu"), "no column")


@case
def classify_shows_layers():
    image, weights = os.path.join(photos(), "a.png"), lenet_weights()
    layers = as_json("classify", "lenet5", image, "--weights", weights, "--layers", "--design", "naive")["layers"]
    equal({row["design"] for row in layers if row["op"] in ["conv2d", "linear"]}, {"naive"}, "designs")
    check(all(row["median_ms"] > 0 for row in layers), "a layer without a time")
    check("fc3" in succeed("classify", "lenet5", image, "--weights", weights, "--layers"), "no table of layers")


@case
def labels():
    image, weights = os.path.join(photos(), "a.png"), lenet_weights()
    names = [f"name {i}" for i in range(10)]
    def top(file):
        return as_json("classify", "lenet5", image, "--weights", weights, "--labels", file)["rows"][0]["top"][0]
    for file in [write("labels.txt", "\n".join(names) + "\n"), write("labels.crlf", "\r\n".join(names)),
                 write("labels.json", json.dumps(names)),
                 write("object.json", json.dumps({str(i): name for i, name in enumerate(names)}))]:
        entry = top(file)
        equal(entry["label"], f"name {entry['class']}", os.path.basename(file))
    command = ["classify", "lenet5", image, "--weights", weights, "--labels"]
    refuse(2, "few: 9 labels, but the network has 10 classes", *command, write("few", "\n".join(names[:9])))
    refuse(2, "bad.json: not valid JSON", *command, write("bad.json", '["a", '))
    refuse(2, "numbers.json: class 0 has no name", *command, write("numbers.json", json.dumps(list(range(10)))))
    refuse(2, "keys.json: class 9 has no name", *command,
           write("keys.json", json.dumps({str(i + (i == 9)): "x" for i in range(10)})))
    refuse(2, "nowhere", *command, path("nowhere"))
    hostile = write("hostile", "\n".join(["\x1b[31mred"] * 10))
    check("\x1b" not in succeed(*command, hostile), "a label's escape sequence reaches the terminal")


@case
def bad_photographs():
    weights = lenet_weights()
    command = ["classify", "lenet5", "--weights", weights]
    cut = write("cut.png", png(40, 40, 1)[:-30])
    refuse(2, "text.png: not a JPEG or PNG", *command, write("text.png", "hello"))
    refuse(2, "cut.png", *command, cut)
    refuse(2, "nowhere.png", *command, path("nowhere.png"))
    folder = path("mixed")
    os.makedirs(folder, exist_ok=True)
    for name, data in [("1.png", png(30, 30, 5)), ("2.png", b"bad"), ("3.png", png(50, 30, 7))]:
        write("mixed/" + name, data)
    for batch in ["1", "2", "5"]:
        result = run(*command, folder, "-o", "json", "--batch", batch)
        equal(result.returncode, 2, "exit status with a bad file in the folder")
        rows = json.loads(result.stdout)["rows"]
        equal([row["error"] is None for row in rows], [True, False, True], "good files")
        check(rows[1]["top"] is None and "2.png" in rows[1]["error"], f"row {rows[1]}")
        equal(result.stderr.decode().splitlines(), ["tilewise: 1 of 3 images could not be used"], "errors")
    for output in ["csv", "table", "md", "jsonl"]:
        result = run(*command, folder, "-o", output)
        equal((result.returncode, b"2.png" in result.stdout), (2, True), output)
    os.makedirs(path("hollow"), exist_ok=True)
    refuse(2, "hollow: the folder holds no files", *command, path("hollow"))


@case
def file_names_of_any_bytes():
    weights = lenet_weights()
    name = os.path.join(os.fsencode(FOLDER), b'odd "name"\xff,|\n.png')
    with open(name, "wb") as file:
        file.write(png(30, 30, 9))
    arguments = [TILEWISE, "classify", "lenet5", name, "--weights", weights, "-o"]
    for output in ["json", "jsonl"]:
        json.loads(subprocess.run([*arguments, output], stdout=subprocess.PIPE, check=True).stdout.decode("utf-8"))
    text = subprocess.run([*arguments, "csv"], stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    check('odd "name"' in rows[0]["image"], f"image {rows[0]['image']!r}")
    text = subprocess.run([*arguments, "md"], stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    equal(len(text.splitlines()), 7, "lines of Markdown")


@case
def real_weights():
    photo = os.path.join(DATA, "photos", "chelsea.png")
    if not os.path.exists(photo):
        raise Skip(f"{photo} is not there; 'make demo' gets it")
    top = as_json("classify", "efficientnet_lite0", photo)["rows"][0]["top"]
    equal([entry["class"] for entry in top], [282, 285, 281, 287, 904], "classes")
    check(abs(top[0]["probability"] - 0.39455) < 2e-3, f"probability {top[0]}")
    check(re.search("[a-z]", top[0]["label"]), f"label {top[0]}")


# ---- streams ----

@case
def output_that_can_not_be_written():
    for arguments in [["designs"], ["--help"], ["bench", "--help"], ["devices", "-o", "json"],
                      ["bench", "lenet5", *QUICK, "-o", "jsonl"]]:
        with open("/dev/full", "w") as full:
            result = subprocess.run([TILEWISE, *arguments], stdout=full, stderr=subprocess.PIPE)
        equal(result.returncode, 4, f"exit status of {arguments} on a full disk")
        equal(len(result.stderr.splitlines()), 1, f"error lines {result.stderr}")
        check(b"No space left" in result.stderr, f"error {result.stderr}")
        closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", TILEWISE, *arguments], stderr=subprocess.PIPE)
        equal(closed.returncode, 4, f"exit status of {arguments} with a closed output")
        equal(len(closed.stderr.splitlines()), 1, f"error lines {closed.stderr}")
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run([TILEWISE, *arguments], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        equal(result.returncode, 4, f"exit status of {arguments} without a reader")


@case
def rows_come_as_they_are_found():
    """The last photograph of a long list is written once the first row is there; the rest waits in the pipe."""
    folder, weights = photos(), lenet_weights()
    for output in ["csv", "jsonl"]:
        late = path(f"late-{output}.png")
        names = write("late.txt", "\n".join([os.path.join(folder, "a.png")] * 2000 + [late]))
        process = subprocess.Popen([TILEWISE, "classify", "lenet5", "--weights", weights, "--files-from", names, "-o",
                                    output, "--top", "3"], stdout=subprocess.PIPE, text=True)
        head = [process.stdout.readline(), process.stdout.readline()]
        with open(late, "wb") as file:
            file.write(png(30, 30, 5))
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        equal(process.wait(timeout=120), 0, f"exit status of {output}")
        equal(len(head) + len(rest), 2001 * 3 + 1 if output == "csv" else 2001, f"lines of {output}")
        equal(head[0].startswith("device,"), output == "csv", "a header")


@case
def errors_keep_their_code_without_streams():
    result = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", TILEWISE, "inspect", "resnet19"])
    equal(result.returncode, 2, "exit status")


def on_terminal(arguments, env):
    try:
        parent, child = pty.openpty()
    except OSError as error:
        raise Skip(f"no pseudo-terminal: {error}")
    process = subprocess.Popen([TILEWISE, *arguments], stdout=child, stderr=subprocess.PIPE,
                               env=dict(os.environ, TERM="xterm", **env))
    os.close(child)
    text = b""
    try:
        while data := os.read(parent, 65536):
            text += data
    except OSError:
        pass  # the other side is closed
    os.close(parent)
    process.communicate()
    return text


@case
def colour_only_on_terminals():
    plain = {"NO_COLOR": ""}
    check(b"\x1b[" in on_terminal(["designs"], plain), "no colour on a terminal")
    check(b"\x1b" not in on_terminal(["designs"], {"NO_COLOR": "1"}), "colour in spite of NO_COLOR")
    check(b"\x1b" not in on_terminal(["designs", "-o", "json"], plain), "colour in JSON")
    check("\x1b" not in succeed("designs"), "colour in a pipe")


@case
def nothing_on_standard_error_but_news():
    for arguments in [["bench", "lenet5", *QUICK], ["profile", "lenet5", *QUICK], ["designs"], ["inspect", "lenet5"]]:
        equal(run(*arguments).stderr, b"", f"standard error of {arguments}")


main()
