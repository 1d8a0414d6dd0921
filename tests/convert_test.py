#!/usr/bin/env python3
"""tilewise convert, and ONNX files where MODEL stands: round trips to the bit, exit codes, one-line errors, nothing
half written.

    tests/convert_test.py BUILD_DIR

Only Python's standard library is used. The last line is 'N passed, N failed, N skipped'.
"""
import json
import os
import re
import resource
import struct
import subprocess
import sys
import zlib

import cases
from cases import as_json, case, check, equal, main, path, read, refuse, run, succeed, write

os.environ["TILEWISE_DATA"] = path("no-data")
cases.TIMEOUT = 60
QUICK = ["--iterations", "1", "--warmUp", "0", "--duration", "0", "--threads", "1"]


# ---- files ----

def write_input(shape):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    state, values, count = 1, [], 1
    for n in shape:
        count *= n
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state / 2**31 - 1)
    body = struct.pack(f"<{count}f", *values)
    return write("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body)


def output_of(model, *arguments):
    """The bytes of what the model makes of x.npy."""
    succeed("run", model, "--input", path("x.npy"), "--output", path("y.npy"), "--threads", 2, *arguments)
    return read("y.npy")


def floats(npy):
    body = npy[10 + struct.unpack("<H", npy[8:10])[0]:]
    return struct.unpack(f"<{len(body) // 4}f", body)


def png(width, height):
    rows = b"".join(b"\0" + bytes((x * 7 + y * 3 + c * 40) % 256 for x in range(width) for c in range(3))
                    for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def converted(network, ending, *arguments):
    file = path(network + ending)
    if not os.path.exists(file):
        succeed("convert", network, "--seed", 7, "--output", file, *arguments)
    return file


# ---- what is written ----

@case
def the_line_says_what_was_written():
    line = succeed("convert", "lenet5", "--seed", 7, "--output", path("line.onnx"))
    equal(line, f"{path('line.onnx')}: lenet5: 12 layers, 61706 parameters, 242.5 KiB\n", "line")
    line = succeed("convert", path("line.onnx"), "--output", path("LINE.SAFETENSORS"))
    check(line.startswith(f"{path('LINE.SAFETENSORS')}: lenet5: 12 layers, 61706 parameters, "), f"line {line!r}")


@case
def random_weights_are_told():
    result = run("convert", "lenet5", "--seed", 7, "--output", path("told.onnx"))
    equal(result.stderr, b"tilewise: the weights are random, by --seed 7\n", "note")
    refuse(2, "lenet5: needs real weights", "convert", "lenet5", "--output", path("none.onnx"))
    check(not os.path.exists(path("none.onnx")), "a file without weights")


@case
def rows():
    document = as_json("convert", "squeezenet1_1", "--seed", 3, "--output", path("row.onnx"))
    row, = document["rows"]
    size = os.path.getsize(path("row.onnx"))
    equal({key: row[key] for key in ["model", "output", "format", "layers", "parameters", "bytes", "device"]},
          {"model": "squeezenet1_1", "output": path("row.onnx"), "format": "onnx", "layers": 66, "parameters": 1235496,
           "bytes": size, "device": None}, "row")
    row = json.loads(succeed("convert", path("row.onnx"), "--output", path("row.safetensors"), "-o", "jsonl"))
    equal((row["model"], row["format"]), (path("row.onnx"), "safetensors"), "row")
    check("row.safetensors" in succeed("convert", path("row.onnx"), "--output", path("row.safetensors"), "-o", "md"),
          "no row in Markdown")


@case
def weights_round_trip():
    for network, size in [("lenet5", 32), ("efficientnet_lite0", 64)]:
        write_input([1, 1 if network == "lenet5" else 3, size, size])
        sized = ["--image-size", size]
        file = converted(network, ".safetensors", *sized)
        expected = output_of(network, "--seed", 7, *sized)
        equal(output_of(network, "--weights", file, *sized), expected, f"{network} from safetensors")
        twice = path("twice.safetensors")
        succeed("convert", network, "--weights", file, "--output", twice, *sized)
        equal(read(twice), read(file), f"{network}'s safetensors, converted again")


@case
def models_round_trip():
    for network, size, batch in [("lenet5", 32, 3), ("squeezenet1_1", 67, 1), ("mobilenet_v2", 64, 2)]:
        write_input([batch, 1 if network == "lenet5" else 3, size, size])
        file = converted(network, ".onnx", "--image-size", size)
        zoo = [network, "--seed", 7, "--image-size", size]
        equal(output_of(file, "--design", "reference"), output_of(*zoo, "--design", "reference"), f"{network}'s bits")
        ours, theirs = floats(output_of(file)), floats(output_of(*zoo))
        scale = max(map(abs, theirs))
        check(len(ours) == len(theirs) and all(abs(a - b) <= 1e-5 * scale for a, b in zip(ours, theirs)),
              f"{network}: read back, its outputs differ")
        twice = path("twice.onnx")
        succeed("convert", file, "--output", twice)
        equal(read(twice), read(file), f"{network}'s ONNX, converted again")
        succeed("convert", file, "--output", file)
        equal(read(twice), read(file), f"{network}'s ONNX, converted in place")


# ---- what is refused ----

@case
def usage():
    refuse(2, "convert: --output FILE is needed", "convert", "lenet5")
    refuse(2, "something is missing", "convert", "--output", path("a.onnx"))
    refuse(2, "one argument too many", "convert", "lenet5", "alexnet", "--output", path("a.onnx"))
    for name in ["a.tflite", "onnx", ".onnx", "a.onnx.bak", "a"]:
        refuse(2, r"--output: .*: the name's ending chooses the format: expected \.onnx or \.safetensors", "convert",
               "lenet5", "--seed", 1, "--output", name)
    refuse(2, 'unknown network "lenet6": did you mean "lenet5"', "convert", "lenet6", "--output", path("a.onnx"))
    refuse(2, "nowhere.safetensors: ", "convert", "lenet5", "--weights", path("nowhere.safetensors"), "--output",
           path("a.onnx"))
    refuse(3, "avgpool: adaptive average of 3x3 to 6x6", "convert", "alexnet", "--seed", 1, "--image-size", 127,
           "--output", path("a.onnx"))
    check(not os.path.exists(path("a.onnx")), "a file was written")


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))


