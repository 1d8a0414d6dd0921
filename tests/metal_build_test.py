#!/usr/bin/env python3
"""tools/metal/build where something is wrong: arguments, the compiler, the folder of what all kernels share. It says so
in a line or does without, and leaves nothing behind; metal_run_test.py is that of mslrun."""
import os
import shutil
import subprocess
import tempfile
import time

from metal_sim_test import check, finish

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(HERE), "tools/metal")
CLANG = os.environ.get("MSL_CLANG", "clang++-19")
KERNEL = """#include <metal_stdlib>
using namespace metal;
kernel void twice(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],
                  threadgroup float *spare [[threadgroup(0)]], uint i [[thread_position_in_grid]])
{
    y[i] = 2.0f * x[i];
}
"""
RIGHT = "--buffer 0=float32:1,2,3,4 --buffer 1=zeros:float32:4 --threadgroup 0=16 --threads 4 --threadgroups 1 --out 1"
DOUBLED = "2.0 4.0 6.0 8.0"


def mslrun(folder, *arguments, **environment):
    """In the folder with a space in its name, whose folder tmp is for temporary files."""
    given = dict(os.environ, TMPDIR=os.path.join(folder, "tmp"), **environment)
    given = {name: value for name, value in given.items() if value is not None}
    command = [os.path.join(TOOLS, "mslrun"), "twice.metal", "twice", *RIGHT.split(), *arguments]
    return subprocess.run(command, cwd=folder, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def doubles(folder, *arguments, **environment):
    done = mslrun(folder, *arguments, **environment)
    return None if done.stdout.strip() == DOUBLED else f"status {done.returncode}, '{done.stdout}{done.stderr}'"


def refuses(folder, words, **environment):
    done = mslrun(folder, **environment)
    right = done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1
    return None if right else f"status {done.returncode}, '{done.stderr}'"


def wrong_builds(folder):
    for text, words in (("plain twice.metal -o", "-o needs a value"), ("plain twice.metal twice.metal", "one file at"),
                        ("plain", "no file"), ("fast twice.metal", "which kind"), ("plain twice.metal", "no output")):
        done = subprocess.run([os.path.join(TOOLS, "build"), *text.split()], cwd=folder, stderr=subprocess.PIPE,
                              text=True)
        right = done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1
        check(f"build {text}", None if right else f"status {done.returncode}, '{done.stderr}'")


def compilers(folder):
    other = os.path.join(folder, "older")
    with open(other, "w") as file:
        file.write("#!/bin/sh\necho '#define __clang_major__ 14'\n")
    os.chmod(other, 0o755)
    check("no clang", refuses(folder, "no no-such-clang", MSL_CLANG="no-such-clang"))
    check("an older clang", refuses(folder, "is no clang 18 or newer", MSL_CLANG=other))


def caches(folder):
    """Of what all kernels share: none, one that is no folder, and one in which another was killed."""
    cache = os.path.join(folder, "cache")
    killed, busy = (os.path.join(cache, "tilewise/metal", name) for name in ("fresh.killed", "fresh.busy"))
    os.makedirs(killed)
    os.makedirs(busy)
    os.utime(killed, (time.time() - 7200,) * 2)
    check("no folder to keep anything in", doubles(folder, XDG_CACHE_HOME=None, HOME=None))
    check("a cache that is a file", doubles(folder, XDG_CACHE_HOME=os.path.join(folder, "twice.metal")))
    check("an empty cache", doubles(folder, XDG_CACHE_HOME=cache))
    check("a build that was killed", "is still there" if os.path.exists(killed) else None)
    check("a build under way", None if os.path.exists(busy) else "was taken away")


def libraries(folder):
    subprocess.run([os.path.join(TOOLS, "build"), "plain", "twice.metal", "-o", "twice.so"], cwd=folder, check=True)
    check("a library in the working folder", doubles(folder, "--library", "twice.so"))
    done = mslrun(folder, "--mode", "asan", "--threads", "5")
    if "needs" not in done.stderr:
        check("a fault under a sanitizer", None if "twice.metal:6" in done.stderr else done.stderr)


def main():
    if not shutil.which(CLANG):
        print(f"SKIP no {CLANG}\n0 passed, 0 failed, 1 skipped")
        return
    with tempfile.TemporaryDirectory() as outer:
        folder = os.path.join(outer, "a folder")
        os.makedirs(os.path.join(folder, "tmp"))
        with open(os.path.join(folder, "twice.metal"), "w") as file:
            file.write(KERNEL)
        for part in (wrong_builds, compilers, caches, libraries):
            part(folder)
        left = os.listdir(os.path.join(folder, "tmp"))
        check("temporary files", f"left {left}" if left else None)
    finish()


main()
