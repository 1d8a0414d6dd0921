"""The device metal-cuda: all of Tilewise's kernels in Metal compile as CUDA, and simdgroup operations made of shuffles
are right, for which no GPU is needed; on a GPU every design against the reference, networks against the CPU, and a share
of the designs under compute-sanitizer, where that is on the path.

    tests/metal_cuda_test.py BUILD          all that this machine can do
    tests/metal_cuda_test.py BUILD build    only puts all kernels into the cache, for a machine that has a GPU alone

TEST_PERCENT (20) says how many of the random problems the designs are tried on."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from metal_sim_test import NETWORKS, check, counts, designs, finish, network, refuses, run

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAMILY = "7"
# memcheck runs all operators on the fixed and few random problems; racecheck those that share threadgroup memory.
SHARING = ("conv2d", "linear", "pool", "softmax")


def skip(reason):
    counts["skipped"] += 1
    print(f"SKIP metal-cuda: {reason}")


def missing_tool():
    """The compiler that is not here, or None."""
    clang = os.environ.get("MSL_CLANG", "clang++-19")
    nvcc = os.environ.get("MSL_NVCC") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    return next((name for name in (clang, nvcc) if not shutil.which(name)), None)


def build_kernels(build):
    """Each .metal file of src/ops: True if all are in the cache or could be built."""
    files = sorted(glob.glob(os.path.join(ROOT, "src/ops/*/metal_*.metal")))
    sources = [os.path.splitext(os.path.relpath(f, os.path.join(ROOT, "src/ops")))[0] for f in files]
    missing = missing_tool()
    program = os.path.join(build, "tests/metal_library")
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        done = list(workers.map(lambda source: run([program, "cuda", FAMILY, source]), sources))
    failed = [(s, d) for s, d in zip(sources, done) if d.returncode != 0]
    if failed and missing:
        skip(f"no {missing}, and {len(failed)} of {len(sources)} kernels are not in the cache")
        return False
    for source, result in zip(sources, done):
        said = (result.stdout + result.stderr).strip()
        check(f"{source}.metal as CUDA", None if result.returncode == 0 else said)
    check("kernels", None if sources else "no .metal file was found")
    return not failed


def shuffles(folder):
    """tests/metal/warp.cpp: simdgroups of 32 threads of the CPU run what a warp would."""
    program = os.path.join(folder, "warp")
    built = subprocess.run([os.environ.get("MSL_CLANG", "clang++-19"), "-std=c++17", "-O1", "-I",
                            os.path.join(ROOT, "tools/metal/include"), os.path.join(ROOT, "tests/metal/warp.cpp"), "-o",
                            program, "-pthread"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if built.returncode != 0:
        return built.stdout.strip()
    done = run([program])
    right = done.returncode == 0 and done.stdout.strip().endswith(" right, 0 wrong")
    return None if right else done.stdout.strip() + done.stderr.strip()


def on_gpu(build, program, folder):
    percent = os.environ.get("TEST_PERCENT", "20")
    for precision in ("fp32", "fp16"):
        designs(build, precision, "metal-cuda", percent)
    for case in NETWORKS:
        check(f"{case[0]} on metal-cuda", network(program, folder, case, "apple7", "metal-cuda"))
    sanitizer = shutil.which("compute-sanitizer")
    if not sanitizer:
        skip("no compute-sanitizer on the path")
        return
    memcheck = (sanitizer, "--tool", "memcheck", "--error-exitcode", "9")
    racecheck = (sanitizer, "--tool", "racecheck", "--error-exitcode", "9")
    for precision in ("fp32", "fp16"):
        designs(build, precision, "metal-cuda", "1", memcheck)
        for operator in SHARING:
            designs(build, precision, "metal-cuda", "1", racecheck, (operator,))


def main():
    build = sys.argv[1]
    program = os.path.join(build, "tilewise")
    if sys.argv[2:] == ["build"]:
        build_kernels(build)
        finish()
    ready = build_kernels(build)
    listed = run([program, "devices", "-o", "json"])
    device = next(row for row in json.loads(listed.stdout)["rows"] if row["device"].startswith("metal-cuda"))
    with tempfile.TemporaryDirectory() as folder:
        if shutil.which(os.environ.get("MSL_CLANG", "clang++-19")):
            check("simdgroup operations by shuffles", shuffles(folder))
        else:
            skip("no clang, for simdgroup operations by shuffles on the CPU")
        if not device["available"]:
            check("without a GPU", refuses(program, "metal-sim", "metal-cuda"))
            skip(device["reason"])
        elif ready:
            on_gpu(build, program, folder)
    finish()


if __name__ == "__main__":
    main()
