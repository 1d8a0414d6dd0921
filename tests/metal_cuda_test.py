#!/usr/bin/env python3
"""The device metal-cuda. Without a GPU: all of Tilewise's kernels in Metal compile as CUDA; simdgroup operations made
of shuffles are right; and the device, the CPU in the driver's place (metal/host_driver.cpp), runs what was made for
CUDA right. On a GPU: every design against the reference, networks against the CPU, and a share of the designs under
compute-sanitizer, where that is on the path.

    tests/metal_cuda_test.py BUILD          all that this machine can do
    tests/metal_cuda_test.py BUILD build    only puts all kernels into the cache, for a machine that has a GPU alone

TEST_PERCENT (20) says how many of the random problems the designs are tried on."""
import glob
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from metal_sim_test import NETWORKS, check, counts, designs, finish, network, refuses, run

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAMILY = "7"
# memcheck runs all operators on the fixed and few random problems; racecheck those that share threadgroup memory.
SHARING = ("conv2d", "linear", "pool", "softmax")
# What the CPU runs in the GPU's place, in moderate time.
HOSTED = (("fp32", "linear", "gemv_simd"), ("fp32", "linear", "gemv"), ("fp32", "softmax"), ("fp32", "reorder"),
          ("fp16", "conv2d", "depthwise"), ("fp16", "pool", "simdgroup"), ("fp16", "concat"),
          ("fp16", "linear", "tiled"))
CLANG = os.environ.get("MSL_CLANG", "clang++-19")
INCLUDE = os.path.join(ROOT, "tools/metal/include")


def skip(reason):
    counts["skipped"] += 1
    print(f"SKIP metal-cuda: {reason}")


def missing_tool():
    """The compiler that is not here, or None."""
    nvcc = os.environ.get("MSL_NVCC") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    return next((name for name in (CLANG, nvcc) if not shutil.which(name)), None)


def all_sources():
    """conv2d/metal_naive and the others."""
    files = sorted(glob.glob(os.path.join(ROOT, "src/ops/*/metal_*.metal")))
    return [os.path.splitext(os.path.relpath(f, os.path.join(ROOT, "src/ops")))[0] for f in files]


def build_kernels(build):
    """Each .metal file of src/ops: True if all are in the cache or could be built."""
    sources = all_sources()
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


def compile_with_clang(arguments, output):
    """None, or what clang said."""
    built = run([CLANG, "-std=c++17", "-O2", "-w", "-fno-math-errno", "-I", INCLUDE, *arguments, "-o", output])
    return built.stderr.strip() if built.returncode != 0 else None


def host_kernel(folder, source):
    """The same translation as the GPU's, compiled for the CPU."""
    plain = os.path.join(folder, source.replace("/", "-"))
    translated = run([os.path.join(ROOT, "tools/metal/mslc"), "--mode", "cuda", "-I", os.path.join(ROOT, "src"),
                      os.path.join(ROOT, "src/ops", source + ".metal"), "-o", plain + ".cpp"])
    if translated.returncode != 0:
        return translated.stderr.strip()
    return compile_with_clang(["-fPIC", "-shared", "-fvisibility=hidden", "-include",
                               os.path.join(ROOT, "tests/metal/host_cuda.h"), plain + ".cpp"], plain + ".so")


def on_host(build, program, folder):
    """metal-cuda with the CPU for a GPU."""
    driver = os.path.join(folder, "libcuda.so.1")
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        found = list(workers.map(lambda source: host_kernel(folder, source), all_sources()))
    wrong = next(filter(None, found), None) or compile_with_clang(
        ["-fPIC", "-shared", os.path.join(ROOT, "tests/metal/host_driver.cpp")], driver)
    check("what was made for CUDA compiles for the CPU", wrong)
    if wrong:
        return
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ.update(LD_LIBRARY_PATH=folder, HOST_CUDA_KERNELS=folder)
    for precision, *operators in HOSTED:
        designs(build, precision, "metal-cuda", "1", operators=operators)
    for case in NETWORKS:
        check(f"{case[0]} on metal-cuda, by the CPU", network(program, folder, case, "apple7", "metal-cuda"))
    os.environ.pop("LD_LIBRARY_PATH")
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


def shuffles(folder):
    """tests/metal/warp.cpp: simdgroups of 32 threads of the CPU run what a warp would."""
    program = os.path.join(folder, "warp")
    wrong = compile_with_clang(["-pthread", os.path.join(ROOT, "tests/metal/warp.cpp")], program)
    if wrong:
        return wrong
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
    if len(sys.argv) < 2 or not os.path.exists(os.path.join(sys.argv[1], "tests/metal_library")):
        sys.exit("usage: tests/metal_cuda_test.py BUILD [build], BUILD a folder such as build/release with its tests")
    build = sys.argv[1]
    program = os.path.join(build, "tilewise")
    if sys.argv[2:] == ["build"]:
        build_kernels(build)
        finish()
    ready = build_kernels(build)
    listed = run([program, "devices", "-o", "json"])
    device = next(row for row in json.loads(listed.stdout)["rows"] if row["device"].startswith("metal-cuda"))
    with tempfile.TemporaryDirectory() as folder:
        if shutil.which(CLANG):
            check("simdgroup operations by shuffles", shuffles(folder))
            if ready:
                on_host(build, program, folder)
        else:
            skip(f"no {CLANG}, with which the CPU takes a GPU's place")
        if not device["available"]:
            check("without a GPU", refuses(program, "metal-sim", "metal-cuda"))
            skip(device["reason"])
        elif ready:
            on_gpu(build, program, folder)
    finish()


if __name__ == "__main__":
    main()
