#!/usr/bin/env python3
"""eval and classify over many images: figures against those counted here from `tilewise run`, formats of data, errors.

    tests/eval_test.py BUILD_DIR

Only Python's standard library is used. The last line is 'N passed, N failed, N skipped'.
"""
import csv
import gzip
import io
import json
import math
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree
import zlib

from cases import FOLDER, TILEWISE, Skip, case, check, equal, main, path, refuse, run, write

IMAGES = 150
LENET = {"conv1.weight": [6, 1, 5, 5], "conv1.bias": [6], "conv2.weight": [16, 6, 5, 5], "conv2.bias": [16],
         "fc1.weight": [120, 400], "fc1.bias": [120], "fc2.weight": [84, 120], "fc2.bias": [84],
         "fc3.weight": [10, 84], "fc3.bias": [10]}
ROW_KEYS = ("device model batch precision threads data split images bad top1 top5 images_per_s seconds per_class "
            "confusion worst errors").split()


def close(actual, expected, tolerance, what):
    check(abs(actual - expected) <= tolerance, f"{what} is {actual}, expected {expected}")


# ---- running ----

def succeed(*arguments, **keywords):
    """Without a word on standard error."""
    result = run(*arguments, **keywords)
    equal(result.returncode, 0, f"exit status of {arguments} ({result.stderr.decode(errors='replace').strip()})")
    equal(result.stderr, b"", f"standard error of {arguments}")
    return result.stdout.decode()


def evaluate(data, *arguments):
    return json.loads(succeed("eval", "lenet5", "--weights", weights(), "--data", data, "-o", "json", *arguments))


# ---- files ----

def weights(scale=lambda name, value: value):
    header, body, numbers = {}, b"", random.Random(7)
    for name, shape in LENET.items():
        bound = 1.7 / math.sqrt(math.prod(shape[1:]) if len(shape) > 1 else 100)
        values = [scale(name, numbers.uniform(-bound, bound)) for _ in range(math.prod(shape))]
        data = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return write("lenet5.safetensors", struct.pack("<Q", len(text)) + text + body)


def link(name, target):
    if not os.path.islink(path(name)):
        os.symlink(target, path(name))
    return path(name)


def png(width, height, pixel):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixel(x, y) % 256 for x in range(width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pixels(index):
    """28x28 grey pixels."""
    return bytes((x * (index % 13 + 1) + y * (index % 7 + 3) + index * 29) % 256 for y in range(28) for x in range(28))


def label(index):
    return index * 7 % 10


def idx():
    """MNIST's files: the images plain, the labels compressed."""
    folder = path("idx")
    write("idx/t10k-images-idx3-ubyte",
          struct.pack(">IIII", 0x803, IMAGES, 28, 28) + b"".join(pixels(i) for i in range(IMAGES)))
    write("idx/t10k-labels-idx1-ubyte.gz",
          gzip.compress(struct.pack(">II", 0x801, IMAGES) + bytes(label(i) for i in range(IMAGES))))
    return folder


def class_folders(classes=10, each=3):
    folder = f"folders{classes}"
    for c in range(classes):
        for i in range(each):
            data = pixels(c + 10 * i)
            write(f"{folder}/class {c:02}/{i}.png", png(28, 28, lambda x, y: data[28 * y + x]))
    return path(folder)


# ---- what eval should find ----

def npy(shape, values):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}f", *values)


def logits(images):
    """Of 28x28 pixels, by `tilewise run`: scaled to 0..1 and framed with zeros here."""
    values = []
    for image in images:
        values += [0.0] * 64
        for y in range(28):
            values += [0.0, 0.0, *(p / 255 for p in image[28 * y:28 * y + 28]), 0.0, 0.0]
        values += [0.0] * 64
    source, target = write("x.npy", npy([len(images), 1, 32, 32], values)), path("y.npy")
    succeed("run", "lenet5", "--weights", weights(), "--batch", len(images), "--input", source, "--output", target)
    with open(target, "rb") as file:
        data = file.read()
    body = data[10 + struct.unpack("<H", data[8:10])[0]:]
    numbers = struct.unpack(f"<{len(body) // 4}f", body)
    return [numbers[i:i + 10] for i in range(0, len(numbers), 10)]


