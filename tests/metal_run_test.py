#!/usr/bin/env python3
"""tools/metal/mslrun: what it says of wrong arguments and of kernels that crash, files with odd names, and that nothing
of it stays behind; and that a damaged cache of kernels is mended."""
import glob
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(HERE), "tools/metal")
SOURCE = """#include <metal_stdlib>
using namespace metal;
constant int N [[function_constant(0)]];
kernel void ones(device float *out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = 1.0f; }
kernel void constants(device float *out [[buffer(0)]]) { out[0] = float(N); }
kernel void far(device float *out [[buffer(0)]]) { out[1000000000] = 1.0f; }
kernel void divided(device int *out [[buffer(0)]]) { out[0] = out[1] / out[2]; }
kernel void longs(device long4 *out [[buffer(0)]], uint i [[thread_position_in_grid]]) { out[i] = out[i] + 1; }
kernel void forever(device atomic_uint *stop [[buffer(0)]])
{
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0u) {}
}
"""
ONE = "--threads 1 --threadgroups 1 --buffer 0=zeros:float32:4 "
# (kernel, arguments, status, what the last line says)
WRONG = [
    ("ones", "--threads 4294967297 --threadgroups 1", 2, "--threads 4294967297: expected"),
    ("ones", "--threads 1 --threadgroups 1,4294967296", 2, "--threadgroups 1,4294967296: expected"),
    ("ones", "--threads 1 --grid 4294967296", 2, "--grid 4294967296: expected"),
    ("ones", ONE + "--threadgroup 0=many", 2, "--threadgroup 0=many: expected"),
    ("ones", ONE + "--buffer 0=zeros:float32:4", 2, "buffer(0) is given twice"),
    ("ones", ONE + "--buffer 1=zeros:float32:99999999999999", 2, "no memory"),
    ("ones", ONE + "--buffer 1=zeros:float32:-1", 2, "--buffer 1=zeros:float32:-1: "),
    ("ones", ONE + "--buffer 1=uint8:300", 2, "--buffer 1=uint8:300: "),
    ("ones", ONE + "--buffer 1=absent.npy", 2, "--buffer 1=absent.npy: "),
    ("ones", ONE + "--buffer 1=short.npy", 2, "short.npy is no .npy file"),
    ("ones", ONE + "--buffer 1=syntax.npy", 2, "syntax.npy is no .npy file"),
    ("ones", ONE + "--buffer 1=empty.npy", 2, "empty.npy is no .npy file"),
    ("ones", ONE + "--buffer 1=cut.npy", 2, "4 bytes are not the 100 numbers"),
    ("ones", ONE + "--out 0=absent/out.npy", 2, "absent/out.npy: No such file"),
    ("ones", ONE + "--buffer 1=zeros:float64:4", 2, "expected zeros:TYPE:COUNT"),
    ("ones", ONE + "--family apple3", 2, "apple10"),
    ("ones", ONE + "--workers -1", 2, "expected a number from 0"),
    ("ones", ONE + "--repeat 0", 2, "expected a number from 1"),
    ("ones", ONE + "--library absent.so", 2, "no library made by tools/metal/build"),
    ("constants", ONE + "--constant N=int32:one", 2, "'one' is no int32"),
    ("constants", ONE + "--constant N=int32:99999999999", 2, "'99999999999' is no int32"),
    ("far", ONE, 1, "kernel far: ended by SIGSEGV"),
    ("divided", "--threads 1 --threadgroups 1 --buffer 0=zeros:int32:4", 1, "kernel divided: ended by SIG"),
]
NAMES = ["a b.metal", "q\"uo'te.metal", "back\\slash.metal", "$(touch made).metal", "per%s.metal", "-dash.metal"]
passed = failed = 0


def check(good, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAIL {what}")


def mslrun(file, kernel, arguments):
    file = "./" + file if file.startswith("-") else file
    command = [os.path.join(TOOLS, "mslrun"), file, kernel, *arguments.split()]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


def check_arguments():
    write("kernels.metal", SOURCE.encode())
    for name, header, data in (("syntax", b"{bad!", b""), ("empty", b"{}", b""),
                               ("cut", b"{'descr': '<f4', 'fortran_order': False, 'shape': (100,)}", b"abcd")):
        write(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
    write("short.npy", b"\x93NUMPY\x01")
    for kernel, arguments, status, said in WRONG:
        done = mslrun("kernels.metal", kernel, arguments)
        last = (done.stderr.splitlines() or [""])[-1]
        check(done.returncode == status and said in last, f"{kernel} {arguments}: {done.returncode}, {done.stderr}")
    for mode in ("plain", "asan"):
        done = mslrun("kernels.metal", "longs", f"--threads 3 --threadgroups 1 --buffer 0=iota:int64:12 --out 0 --mode {mode}")
        check(done.stdout.split() == [str(i + 1) for i in range(12)], f"longs, {mode}: {done.stdout} {done.stderr}")


def check_names():
    """A fault in a file of any name is reported by that name, and its line."""
    for name in NAMES:
        write(name, SOURCE.encode())
        done = mslrun(name, "ones", ONE + "--out 0")
        check(done.stdout.split() == ["1.0", "0.0", "0.0", "0.0"], f"{name}: {done.stdout} {done.stderr}")
        write(name, SOURCE.replace("= 1.0f; }", "= unknown; }", 1).encode())
        done = mslrun(name, "ones", ONE)
        check(done.returncode == 1 and f"{name}:4: error: unknown name" in done.stderr, f"{name}: {done.stderr}")
    check(not os.path.exists("made"), "a file's name was run")


def check_leftovers():
    """Ended from outside while it builds or runs, it takes its files with it."""
    for seconds in (0.1, 4):
        process = subprocess.Popen([os.path.join(TOOLS, "mslrun"), "kernels.metal", "forever", "--threads", "1",
                                    "--threadgroups", "1", "--buffer", "0=zeros:uint32:1"], stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        check(process.poll() is None, f"ended within {seconds} s")
        process.send_signal(signal.SIGTERM)
        process.wait()
    time.sleep(1)
    check(os.listdir(os.environ["TMPDIR"]) == [], f"left: {os.listdir(os.environ['TMPDIR'])}")


def check_cache(build):
    """A kernel whose file in the cache is damaged is built again."""
    program = [os.path.join(build, "tests/metal_library"), "sim", "7", "add/metal_naive"]
    for damage in (None, b"", b"no library"):
        done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = glob.glob(os.path.join(os.environ["XDG_CACHE_HOME"], "tilewise/metal/add-*.so"))
        check(done.returncode == 0 and len(found) == 1, f"cache, {damage}: {done.stdout}, {found}")
        for path in found:
            write(path, damage or b"")


def main():
    clang = os.environ.get("MSL_CLANG", "clang++-19")
    runtime = shutil.which(clang) and subprocess.run(
        [clang, f"-print-file-name=libclang_rt.asan-{os.uname().machine}.so"], stdout=subprocess.PIPE, text=True).stdout
    if not runtime or not os.path.isabs(runtime):
        print(f"SKIP no {clang} with its sanitizers' runtime\n0 passed, 0 failed, 1 skipped")
        return
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, variable in (("files", "TMPDIR"), ("cache", "XDG_CACHE_HOME")):
            os.mkdir(name)
            os.environ[variable] = os.path.abspath(name)
        check_arguments()
        check_names()
        check_leftovers()
        check_cache(build)
        os.chdir("/")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
