#!/usr/bin/env python3
"""Correct Metal kernels give what they must, in every mode and in random schedules, and no check complains.

tests/metal/features.metal says in comments what its kernels give; the kernels of tests/metal/*_like.metal, in the
manner of other projects, are compared with Python here. What the kind count counts is compared with sums by hand.
"""
import concurrent.futures
import ctypes
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(HERE), "tools/metal")
MODES = ("plain", "asan", "tsan")
SEEDS = (0, 1, 2)
sys.dont_write_bytecode = True
sys.path.insert(0, TOOLS)
from programs import load  # noqa: E402


# ---- what the kernels in the manner of others must give: functions of the buffers before ----

def row_sums(b):
    n = int(b[2][0])
    return [sum(b[0][i:i + n]) for i in range(0, len(b[0]), n)]


def row_maxima(b):
    n = int(b[2][0])
    return [max(b[0][i:i + n]) for i in range(0, len(b[0]), n)]


def log_add_exp(b):
    return [max(x, y) + math.log(1 + math.exp(-abs(x - y))) for x, y in zip(b[0], b[1])]


def softmax(b):
    n, result = int(b[2][0]), []
    for i in range(0, len(b[0]), n):
        powers = [math.exp(x) for x in b[0][i:i + n]]
        result += [p / sum(powers) for p in powers]
    return result


def matrix_product(a, b, m, n, k):
    return [sum(a[i * k + p] * b[p * n + j] for p in range(k)) for i in range(m) for j in range(n)]


def rms_norm(b, n=256, eps=0.5):
    result = []
    for i in range(0, len(b[0]), n):
        row = b[0][i:i + n]
        scale = 1 / math.sqrt(sum(x * x for x in row) / n + eps)
        result += [x * scale for x in row]
    return result