def expected(indices):
    """top-1, top-5, confusion matrix, and mistakes as (probability, index, predicted), the worst first."""
    confusion, top1, top5, mistakes = [[0] * 10 for _ in range(10)], 0, 0, []
    for index, row in zip(indices, logits([pixels(i) for i in indices])):
        order = sorted(range(10), key=lambda c: -row[c])
        confusion[label(index)][order[0]] += 1
        top1 += order[0] == label(index)
        top5 += label(index) in order[:5]
        if order[0] != label(index):
            mistakes.append((1 / sum(math.exp(v - max(row)) for v in row), index, order[0]))
    return top1 / len(indices), top5 / len(indices), confusion, sorted(mistakes, reverse=True)


# ---- figures ----

@case
def figures_are_those_counted_here():
    top1, top5, confusion, mistakes = expected(range(IMAGES))
    check(0 < top5 < 1 and len({c for row in confusion for c in row}) > 3, "the data make no test")
    for options in [[], ["--threads", "1"], ["--batch", "7"], ["--batch", "200"], ["--design", "naive"]]:
        document = evaluate(idx(), "--worst", "4", *options)
        row, = document["rows"]
        equal([key for key in ROW_KEYS if key not in row], [], "missing fields")
        equal((row["images"], row["bad"], row["split"]), (IMAGES, 0, "test"), "images")
        close(row["top1"], top1, 1e-9, f"top-1 with {options}")
        close(row["top5"], top5, 1e-9, f"top-5 with {options}")
        equal(row["confusion"], confusion, f"confusion with {options}")
        check(row["images_per_s"] > 0 and row["seconds"] > 0, "no rate")
        equal(len(row["worst"]), 4, "worst mistakes")
        for mistake, (probability, index, predicted) in zip(row["worst"], mistakes):
            close(mistake["probability"], probability, 1e-5, "probability of a mistake")
            equal((mistake["class"], mistake["predicted"]), (label(index), predicted), "a mistake")
            check(mistake["image"].endswith(f"#{index}"), f"name {mistake['image']!r} of image {index}")


@case
def classes_add_up():
    row, = evaluate(idx())["rows"]
    for index, (counts, class_row) in enumerate(zip(row["confusion"], row["per_class"])):
        images, correct = sum(counts), counts[index]
        others = [count for i, count in enumerate(counts) if i != index]
        equal((class_row["class"], class_row["images"], class_row["correct"]), (index, images, correct), "a class")
        close(class_row["accuracy"], correct / images, 1e-9, "accuracy")
        equal(class_row["mistaken"], max(others), "most frequent confusion")
        if max(others):
            equal(counts[class_row["mistaken_for"]], max(others), "the class it is mistaken for")
    equal(len(row["worst"]), 10, "worst mistakes by default")


