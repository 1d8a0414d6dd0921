#!/usr/bin/env python3
"""The device metal-sim: every design in Metal against the reference, networks against the CPU, and what it says where
something is missing. Skipped where the device itself says that clang is not there."""
import array
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

NETWORKS = [("lenet5", (1, 1, 32, 32), []), ("squeezenet1_1", (1, 3, 64, 64), ["--image-size", "64"]),
            ("mobilenet_v2", (1, 3, 64, 64), ["--image-size", "64"])]
TOLERANCE = 1e-4  # of the largest output
TOOLS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools/metal")
counts = {"passed": 0, "failed": 0, "skipped": 0}


def finish():
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(counts["failed"] != 0)


def check(name, wrong):
    """Counts a case. `wrong` is None or says what is wrong."""
    counts["failed" if wrong else "passed"] += 1
    if wrong:
        print(f"FAIL {name}: {wrong}")


def run(arguments, **environment):
    return subprocess.run(arguments, env=dict(os.environ, **environment), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


def write_npy(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
        array.array("f", values).tofile(file)


def read_npy(path):
    with open(path, "rb") as file:
        data = file.read()
    return array.array("f", data[10 + int.from_bytes(data[8:10], "little"):])


def designs(build, precision, device="metal-sim", percent="4", under=(), operators=()):
    """All designs in Metal on few problems: the cases of ops_test are counted as its own."""
    done = run([*under, os.path.join(build, "tests/ops_test"), *operators], TEST_DEVICE=device, TEST_PERCENT=percent,
               TEST_PRECISION=precision)
    lines = done.stdout.splitlines() or [""]
    for line in lines[:-1]:
        print(line)
    last = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1])
    wrong = None if last else f"ended with '{lines[-1]}', {done.stderr.strip()}"
    if under and done.returncode != 0:
        wrong = f"{' '.join(under)}: exit status {done.returncode}, {(done.stdout + done.stderr)[-3000:]}"
    check(f"ops_test {' '.join(operators)} in {precision} on {device}", wrong)
    for key, count in zip(("passed", "failed", "skipped"), last.groups() if last else ()):
        counts[key] += int(count)


def network(program, folder, case, family, device="metal-sim"):
    name, shape, options = case
    draw = random.Random(1)
    size = shape[0] * shape[1] * shape[2] * shape[3]
    given = os.path.join(folder, "input.npy")
    write_npy(given, shape, [draw.gauss(0, 1) for _ in range(size)])
    results = []
    for where in (["cpu"], [device, "--family", family]):
        output = os.path.join(folder, "output.npy")
        done = run([program, "run", name, "--device", *where, "--input", given, "--output", output, *options])
        if done.returncode != 0:
            return done.stderr.strip()
        results.append(read_npy(output))
    wanted, got = results
    scale = max(abs(v) for v in wanted)
    error = max(abs(a - b) for a, b in zip(wanted, got))
    agree = len(wanted) == len(got) and scale > 0 and error <= TOLERANCE * scale
    return None if agree else f"off by {error} of {scale}"


def refuses(program, words, device="metal-sim", **environment):
    done = run([program, "bench", "--layer", "relu:1x3x4x4", "--device", device], **environment)
    said = done.stderr.strip()
    right = done.returncode == 3 and words in said and "\n" not in said
    return None if right else f"exit status {done.returncode}, '{said}'"


def broken_kernel(program, folder):
    """A kernel that does not compile: the compiler's words, and nothing left in the cache."""
    tools, source = os.path.join(folder, "tools/metal"), os.path.join(folder, "src/ops/activation")
    shutil.copytree(TOOLS, tools)
    os.makedirs(source)
    for kind in ("naive", "vectorised"):
        with open(os.path.join(source, f"metal_{kind}.metal"), "w") as file:
            file.write("#include <metal_stdlib>\nkernel void broken() { int x = nowhere; }\n")
    cache = os.path.join(folder, "cache")
    done = run([program, "bench", "--layer", "relu:1x3x4x4", "--device", "metal-sim"],
               TILEWISE_METAL_TOOLS=tools, XDG_CACHE_HOME=cache)
    said = done.stderr
    if done.returncode == 0 or "nowhere" not in said + done.stdout:
        return f"exit status {done.returncode}, '{said.strip()}'"
    left = [name for name in os.listdir(f"{cache}/tilewise/metal") if name.startswith("activation")]
    return f"left {left}" if left else None


def main():
    build = sys.argv[1]
    program = os.path.join(build, "tilewise")
    listed = run([program, "devices", "-o", "json"], TILEWISE_METAL_SIM="plain")
    device = next(row for row in json.loads(listed.stdout)["rows"] if row["device"] == "metal-sim")
    check("without clang", refuses(program, "no no-such-clang", MSL_CLANG="no-such-clang"))
    if not device["available"]:
        counts["skipped"] += 1
        print(f"SKIP metal-sim: {device['reason']}")
        finish()
    check("precisions", None if device["precisions"] == "fp32 fp16" else device["precisions"])
    check("without tools", refuses(program, "TILEWISE_METAL_TOOLS=/nowhere", TILEWISE_METAL_TOOLS="/nowhere"))
    check("without a sanitizer's runtime", refuses(program, "LD_PRELOAD", TILEWISE_METAL_SIM="asan"))
    with tempfile.TemporaryDirectory() as folder:
        for family, cases in (("apple4", NETWORKS[2:]), ("apple7", NETWORKS)):
            for case in cases:
                check(f"{case[0]} on {family}", network(program, folder, case, family))
        check("a kernel that does not compile", broken_kernel(program, folder))
    for precision in ("fp32", "fp16"):
        designs(build, precision)
    finish()


if __name__ == "__main__":
    main()