@case
def nothing_is_half_written():
    os.makedirs(path("whole/folder.onnx"))
    os.makedirs(path("whole/folder.safetensors"))
    target, before = write("whole/old.onnx", b"old"), sorted(os.listdir(path("whole")))
    for ending in [".onnx", ".safetensors"]:
        refuse(2, "its folder does not exist", "convert", "lenet5", "--seed", 1, "--output", path("gone/a" + ending))
        refuse(2, "a folder", "convert", "lenet5", "--seed", 1, "--output", path("whole/folder" + ending))
        for name in ["old", "new"]:
            refuse(4, "cannot be written", "convert", "lenet5", "--seed", 1, "--output", path(f"whole/{name}{ending}"),
                   preexec_fn=limit_files)
    refuse(2, "not a regular file", "convert", "lenet5", "--seed", 1, "--output", os_link("full.onnx", "/dev/full"))
    refuse(3, "adaptive", "convert", "alexnet", "--seed", 1, "--image-size", 127, "--output", target)
    equal(sorted(os.listdir(path("whole"))), before, "the folder")
    equal(read("whole/old.onnx"), b"old", "the old file")


@case
def a_seed_is_no_part_of_a_file():
    succeed("convert", "lenet5", "--seed", 1, "--output", path("seeded.onnx"))
    for command in [["convert", path("seeded.onnx")], ["run", path("seeded.onnx"), "--input", path("x.npy")]]:
        refuse(2, "--seed: .*seeded.onnx has weights of its own", *command, "--seed", 2, "--output",
               path("no.onnx" if command[0] == "convert" else "no.npy"))


@case
def results_of_peers_replace_no_device():
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "benchmarks")
    device = os_link("device.json", "/dev/full")
    for program in ["peers.py", "peers_cuda.py", "targets_cuda.py"]:
        for output, message in [(device, "not a regular file"), (path("gone/a.json"), "its folder does not exist")]:
            result = subprocess.run([sys.executable, os.path.join(folder, program), "--output", output],
                                    stdin=subprocess.DEVNULL, capture_output=True, text=True)
            check(result.returncode != 0 and message in result.stderr, f"{program}: {result.stderr!r}")


def os_link(name, target):
    os.symlink(target, path(name))
    return path(name)


@case
def unwritable_folder():
    os.makedirs(path("locked"), mode=0o500)
    if os.geteuid() != 0:
        refuse(2, "cannot be written", "convert", "lenet5", "--seed", 1, "--output", path("locked/a.onnx"))
    else:  # permissions do not hold the superuser back; a folder that is a file does
        refuse(2, "cannot be written", "convert", "lenet5", "--seed", 1, "--output", f"{write('file', b'')}/a.onnx")