@case
def limit_spreads_over_the_data():
    indices = [i * IMAGES // 40 for i in range(40)]
    top1, _, confusion, _ = expected(indices)
    row, = evaluate(idx(), "--limit", "40")["rows"]
    equal((row["images"], row["confusion"]), (40, confusion), "confusion of some images")
    close(row["top1"], top1, 1e-9, "top-1 of some images")
    equal(evaluate(idx(), "--limit", "1000000")["rows"][0]["images"], IMAGES, "images under a high limit")


@case
def each_device_has_a_row():
    document = evaluate(idx(), "--device", "cpu,cpu,cpu")
    equal([row["device"] for row in document["rows"]], ["cpu"] * 3, "devices")
    equal(len({json.dumps(row["confusion"]) for row in document["rows"]}), 1, "different matrices")
    refuse(3, "metal", "eval", "lenet5", "--weights", weights(), "--data", idx(), "--device", "cpu,metal")


@case
def class_folders_are_matched_in_order():
    row, = evaluate(class_folders())["rows"]
    confusion = [[0] * 10 for _ in range(10)]
    order = [(c, i) for c in range(10) for i in range(3)]
    for (c, i), values in zip(order, logits([pixels(c + 10 * i) for c, i in order])):
        confusion[c][max(range(10), key=lambda k: values[k])] += 1
    equal(row["confusion"], confusion, "confusion")
    equal([entry["label"] for entry in row["per_class"]], [f"class {c:02}" for c in range(10)], "names")
    check(row["worst"][0]["image"].endswith(".png"), "a mistake without a file name")
    names = write("names.txt", "\n".join(f"name {i}" for i in range(10)).encode())
    row, = evaluate(class_folders(), "--labels", names)["rows"]
    equal(row["per_class"][3]["label"], "name 3", "--labels")
    few = write("few.txt", b"a\nb\nc\nd\n")
    row, = evaluate(class_folders(4), "--labels", few)["rows"]
    equal([entry["label"] for entry in row["per_class"]], ["a", "b", "c", "d"], "--labels of the data's classes")
    write("folders4/class 02/moving.gif", b"GIF89a")
    result = run("eval", "lenet5", "--weights", weights(), "--data", class_folders(4))
    equal(result.returncode, 0, "exit status")
    check(b"neither JPEG nor PNG were left out: 1" in result.stderr, result.stderr)
    refuse(2, "4 labels, but the network has 10 classes", "eval", "lenet5", "--weights", weights(), "--data",
           class_folders(5), "--labels", few)


@case
def colours_become_grey():
    record = b"".join(bytes([i % 10]) + bytes((i * 31 + j) % 256 for j in range(3072)) for i in range(20))
    write("cifar/test_batch.bin", record)
    write("cifar/batches.meta.txt", "\n".join(f"thing{i}" for i in range(10)).encode())
    row, = evaluate(path("cifar"))["rows"]
    equal((row["images"], row["per_class"][2]["label"]), (20, "thing2"), "CIFAR-10")


# ---- formats ----

@case
def tables_and_lines():
    command = ["eval", "lenet5", "--weights", weights(), "--data", idx(), "-o"]
    for output in ["table", "md"]:
        text = succeed(*command, output)
        for part in ["top-1", "images/s", "mostly mistaken for", "confusion matrix", "worst mistakes",
                     "from opening the data to the last result"]:
            check(part in text, f"{output} has no {part!r}")
    row, = csv.DictReader(io.StringIO(succeed(*command, "csv")))
    equal((row["images"], row["model"]), (str(IMAGES), "lenet5"), "CSV")
    check("confusion" not in row, "a matrix in CSV")
    line, = succeed(*command, "jsonl").splitlines()
    equal(len(json.loads(line)["confusion"]), 10, "JSON line")


def png_pixels(name):
    with open(name, "rb") as file:
        data = file.read()
    equal(data[:8], b"\x89PNG\r\n\x1a\n", "signature")
    at, body, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        content = data[at + 8:at + 8 + length]
        equal(struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0], zlib.crc32(kind + content), "CRC")
        if kind == b"IHDR":
            size = struct.unpack(">II", content[:8])
        body += content if kind == b"IDAT" else b""
        at += 12 + length
    return size, zlib.decompress(body)


@case
def pictures():
    command = ["eval", "lenet5", "--weights", weights(), "--data", class_folders(), "-o", "csv", "--confusion"]
    succeed(*command, path("matrix.png"))
    (width, height), data = png_pixels(path("matrix.png"))
    equal(len(data), height * (3 * width + 1), "bytes of pixels")
    check(500 < width < 1500 and 500 < height < 1500, f"size {width}x{height}")
    check(len(set(data)) > 20, "a blank picture")
    succeed(*command, path("matrix.svg"))
    root = xml.etree.ElementTree.parse(path("matrix.svg")).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    equal(texts.count("class 03"), 2, "labels on the axes")
    check("true class" in texts and "predicted class" in texts and "100%" in texts, f"texts {texts}")
    refuse(2, "ends in .png or .svg", *command, path("matrix.gif"))
    refuse(2, "nowhere", *command, path("nowhere/matrix.png"))
    refuse(2, "not a regular file", *command, link("full.png", "/dev/full"))
    refuse(2, "its folder does not exist", "eval", "lenet5", "--weights", weights(), "--data", path("gone"), "--confusion",
           path("nowhere/matrix.svg"))  # before the data are looked at
    equal([name for name in os.listdir(FOLDER) if "matrix" in name and name[-4:] not in (".png", ".svg")], [], "files left")