def quantised_rows(b):
    """Rows of 64: two blocks of a scale of 1 and 32 times four bits; the low ones are the first half."""
    raw, y, result = b[0], b[1], []
    for row in range(0, len(raw), 36):
        total = 0.0
        for block in range(2):
            bytes_ = raw[row + block * 18 + 2:row + block * 18 + 18]
            values = [v % 16 - 8 for v in bytes_] + [v // 16 - 8 for v in bytes_]
            total += sum(q * x for q, x in zip(values, y[block * 32:]))
        result.append(total)
    return result


def gelu(b):
    return [0.5 * x * (1 + math.tanh(0.7978845608 * x * (1 + 0.044715 * x * x))) for x in b[0]]


def attraction(b):
    """One step of three particles of 8 floats: place, mass, speed."""
    bodies = [b[1][i:i + 8] for i in range(0, len(b[1]), 8)]
    result = []
    for i, one in enumerate(bodies):
        force = [0.0] * 3
        for j, other in enumerate(bodies):
            away = [other[k] - one[k] for k in range(3)]
            square = sum(d * d for d in away) + 0.01
            force = [f + (away[k] * other[3] / square ** 1.5 if i != j else 0) for k, f in enumerate(force)]
        speed = [one[4 + k] + force[k] * 0.5 for k in range(3)]
        result += [one[k] + speed[k] * 0.5 for k in range(3)] + [one[3]] + speed + [None]  # a gap: anything
    return result


def pooled(b, width=8, height=4):
    result = []
    for y in range(0, height, 2):
        for x in range(0, width, 2):
            for c in range(4):
                result.append(max(b[0][((y + dy) * width + x + dx) * 4 + c] for dy in (0, 1) for dx in (0, 1)))
    return result


def resized(b, w=4, h=4, to=8):
    result = []
    for y in range(to):
        for x in range(to):
            fx, fy = (x + 0.5) * w / to - 0.5, (y + 0.5) * h / to - 0.5
            lx, ly = min(max(math.floor(fx), 0), w - 1), min(max(math.floor(fy), 0), h - 1)
            hx, hy = min(lx + 1, w - 1), min(ly + 1, h - 1)
            px, py = min(max(fx - lx, 0), 1), min(max(fy - ly, 0), 1)
            for c in range(4):  # .bgra.zyxw of a vector is the vector
                corners = [[b[0][(yy * w + xx) * 4 + c] for xx in (lx, hx)] for yy in (ly, hy)]
                top, bottom = (left + (right - left) * px for left, right in corners)
                result.append(top + (bottom - top) * py)
    return result


def convolved(b, w=5, h=4, planes=2, size=2):
    """b[0]: planes of w x h x 4; b[2]: out x planes x 2 x 2 matrices of 4 x 4 by columns; activation: slope 0.5."""
    result, outw, outh = [], w - size + 1, h - size + 1
    for o in range(3):
        for y in range(outh):
            for x in range(outw):
                sums = [b[3][o * 4 + c] for c in range(4)]
                for q in range(planes):
                    for ky in range(size):
                        for kx in range(size):
                            v = b[0][((q * h + y + ky) * w + x + kx) * 4:][:4]
                            k = b[2][(((o * planes + q) * size + ky) * size + kx) * 16:][:16]
                            sums = [s + sum(v[i] * k[c * 4 + i] for i in range(4)) for c, s in enumerate(sums)]
                result += [s if s > 0 else s * 0.5 for s in sums]
    return result


# (file, kernel, mslrun's arguments, what buffer N holds then, N)
OTHERS = [
    ("mlx_like", "add_float32", "--threads 32 --threadgroups 2 --buffer 0=random:float32:50:1 --buffer "
     "1=random:float32:50:2 --buffer 2=zeros:float32:50 --buffer 3=uint32:50",
     lambda b: [x + y for x, y in zip(b[0], b[1])], 2),
    ("mlx_like", "add_float16", "--threads 32 --threadgroups 2 --buffer 0=iota:float16:50 --buffer 1=iota:float16:50 "
     "--buffer 2=zeros:float16:50 --buffer 3=uint32:50", lambda b: [x + y for x, y in zip(b[0], b[1])], 2),
    ("mlx_like", "maximum_int32", "--threads 32 --threadgroups 2 --buffer 0=iota:int32:50 --buffer 1=random:int32:50 "
     "--buffer 2=zeros:int32:50 --buffer 3=uint32:50", lambda b: [max(x, y) for x, y in zip(b[0], b[1])], 2),
    ("mlx_like", "logaddexp_float32", "--threads 32 --threadgroups 2 --buffer 0=random:float32:50:1 --buffer "
     "1=random:float32:50:2 --buffer 2=zeros:float32:50 --buffer 3=uint32:50", log_add_exp, 2),
    ("mlx_like", "row_reduce_sum_float32", "--threads 128 --threadgroups 3 --buffer 0=random:float32:3000 --buffer "
     "1=zeros:float32:3 --buffer 2=uint32:1000", row_sums, 1),
    ("mlx_like", "row_reduce_sum_float16", "--threads 64 --threadgroups 2 --buffer 0=iota:float16:200 --buffer "
     "1=zeros:float32:2 --buffer 2=uint32:100", row_sums, 1),
    ("mlx_like", "row_reduce_max_float32", "--threads 96 --threadgroups 3 --buffer 0=random:float32:300 --buffer "
     "1=zeros:float32:3 --buffer 2=uint32:100", row_maxima, 1),
    ("mlx_like", "copy_strided_float32", "--threads 4,3,2 --threadgroups 1 --buffer 0=iota:float32:24 --buffer "
     "1=zeros:float32:24 --buffer 2=uint64:1,2,6",  # a transposition of 2 x 3 x 4
     lambda b: [b[0][z + 2 * y + 6 * x] for z in range(2) for y in range(3) for x in range(4)], 1),
    ("mlx_like", "softmax_float32", "--threads 32 --threadgroups 3 --buffer 0=random:float32:300 --buffer "
     "1=zeros:float32:300 --buffer 2=int32:100", softmax, 1),
    ("ggml_like", "rms_norm", "--threads 64 --threadgroups 2 --buffer 0=random:float32:512 --buffer "
     "1=zeros:float32:512 --buffer 2=int32:256,2,1024,0,1056964608,0 --threadgroup 0=128", rms_norm, 1),
    ("ggml_like", "mul_mv_q4_f32", "--threads 32 --threadgroups 3 --buffer 0=Q4 --buffer 1=random:float32:64 --buffer "
     "2=zeros:float32:3 --buffer 3=int32:64,3,0,0,0,0 --constant has_bias=bool:0", quantised_rows, 2),
    ("ggml_like", "mul_mv_f16_4", "--threads 32 --threadgroups 4 --buffer 0=random:float16:512 --buffer "
     "1=random:float32:128 --buffer 2=zeros:float32:4 --buffer 3=int32:128",
     lambda b: matrix_product(b[0], b[1], 4, 1, 128), 2),
    ("ggml_like", "gelu", "--threads 32 --threadgroups 2 --buffer 0=random:float32:64 --buffer 1=zeros:float32:64",
     gelu, 1),
    ("ggml_like", "argsort", "--threads 32 --threadgroups 1,2 --buffer 0=random:float32:50 --buffer 1=zeros:int32:50 "
     "--buffer 2=int64:25 --buffer 3=int64:32 --threadgroup 0=128",
     lambda b: [i for r in range(2) for i in sorted(range(25), key=lambda i: b[0][r * 25 + i])], 1),
    ("apple_like", "add_arrays", "--threads 32 --threadgroups 2 --buffer 0=random:float32:64:1 --buffer "
     "1=random:float32:64:2 --buffer 2=zeros:float32:64", lambda b: [x + y for x, y in zip(b[0], b[1])], 2),
    ("apple_like", "step_particles", "--threads 4 --threadgroups 1 --buffer 0=zeros:float32:24 --buffer "
     "1=float32:0,0,0,1,0,0,0,0,1,2,3,2,0,1,0,0,-1,0,2,1,1,0,0,0 --buffer 2=uint32:1056964608,3", attraction, 0),
    ("apple_like", "reduce", "--threads 64 --threadgroups 3 --buffer 0=iota:float32:150 --buffer 1=zeros:float32:1 "
     "--buffer 2=uint32:150 --threadgroup 0=256", lambda b: [sum(b[0])], 1),
    ("apple_like", "histogram", "--threads 8,8 --threadgroups 2,1 --buffer 0=GREY --buffer "
     "1=zeros:uint32:16", lambda b: [8] * 16, 1),
    ("apple_like", "gemm", "--threads 32 --threadgroups 2,3 --buffer 0=random:float32:1152:1 --buffer "
     "1=random:float32:768:2 --buffer 2=zeros:float32:1536 --buffer 3=uint32:48,32,24,0",
     lambda b: matrix_product(b[0], b[1], 48, 32, 24), 2),
    ("apple_like", "tiled_gemm_f32", "--threads 8,8 --threadgroups 3,3 --buffer 0=random:float32:361:1 --buffer "
     "1=random:float32:361:2 --buffer 2=zeros:float32:361 --buffer 3=uint32:19",
     lambda b: matrix_product(b[0], b[1], 19, 19, 19), 2),
    ("apple_like", "tiled_gemm_f16", "--threads 8,8 --threadgroups 3,3 --buffer 0=random:float16:361:1 --buffer "
     "1=random:float16:361:2 --buffer 2=zeros:float16:361 --buffer 3=uint32:19",
     lambda b: matrix_product(b[0], b[1], 19, 19, 19), 2),
    ("ncnn_like", "convolution_pack4", "--threads 4,4,2 --threadgroups 1,1,2 --buffer 0=random:float16:160 --buffer "
     "1=zeros:float16:144 --buffer 2=random:float16:384:1 --buffer 3=random:float32:12:2 --buffer 4=int32:5,4,2,4,3,3 "
     "--constant kernel_w=int32:2 --constant stride_w=int32:1 --constant use_bias=bool:1 --constant slope=float32:0.5",
     convolved, 1),
    ("ncnn_like", "resize", "--threads 8,4 --threadgroups 1,2 --buffer 0=random:float32:64 --buffer "
     "1=zeros:float32:256 --buffer 2=int32:4,4,8,8", resized, 1),
    ("ncnn_like", "pool_max", "--threads 4,2,1 --threadgroups 1 --buffer 0=random:float16:128 --buffer "
     "1=zeros:float16:32 --buffer 2=uint32:8,4", pooled, 1),
]


# (file, kernel, mslrun's arguments, counters of the kind count): worked out by hand.
COUNTS = [
    ("apple_like", "gemm", "--threads 32 --threadgroups 2,3 --buffer 0=random:float32:1152:1 --buffer "
     "1=random:float32:768:2 --buffer 2=zeros:float32:1536 --buffer 3=uint32:48,32,24,0",
     {"flops": 2 * 48 * 32 * 24, "simdgroup_matrix_products": 6 * 3 * 4, "device_read_bytes": 6 * 3 * 4 * 256,
      "device_unique_read_bytes": 4 * (48 * 24 + 24 * 32), "device_group_read_bytes": 6 * 3 * 4 * 256,
      "device_written_bytes": 4 * 48 * 32, "threadgroup_bytes": 0}),
    ("apple_like", "tiled_gemm_f32", "--threads 8,8 --threadgroups 2,2 --buffer 0=random:float32:256:1 --buffer "
     "1=random:float32:256:2 --buffer 2=zeros:float32:256 --buffer 3=uint32:16",
     {"flops": 2 * 16 ** 3, "barriers": 4 * 4, "device_read_bytes": 2 * 2 * 256 * 4, "threadgroup_bytes": 2 * 8 * 9 * 4,
      "device_unique_read_bytes": 2 * 256 * 4, "device_unique_written_bytes": 256 * 4,
      "device_requests": 8 * 5, "device_lines": 8 * 5 * 2, "device_busiest_requests": 4 * 5, "threadgroup_requests": 8 * (4 + 32),
      "threadgroup_turns": 8 * (4 * 2 + 32),
      "threadgroup_read_bytes": 2 * 16 ** 3 * 4, "threadgroup_written_bytes": 2 * 2 * 256 * 4}),
    ("apple_like", "tiled_gemm_f16", "--threads 8,8 --threadgroups 2,2 --buffer 0=random:float16:256:1 --buffer "
     "1=random:float16:256:2 --buffer 2=zeros:float16:256 --buffer 3=uint32:16",
     {"flops": 2 * 16 ** 3, "device_read_bytes": 2 * 2 * 256 * 2, "device_unique_written_bytes": 256 * 2}),
    ("apple_like", "reduce", "--threads 64 --threadgroups 3 --buffer 0=iota:float32:150 --buffer 1=zeros:float32:1 "
     "--buffer 2=uint32:150 --threadgroup 0=256",
     {"flops": 3 * 63 + 3, "atomics": 3, "barriers": 3 * 7, "threadgroup_read_bytes": 3 * (2 * 63 + 1) * 4,
      "threadgroup_written_bytes": 3 * (64 + 63) * 4, "device_read_bytes": 150 * 4 + 3 * 4}),
    ("mlx_like", "softmax_float32", "--threads 32 --threadgroups 3 --buffer 0=random:float32:300 --buffer "
     "1=zeros:float32:300 --buffer 2=int32:100",
     {"special_functions": 3 * 128, "simdgroup_operations": 3 * 2, "device_read_bytes": 300 * 4,
      "flops": 96 * (4 + 3 + 1) + 300,
      "device_requests": 3 * 2, "device_lines": 3 * 2 * 4, "device_busiest_requests": 3 * 2, "threadgroup_requests": 0}),
]


def check_counts(folder, mslrun):
    """(checks passed, what failed) of the kernels in COUNTS."""
    good, bad, libraries = 0, [], {}
    for name, kernel, arguments, wanted in COUNTS:
        path = os.path.join(HERE, f"metal/{name}.metal")
        if name not in libraries:
            libraries[name] = os.path.join(folder, f"{name}-count.so")
            subprocess.run([os.path.join(TOOLS, "build"), "count", path, "-o", libraries[name]], check=True)
        given = mslrun.options([path, kernel, *arguments.split()])
        status, message, _, counters = mslrun.run_kernel(given, libraries[name])
        got = {counter: getattr(counters, counter) for counter in wanted}
        if status == 0 and got == wanted:
            good += 1
        else:
            bad.append(f"{kernel}: {message} {got}, not {wanted}")
    return good, bad


def q4_blocks():
    """Blocks with a scale of 1, which is 0x3c00 in half, and 16 bytes."""
    return "uint8:" + ",".join(str(v) for k in range(6) for v in [0, 60] + [(i * 7 + k * 13) % 256 for i in range(16)])


def grey_pixels():
    return "uint8:" + ",".join(str(v) for i in range(128) for v in (2 * i, 2 * i, 2 * i, 255))


class Case:
    """What a kernel is given, and a function of the buffers before of what the one with this number holds after."""

    def __init__(self, kernel, arguments, gives, number):
        self.kernel, self.gives, self.number = kernel, gives, number
        self.arguments = arguments.replace("0=Q4", "0=" + q4_blocks()).replace("0=GREY", "0=" + grey_pixels()).split()


def cases_of(name):
    if name != "features":
        return [Case(k, arguments, gives, number) for file, k, arguments, gives, number in OTHERS if file == name]
    cases, kernel, run, gives = [], None, None, None
    with open(os.path.join(HERE, "metal/features.metal")) as file:
        for line in file:
            kernel = line[7:].strip() if line.startswith("// as: ") else kernel
            run = line[8:] if line.startswith("// run: ") else run
            if line.startswith(("// gives: ", "// and: ")):
                gives = (gives or []) + [float(v) for v in line.split()[2:]]
            defined = re.search(r"\b(?:kernel )?void (\w+)\(|^template.*kernel void (\w+)<", line)
            if defined and run and ("kernel" in line):
                cases.append(Case(kernel or defined.group(1), run, lambda b, values=gives: values, 0))
                kernel = run = gives = None
    return cases


def values_of(mslrun, buffer):
    kind, _, memory, size = buffer
    letter = mslrun.TYPES[kind][0]
    return list(struct.unpack(f"<{size // struct.calcsize(letter)}{letter}", ctypes.string_at(memory, size)))


def differs(kind, wanted, got):
    tolerance = 4e-3 if kind == "float16" else 2e-5
    scale = max([abs(w) for w in wanted if w is not None] + [1.0])
    for i, w in enumerate(wanted):
        if w is not None and not abs(got[i] - w) <= tolerance * scale:  # not: a NaN differs
            return f"[{i}] is {got[i]}, not {w}"
    return None


def run_case(mslrun, case, path, library, mode, seed):
    """None, or what is wrong."""
    given = mslrun.options([path, case.kernel, "--mode", mode, "--seed", str(seed), "--poison", *case.arguments])
    before = {}
    for text in given.buffer:
        number, rest = mslrun.numbered(text, "--buffer")
        kind, _, data = mslrun.generated(rest)
        letter = mslrun.TYPES[kind][0]
        before[number] = list(struct.unpack(f"<{len(data) // struct.calcsize(letter)}{letter}", data))
    status, message, buffers, _ = mslrun.run_kernel(given, library)
    if status != 0:
        return message
    return differs(buffers[case.number][0], case.gives(before), values_of(mslrun, buffers[case.number]))


def run_file(name, library, mode):
    """In a process of its own, with the sanitizer's runtime: a line for each case."""
    mslrun = load("mslrun")
    path = os.path.join(HERE, f"metal/{name}.metal")
    for case in cases_of(name):
        print(f"{case.kernel}:", end="", flush=True)
        wrong = [w for w in (run_case(mslrun, case, path, library, mode, seed) for seed in SEEDS) if w]
        print(f" {wrong[0]}" if wrong else " ok", flush=True)


def check_file(name, mode, folder, mslrun):
    """(passed, what failed)."""
    library = os.path.join(folder, f"{name}-{mode}.so")
    path = os.path.join(HERE, f"metal/{name}.metal")
    built = subprocess.run([os.path.join(TOOLS, "build"), mode, "--family", "apple8", path, "-o", library],
                           stderr=subprocess.PIPE, text=True)
    if built.returncode != 0:
        return 0, [f"build: {built.stderr[:2000]}"]
    environment = dict(os.environ) if mode == "plain" else mslrun.sanitizer_environment(mode)
    done = subprocess.run([sys.executable, os.path.abspath(__file__), "--run", name, library, mode], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    good = [line for line in lines if line.endswith(": ok")]
    bad = [line for line in lines if not line.endswith(": ok")]
    if done.returncode != 0 or len(lines) != len(cases_of(name)):
        bad.append(f"exit status {done.returncode}: {done.stderr[:2000]}")
    return len(good), bad


def check_document():
    """(rows, what failed): each row of the table in docs/metal.md names kernels that run, and no kernel lacks a row."""
    with open(os.path.join(os.path.dirname(HERE), "docs/metal.md")) as file:
        rows = re.findall(r"^\| .* \| ((?:`\w+`(?:, )?)+) \|$", file.read(), re.M)
    named = set(re.findall(r"\w+", " ".join(rows)))
    run = {case.kernel for case in cases_of("features")}
    return len(rows), [f"{kernel}: in one of docs/metal.md and features.metal" for kernel in sorted(named ^ run)]


def main():
    if sys.argv[1:2] == ["--run"]:
        run_file(*sys.argv[2:])
        return
    mslrun = load("mslrun")
    clang = os.environ.get("MSL_CLANG", "clang++-19")
    if not shutil.which(clang) or not os.path.isabs(mslrun.sanitizer_environment("asan")["LD_PRELOAD"]):
        print(f"SKIP no {clang} with its sanitizers' runtime\n0 passed, 0 failed, 1 skipped")
        return
    names = ["features"] + sorted({file for file, *_ in OTHERS})
    jobs = [(name, mode) for name in names for mode in MODES]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.submit(check_counts, folder, mslrun)
        results = [*pool.map(lambda job: check_file(*job, folder, mslrun), jobs), counts.result(), check_document()]
        jobs += [("counts", "count"), ("subset", "document")]
        for (name, mode), (good, bad) in zip(jobs, results):
            passed, failed = passed + good, failed + len(bad)
            for line in bad:
                print(f"FAIL {name} {mode} {line}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