@case
def files_that_are_no_models():
    whole = read(os.path.basename(converted("lenet5", ".onnx", "--image-size", 32)))
    os.makedirs(path("model.onnx"))
    refuse(2, "model.onnx: ", "inspect", path("model.onnx"))
    refuse(2, "gone.onnx: ", "inspect", path("gone.onnx"))
    damaged = {"empty": b"", "text": b"this is not a model\n", "half": whole[:len(whole) // 2], "first": whole[:7],
               "behind": whole[1:], "zeros": bytes(1000), "ones": b"\xff" * 1000, "png": png(4, 4)}
    for name, data in damaged.items():
        file = write(name + ".onnx", data)
        for command in [["inspect", file], ["convert", file, "--output", path("no.onnx")],
                        ["classify", file, write("photo.png", png(40, 30))]]:
            refuse(2, re.escape(file), *command)
    check(not os.path.exists(path("no.onnx")), "a file was written")


# ---- ONNX files in the other subcommands ----

@case
def inspect_shows_the_same_network():
    file = converted("mobilenet_v2", ".onnx", "--image-size", 64)
    ours, theirs = as_json("inspect", file), as_json("inspect", "mobilenet_v2", "--image-size", 64)
    equal(ours["summary"], theirs["summary"], "summary")
    equal({row["model"] for row in ours["rows"]}, {file}, "models")
    for row in ours["rows"] + theirs["rows"]:
        del row["model"]
    equal(ours["rows"], theirs["rows"], "rows")


@case
def every_subcommand_takes_a_file():
    file = converted("lenet5", ".onnx", "--image-size", 32)
    equal(as_json("bench", file, *QUICK)["rows"][0]["status"], "ok", "bench's status")
    check(len(as_json("profile", file, *QUICK)["rows"]) >= 7, "profile has too few rows")
    check(all(row["status"] == "ok" for row in as_json("verify", file)["rows"]), "verify fails")
    photo = write("photo.png", png(40, 30))
    check(as_json("bench", file, "--image", photo, *QUICK)["rows"][0]["preprocess_ms"] > 0, "no preprocessing")


@case
def a_file_has_its_own_weights_and_size():
    file = converted("lenet5", ".onnx", "--image-size", 32)
    refuse(2, f"--weights: {re.escape(file)} has weights of its own", "inspect", file, "--weights", "w.safetensors")
    refuse(2, f"--image-size: that of {re.escape(file)} is part of the file", "inspect", file, "--image-size", 40)


@case
def photographs_as_the_zoo_prepares_them():
    photo = write("photo.png", png(90, 70))
    for network, size in [("lenet5", 32), ("mobilenet_v2", 64), ("efficientnet_lite0", 64)]:
        sized = ["--image-size", size]
        file, weights = converted(network, ".onnx", *sized), converted(network, ".safetensors", *sized)
        ours = as_json("classify", file, photo)["rows"][0]["top"]
        equal(ours, as_json("classify", network, photo, "--weights", weights, *sized)["rows"][0]["top"], network)


@case
def options_change_the_preparation():
    photo, file = write("photo.png", png(90, 70)), converted("mobilenet_v2", ".onnx", "--image-size", 64)
    top = lambda *options: as_json("classify", file, photo, *options)["rows"][0]["top"]
    usual = top()
    equal(top("--resize", 73, "--crop", 64, "--interpolation", "bilinear", "--mean", "0.485,0.456,0.406", "--std",
              "0.229,0.224,0.225"), usual, "the same preparation, spelt out")
    for options in [["--resize", 64], ["--crop", 32], ["--interpolation", "bicubic"], ["--mean", "0.5"],
                    ["--std", "0.5,0.5,0.25"]]:
        check(top(*options) != usual, f"{options} change nothing")
    for pattern, *options in [
            ("--resize: .*from 1 to 16384", "--resize", "0"), ("--crop: .*from 1 to 16384", "--crop", "x"),
            ("--crop: 66 pixels cannot lie in the middle of .*64", "--crop", "66"),
            ("--crop: 33 pixels", "--crop", "33"), ("did you mean \"bicubic\"", "--interpolation", "bicubik"),
            ("--mean: 2 numbers, expected one, or three", "--mean", "0.5,0.5"),
            ("--mean: .*from 0 to 1", "--mean", "123"), ("--mean: an empty element", "--mean", "0.1,,0.2"),
            ("--mean", "--mean", "nan"),
            ("--std: 0, by which", "--std", "0.1,0,0.1"), ("--std", "--std", "-1")]:
        refuse(2, pattern, "classify", file, photo, *options)


main()