@case
def a_thousand_outputs():
    name = path("squeezenet1_1.safetensors")
    equal(run("convert", "squeezenet1_1", "--seed", "3", "--output", name).returncode, 0, "exit status of convert")
    result = run("eval", "squeezenet1_1", "--weights", name, "--data", class_folders(), "--limit", "4",
                 "--confusion", path("large.png"))
    equal(result.returncode, 0, "exit status")
    check(b"largest confusions" in result.stdout and b"confusion matrix" not in result.stdout, "tables of many classes")
    (width, _), data = png_pixels(path("large.png"))
    check(width > 2000 and len(set(data)) > 5, f"picture {width} wide")


# ---- what goes wrong ----

@case
def wrong_data():
    command = ["eval", "lenet5", "--weights", weights()]
    refuse(2, "--data DIR is needed", *command)
    refuse(2, "nowhere", *command, "--data", path("nowhere"))
    os.makedirs(path("hollow"), exist_ok=True)
    refuse(2, "hollow", *command, "--data", path("hollow"))
    refuse(2, "11 classes, but lenet5 has 10 outputs", *command, "--data", class_folders(11, 1))
    refuse(2, '"tset".*test', *command, "--data", idx(), "--split", "tset")
    refuse(2, "train", *command, "--data", idx(), "--split", "train")
    refuse(2, "--split: .* tells no training images from test ones", *command, "--data", class_folders(2, 1), "--split",
           "test")
    refuse(2, "needs real weights", "eval", "lenet5", "--data", idx(), env=dict(os.environ, TILEWISE_DATA=path("none")))
    refuse(2, "unknown network", "eval", "lenet55", "--data", idx())


@case
def bad_images_are_listed():
    folder = shutil.copytree(class_folders(), path("damaged"), dirs_exist_ok=True)
    write("damaged/class 04/1.png", b"no picture")
    command = ["eval", "lenet5", "--weights", weights(), "--data", folder]
    result = run(*command, "-o", "json")
    equal((result.returncode, result.stderr), (2, b"tilewise: 1 of 30 images could not be used\n"), "end")
    row, = json.loads(result.stdout)["rows"]
    equal((row["images"], row["bad"]), (29, 1), "images")
    error, = row["errors"]
    check(error["image"].endswith("class 04/1.png") and "not a JPEG or PNG" in error["error"], f"error {error}")
    check(b"class 04/1.png" in run(*command).stdout, "not in the table")


@case
def many_bad_images_are_counted():
    folder = shutil.copytree(class_folders(), path("ruined"), dirs_exist_ok=True)
    for c in range(8):
        for i in range(3):
            write(f"ruined/class {c:02}/{i}.png", b"no picture")
    command = ["eval", "lenet5", "--weights", weights(), "--data", folder]
    text = run(*command).stdout.decode()
    check("bad images: 20 of 24" in text and text.count("not a JPEG or PNG") == 20, "the table of bad images")
    equal(len(json.loads(run(*command, "-o", "json").stdout)["rows"][0]["errors"]), 24, "bad images in JSON")


@case
def outputs_that_are_not_finite():
    name = weights(lambda key, value: math.nan if key == "fc3.bias" else value)
    result = run("eval", "lenet5", "--weights", name, "--data", idx(), "-o", "json")
    row, = json.loads(result.stdout)["rows"]
    equal((result.returncode, row["images"], row["bad"], row["top1"]), (2, 0, IMAGES, None), "end")
    check("not finite" in row["errors"][0]["error"], f"error {row['errors'][0]}")
    result = run("classify", "lenet5", "--weights", name, class_folders() + "/class 01/0.png")
    equal((result.returncode, result.stderr), (2, b"tilewise: 1 of 1 images could not be used\n"), "classify")


@case
def progress_only_on_terminals():
    try:
        parent, child = pty.openpty()
    except OSError as error:
        raise Skip(f"no pseudo-terminal: {error}")
    process = subprocess.Popen([TILEWISE, "eval", "lenet5", "--weights", weights(), "--data", idx(), "--design",
                                "reference", "--threads", "1"], stdout=subprocess.DEVNULL, stderr=child)
    process.wait(timeout=60)
    os.close(child)
    text = b""
    try:
        while data := os.read(parent, 65536):
            text += data
    except OSError:
        pass  # the other side is closed
    os.close(parent)
    check(re.search(rb"/150 .*images/s, \d+:\d\d left", text), f"no bar in {text!r}")


# ---- classify ----

def classify(*arguments, code=0, **keywords):
    result = run("classify", "lenet5", "--weights", weights(), "-o", "jsonl", *arguments, **keywords)
    equal(result.returncode, code, f"exit status of {arguments} ({result.stderr.decode().strip()})")
    return [json.loads(line) for line in result.stdout.splitlines()]


def names(rows):
    return [os.path.relpath(row["image"], FOLDER) for row in rows]


@case
def classify_many():
    folder = class_folders()
    files = [f"folders10/class {c:02}/{i}.png" for c in range(10) for i in range(3)]
    rows = classify("--recursive", folder)
    equal(names(rows), files, "files of folders in a folder")
    equal(rows[0]["batch"], 8, "batch of many")
    singles = classify("--recursive", folder, "--batch", "1")
    for one, other in zip(rows, singles):
        equal(one["top"][0]["class"], other["top"][0]["class"], "class in a batch")
        close(one["top"][0]["probability"], other["top"][0]["probability"], 1e-5, "probability in a batch")
    os.symlink(folder, path("folders10/class 00/again"))
    equal(names(classify("--recursive", folder)), files, "files beside a link in a circle")
    os.remove(path("folders10/class 00/again"))
    equal(names(classify(folder + "/class 0[12]/*.png")), files[3:9], "files of a pattern")
    equal(names(classify(folder + "/class 01")), files[3:6], "files of a folder")
    refuse(2, "no file has such a name", "classify", "lenet5", "--weights", weights(), folder + "/*.gif")
    refuse(2, "holds no files; --recursive", "classify", "lenet5", "--weights", weights(), folder)
    refuse(2, "--seed", "classify", "lenet5", "--weights", weights(), "--seed", "5", folder)
    os.makedirs(path("locked"), exist_ok=True)
    os.chmod(path("locked"), 0)
    if not os.access(path("locked"), os.R_OK):
        refuse(2, "a folder may not be read", "classify", "lenet5", "--weights", weights(), path("locked/*.png"))
    os.chmod(path("locked"), 0o700)


@case
def classify_lists():
    folder = class_folders()
    files = [f"{folder}/class 05/{i}.png" for i in (2, 0, 1)]
    text = "\n".join(files).encode() + b"\n\n"
    wanted = [os.path.relpath(name, FOLDER) for name in files]
    equal(names(classify("--files-from", write("list", text))), wanted, "files of a list")
    equal(names(classify("--files-from", "-", input=text.replace(b"\n", b"\r\n"))), wanted, "lines of Windows")
    equal(names(classify("--files-from", "-", input=text)), wanted, "files of the standard input")
    equal(names(classify("--files-from", "-", "-0", input=text.strip().replace(b"\n", b"\0"))), wanted, "with zero bytes")
    rows = classify("--files-from", "-", input=text + b"nowhere.png\n", code=2)
    check("nowhere.png" in rows[3]["error"], f"row {rows[3]}")
    command = ["classify", "lenet5", "--weights", weights()]
    refuse(2, "no names of files", *command, "--files-from", write("empty", b"\n"))
    refuse(2, "nowhere", *command, "--files-from", path("nowhere"))
    refuse(2, "--null", *command, "--files-from", write("zeros", b"a\0b\0"))
    refuse(2, "--null: there is no --files-from", *command, "--null", files[0])
    refuse(2, "missing", *command)


@case
def classify_reports_as_it_goes():
    folder = class_folders()
    command = [TILEWISE, "classify", "lenet5", "--weights", weights(), "--recursive", "-o", "jsonl", *[folder] * 40]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    json.loads(process.stdout.readline())
    process.stdout.close()  # as head does
    equal(process.stderr.read(), b"", "standard error without a reader")
    process.stderr.close()
    check(process.wait(timeout=30) != 0, "success without a reader")


@case
def classify_on_devices_with_layers():
    folder = class_folders()
    rows = classify("--device", "cpu,cpu,cpu", folder + "/class 07")
    equal([row["agrees"] for row in rows], [True] * 9, "agreement")
    command = ["classify", "lenet5", "--weights", weights(), folder + "/class 07", "--layers", "-o"]
    check("| fc3" in succeed(*command, "md"), "no layers in Markdown")
    for output in ["csv", "jsonl"]:
        refuse(2, "--layers: csv and jsonl", *command, output)


main()
