#!/usr/bin/env python3
"""tools/metal/predict: the model's arithmetic on made-up counters, what it refuses, how it is held against a
measurement; and, where clang is there, a layer that is counted and predicted, and the study's products. Nothing here
knows a GPU."""
import copy
import json
import math
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = os.path.join(ROOT, "tools/metal")
sys.dont_write_bytecode = True
sys.path.insert(0, TOOLS)
from programs import load  # noqa: E402
from translator.flops import turns  # noqa: E402

predict = load("predict")
CHIPS, problems = predict.CHIPS, predict.problems
counts = {"passed": 0, "failed": 0, "skipped": 0}


def check(name, right, said=""):
    counts["passed" if right else "failed"] += 1
    if not right:
        print(f"FAIL {name}: {said}")


def close(a, b):
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def kernel(**values):
    """Of 4096 threadgroups of 256 threads that do nothing but what is said."""
    made = dict.fromkeys(predict.COUNTERS, 0)
    made.update(threadgroups=4096, threads=4096 * 256, threads_per_threadgroup=256)
    made.update(values)
    return made


# ---- the model ----

def bounds():
    for name, chip in CHIPS.items():
        cores, hz = chip["cores"], chip["ghz"] * 1e9
        even = 4096 / (math.ceil(4096 / cores) * cores)
        found = predict.kernel_times(kernel(flops=1e12), chip)["arithmetic"] * even
        check(f"{name}: arithmetic", close(found, 1e12 / (2 * chip["lanes"] * cores * hz)), found)
        found = predict.kernel_times(kernel(barriers=4096 * 10), chip)["barriers"] * even
        check(f"{name}: barriers", close(found, 4096 * 10 * 8 * chip["barrier_cycles"] / hz / cores), found)
        found = predict.kernel_times(kernel(threadgroup_requests=10**6, threadgroup_turns=4 * 10**6), chip)
        check(f"{name}: banks", close(found["threadgroup memory"] * even, 4e6 / hz / cores), found)
        found = predict.kernel_times(kernel(device_requests=10**6, device_lines=32 * 10**6), chip)
        check(f"{name}: scattered loads", close(found["loads"] * even, 32e6 / hz / cores), found)
        stream = kernel(device_read_bytes=1e9, device_group_read_bytes=1e9, device_unique_read_bytes=1e9,
                        device_requests=1e9 // 128, device_lines=1e9 // 128)
        found = predict.kernel_times(stream, chip)["memory"]
        check(f"{name}: memory", close(found, 1 / (chip["memory_rate"] * chip["share"])), found)
        launches = predict.design_seconds([kernel()] * 3, chip)[0]
        check(f"{name}: launches", close(launches, 3e-6 * chip["launch_us"]), launches)


def caches():
    check("nothing passes a cache twice that holds all", predict.through(100, 10, 10) == 10)
    check("all passes one that holds nothing", predict.through(100, 10, 0) == 100)
    check("half of what repeats passes one that holds half", close(predict.through(100, 10, 5), 55))
    check("no bytes", predict.through(0, 0, 5) == 0)
    chip = CHIPS["A13"]
    small = kernel(device_read_bytes=1e9, device_group_read_bytes=1e8, device_unique_read_bytes=1e5,
                   device_requests=1e7, device_lines=1e7)
    far, farther, memory = predict.traffic(small, chip)
    check("a small operand stays in L2", 1e8 <= far <= 1e9 and farther == memory == 1e5, (far, farther, memory))


def between_launches():
    chip = CHIPS["H100"]
    small, large = 10e6, 1e9
    for size, name in ((small, "small"), (large, "large")):
        writes = kernel(device_written_bytes=size, device_unique_written_bytes=size, device_requests=size / 128,
                        device_lines=size / 128)
        reads = kernel(device_read_bytes=size, device_unique_read_bytes=size, device_group_read_bytes=size,
                       device_requests=size / 128, device_lines=size / 128)
        apart = sum(predict.design_seconds([k], chip)[0] for k in (writes, reads))
        together, again = (predict.design_seconds([writes, reads], chip, again=a)[0] for a in (False, True))
        right = again < together < apart if size == small else close(apart, together) and close(apart, again)
        check(f"{name} columns between two launches", right, (again, together, apart))


def occupancy():
    chip = dict(CHIPS["A13"], threads=1024, groups=16, group_bytes=32768)
    for given, wanted in ((dict(), 4), (dict(threads_per_threadgroup=32), 16), (dict(threads_per_threadgroup=1024), 1),
                          (dict(threadgroup_memory_bytes=16384), 2), (dict(threadgroup_memory_bytes=20000), 1),
                          (dict(threads_per_threadgroup=33), 16), (dict(threads_per_threadgroup=65), 10)):
        found = predict.resident_groups(kernel(**given), chip)
        check(f"on a core with {given}", found == wanted, f"{found}, not {wanted}")
    few, many = kernel(threadgroups=1, instructions=1e6), kernel(threadgroups=4, instructions=4e6)
    check("an idle core is idle", close(*(predict.kernel_times(k, chip)["instructions"] for k in (few, many))))


def chains():
    """Of one threadgroup of four simdgroups that asks 24 times, six at once: four batches, or one of each simdgroup."""
    def waits(chip, **values):
        k = kernel(threadgroups=1, threads=128, threads_per_threadgroup=128, device_requests=24, device_lines=24,
                   device_read_bytes=24 * 128, **values)
        return predict.kernel_times(k, chip)["latency"]

    for name, chip in CHIPS.items():
        even, lone = (waits(chip, device_busiest_requests=n) for n in (6, 24))
        check(f"{name}: a lone simdgroup takes four times as long", close(lone, 4 * even) and even > 0, (even, lone))
        check(f"{name}: cached loads", close(even, 1e-9 * chip["l1_ns"]), even)
        batch = dict(device_busiest_requests=6, device_group_read_bytes=4 * 32, device_unique_read_bytes=4 * 32)
        found = waits(dict(chip, l2=0, slc=0), **batch)
        check(f"{name}: one far load a batch is waited for", close(found, 1e-9 * chip["memory_ns"]), found)
        half = waits(dict(chip, l2=0, slc=0), **{key: value // (1 if "busiest" in key else 2)
                                                  for key, value in batch.items()})
        check(f"{name}: one far load in two batches", close(half, 1e-9 * (chip["l1_ns"] + chip["memory_ns"]) / 2), half)


def monotone():
    draw = random.Random(3)
    names = ["device_group_read_bytes", "device_unique_read_bytes", "device_unique_written_bytes",
             "threadgroup_read_bytes", "threadgroup_written_bytes", "threadgroup_requests", "threadgroup_turns",
             "barriers", "flops", "instructions", "special_functions"]
    for name in names:
        wrong = []
        for _ in range(200):
            lines = draw.randrange(1, 10**8)
            k = kernel(threadgroups=draw.randrange(1, 10**5), threads_per_threadgroup=draw.randrange(1, 1025),
                       threadgroup_memory_bytes=draw.randrange(0, 32768), device_requests=max(1, lines // 3),
                       device_lines=lines, device_read_bytes=draw.randrange(1, 10**10),
                       device_written_bytes=draw.randrange(1, 10**8))
            k.update({n: draw.randrange(1, 10**9) for n in names})
            more = dict(k, **{name: 2 * k[name]})
            wrong += [c for c in CHIPS if predict.kernel_seconds(more, CHIPS[c])[0] <
                      predict.kernel_seconds(k, CHIPS[c])[0] * (1 - 1e-12)]
        check(f"more {name}, no less time", not wrong, wrong[:3])


def weights():
    for line, wanted in (("%1 = phi float [ 0.0, %2 ]", 0), ("%1 = add i32 %2, %3", 1), ("%1 = sdiv i32 %2, %3", 20),
                         ("%1 = getelementptr inbounds float, ptr %2, i64 %3, !dbg !4", 2),
                         ("%1 = getelementptr inbounds i8, ptr %2, i64 24, !dbg !4", 0),
                         ("%1 = load <4 x float>, ptr %2, align 16", 1), ("store float %1, ptr %2, align 4", 1),
                         ("%1 = fmul <4 x float> %2, %3", 4), ("%1 = mul nsw i64 %2, %3", 2),
                         ("%1 = tail call noundef float @llvm.fma.f32(float %2, float %3, float %4)", 1),
                         ("call void @__tsan_read4(ptr %1), !dbg !2", 0), ("br label %7, !dbg !8", 0),
                         ("br i1 %1, label %2, label %3", 1), ("%1 = sext i32 %2 to i64", 0)):
        check(f"turns of '{line}'", turns("  " + line) == wanted, turns("  " + line))


def chips():
    keys = set(CHIPS["M1"])
    published = {"A13": (630, 34.1), "A15": (1713, 34.1), "A17": (2147, 51.2), "M1": (2617, 68.3), "M4": (3763, 120),
                 "RTX2080": (10100, 448), "H100": (60500, 2792)}
    for name, (gflops, rate) in published.items():
        chip = CHIPS[name]
        peak = 2 * chip["lanes"] * chip["cores"] * chip["ghz"]
        check(f"{name}: its parts give its peak", abs(peak / gflops - 1) < 0.02 and chip["memory_rate"] == rate, peak)
        check(f"{name}: complete", set(chip) == keys, set(chip) ^ keys)


# ---- the program ----

def run(*arguments, **more):
    return subprocess.run([sys.executable, os.path.join(TOOLS, "predict"), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, **more)


def write(path, what):
    with open(path, "w") as file:
        file.write(what if isinstance(what, str) else json.dumps(what))
    return path


def made_up(folder, problem="linear:mb1ic10oc10bias1"):
    """A file of counters in which five designs take ever longer."""
    counted = predict.Counted(os.path.join(folder, "counters.json"), may_be_missing=True)
    for i, design in enumerate("abcde"):
        counted.add({"problem": problem, "design": design,
                     "kernels": [dict(kernel(instructions=1e9 * 2**i), source="s", kernel="k")]})
    counted.write()
    return counted.path


def refuses(name, folder, arguments, words):
    done = run(*arguments, cwd=folder)
    said = done.stderr.strip()
    check(name, done.returncode == 2 and words in said and "\n" not in said and not done.stdout,
          f"status {done.returncode}, '{said}' without '{words}'")


def refusals(folder):
    good = made_up(folder)
    results = write(os.path.join(folder, "good.json"), {"rows": []})
    refuses("no such chip", folder, ["layers", "--chip", "A99"], "A99")
    refuses("no counters", folder, ["layers", "--counters", "nowhere.json"], "nowhere.json")
    refuses("no results", folder, ["check", "nowhere.json", "--counters", good], "nowhere.json")
    refuses("check without results", folder, ["check", "--counters", good], "file of results")
    refuses("no pairs", folder, ["check", results, "--counters", good], "two designs")
    for what in ("{", "[]", '{"layers": 3}', "[" * 100000):
        path = write(os.path.join(folder, "bad.json"), what)
        refuses(f"counters {what[:20]}", folder, ["layers", "--counters", path], "bad.json")
    for what in ('{"layers": {"a": 3}}', '{"layers": {"a": {"b": 3}}}', '{"networks": {"a": 3}}',
                 '{"networks": {"lenet5 auto apple6": [1]}}'):
        path = write(os.path.join(folder, "bad.json"), what)
        refuses(f"counters {what}", folder, ["networks", "--counters", path], "expected")
    for what in ("", "[]", '{"rows": 1}', '{"rows": [1]}'):
        path = write(os.path.join(folder, "bad.json"), what)
        refuses(f"results {what}", folder, ["check", path, "--counters", good], "bad.json")
    for ms in (float("nan"), -1, 0, "1", float("inf"), True):
        row = {"problem": "linear:mb1ic10oc10bias1", "design": "a", "status": "ok", "median_ms": ms, "device_ms": None}
        path = write(os.path.join(folder, "bad.json"), {"rows": [row]})
        refuses(f"a time of {ms}", folder, ["check", path, "--counters", good], "is no time")
    lenet = problems.descriptor(*problems.LAYERS[1][1:])
    for at, value in ((4, float("nan")), (5, -1), (6, "many"), (7, None), (8, float("inf")), (9, True), (2, 0),
                      (4, 2000)):
        data = json.load(open(made_up(folder, lenet)))
        data["layers"][lenet] = {"naive": copy.deepcopy(data["layers"][lenet]["a"])}
        data["layers"][lenet]["naive"][0][at] = value
        path = write(os.path.join(folder, "bad.json"), data)
        refuses(f"counter {at} of {value}", folder, ["layers", "--counters", path], "expected")
    data["layers"][lenet]["naive"][0] = data["layers"][lenet]["naive"][0][:-1]
    refuses("a counter too few", folder, ["layers", "--counters", write(path, data)], "expected a source")


def against_measurement(folder):
    counters = made_up(folder)
    for name, order, status in (("as predicted", [1, 2, 3, 4, 5], 0), ("two pairs of ten swapped", [2, 1, 4, 3, 5], 0),
                                ("three pairs of ten swapped", [3, 2, 1, 4, 5], 1), ("reversed", [5, 4, 3, 2, 1], 1),
                                ("a tie swapped", [2.01, 2, 3, 4, 5], 0)):
        rows = [{"problem": "linear:mb1ic10oc10act1bias1", "design": d, "status": "ok", "median_ms": ms,
                 "device_ms": None} for d, ms in zip("abcde", order)]
        rows += [dict(rows[0], status="incorrect", median_ms=0), dict(rows[0], design="unknown")]
        path = write(os.path.join(folder, "results.json"), {"rows": rows})
        done = run("check", path, "--counters", counters)
        pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1:] if abs(a - b) > 0.01 * (a + b)]
        right = f"\n{sum(a < b for a, b in pairs)} of {len(pairs)} pairs in the measured order, {10 - len(pairs)} more"
        check(f"measured {name}", done.returncode == status and right in done.stdout,
              f"status {done.returncode}, '{done.stdout[-80:]}' {done.stderr}")
        again = run("check", path, "--counters", counters, "-o", "json")
        found = json.loads(again.stdout)
        check(f"measured {name}, as JSON", found["pairs"] == len(pairs) and again.returncode == status and
              len(found["layers"][0]["wrong"]) == sum(a > b for a, b in pairs), found)


def alike(a, b):
    """Equal, numbers to four digits."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-4 * abs(a)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b


def committed_results(folder):
    """What is in the tree came from this model and these counters."""
    path = os.path.join(ROOT, "results/metal_predictions.json")
    again = os.path.join(folder, "again.json")
    done = run("all", "--output", again)
    same = done.returncode == 0 and alike(json.load(open(again)), json.load(open(path)))
    check("results/metal_predictions.json is what the model says", same,
          f"{done.stderr}: tools/metal/predict all --output results/metal_predictions.json")


def layers_as_networks(build, folder):
    """The ONNX file of a layer is that layer: here the CPU runs it."""
    for name, op, sizes in problems.LAYERS:
        if "conv" not in name or sizes[0] != 1:
            continue
        path = os.path.join(folder, "layer.onnx")
        problems.write_layer(path, op, sizes)
        done = subprocess.run([os.path.join(build, "tilewise"), "profile", path, "--iterations", "1", "--duration",
                               "0.001", "--warmUp", "0", "-o", "json"], stdout=subprocess.PIPE, text=True)
        found = [row["problem"] for row in json.loads(done.stdout or '{"rows": []}')["rows"] if row["op"] == op]
        check(f"{name} as a network", found == [problems.descriptor(op, sizes)], found)


# ---- with clang ----

def counted_layer(build, folder):
    path = os.path.join(folder, "counted.json")
    name, op, sizes = problems.LAYERS[1]
    done = run("count", "--only", name, "--counters", path, "--program", os.path.join(build, "tilewise"))
    check("count ends well", done.returncode == 0, done.stderr)
    if done.returncode != 0:
        return
    shown = run("layers", "--counters", path, "-o", "json")
    rows = {row["design"]: row for row in json.loads(shown.stdout)["rows"]} if shown.returncode == 0 else {}
    check("all designs of a layer", sorted(rows) == sorted(problems.LINEAR_DESIGNS), sorted(rows))
    counted = predict.Counted(path)
    naive = counted.kernels(problems.descriptor(op, sizes), "naive")[0]
    _, inputs, outputs = sizes
    wanted = {"flops": 2 * inputs * outputs + outputs, "device_read_bytes": 4 * (2 * inputs * outputs + outputs),
              "device_unique_read_bytes": 4 * (inputs * outputs + inputs + outputs), "barriers": 0,
              "device_written_bytes": 4 * outputs}
    check("naive, by hand", {key: naive[key] for key in wanted} == wanted, naive)
    check("Apple6 has no simdgroup reductions", "A13" not in rows["gemv_simd"]["predicted_ms"] and
          "M1" in rows["gemv_simd"]["predicted_ms"], rows["gemv_simd"])
    again = run("count", "--only", name, "--counters", path, "--program", "/nowhere/tilewise")
    check("what was counted is not counted again", again.returncode == 0, again.stderr)


def studied_products():
    """Tiles without barriers are a race, the others right: x is ones, so each result is a sum of w's column."""
    m, n, k = 16, 16, 32
    given = ["--buffer", f"0=int32:{m},{n},{k}", "--buffer", "1=float32:" + ",".join(["1"] * (m * k)),
             "--buffer", f"2=iota:float32:{k * n}", "--buffer", f"3=zeros:float32:{m * n}", "--out", "3"]
    wanted = [float(sum(i * n + column for i in range(k))) for _ in range(m) for column in range(n)]
    for name, kind, _, threads, barriers in problems.PRODUCTS:
        groups = "1" if threads == (16, 16) else "2,4"
        done = subprocess.run([sys.executable, os.path.join(TOOLS, "mslrun"),
                               os.path.join(TOOLS, "predict_study.metal"), kind, "--mode", "tsan", "--threadgroups",
                               groups, "--threads", ",".join(map(str, threads)), "--constant",
                               f"BARRIERS=bool:{barriers}", *given],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if barriers:
            right = done.returncode == 0 and [float(v) for v in done.stdout.split()] == wanted
        else:
            right = done.returncode == 1 and "data race" in done.stderr
        check(name, right, done.stderr[-300:])


def counted_products():
    """16 x 16 outputs over 32 terms, by hand: steps of 16 in a threadgroup, of 8 in eight simdgroups."""
    products = 16 * 16 * 32
    for name, kind, _, threads, barriers in problems.PRODUCTS:
        groups = (1, 1) if threads == (16, 16) else (2, 4)
        found = problems.count_product(kind, groups, threads, barriers, (16, 16, 32))
        staged = {"product_naive": 0, "product_tiled": 2 * 2 * 256, "product_simdgroup": 8 * 4 * (32 + 64)}[kind]
        wanted = {"flops": 2 * products, "device_unique_read_bytes": 4 * 2 * 16 * 32, "device_written_bytes": 4 * 256,
                  "device_read_bytes": 4 * (staged or 2 * products), "threadgroup_written_bytes": 4 * staged,
                  "threadgroup_read_bytes": 4 * 2 * products if staged else 0,
                  "barriers": 4 if barriers and kind == "product_tiled" else 0}
        got = {key: found[key] for key in wanted}
        check(f"{name}, counted", got == wanted and predict.checked(found), f"{got}, not {wanted}")


def main():
    build = os.path.abspath(sys.argv[1])
    for test in (bounds, caches, between_launches, occupancy, chains, monotone, weights, chips):
        test()
    listed = subprocess.run([os.path.join(build, "tilewise"), "devices", "-o", "json"], stdout=subprocess.PIPE)
    device = next(row for row in json.loads(listed.stdout)["rows"] if row["device"] == "metal-sim")
    with tempfile.TemporaryDirectory() as folder:
        for test in (refusals, against_measurement, committed_results):
            test(folder)
        layers_as_networks(build, folder)
        refuses("a device that is not here", folder, ["measure", "--device", "metal", "--program",
                                                      os.path.join(build, "tilewise")], "metal-sim")
        if device["available"]:
            counted_layer(build, folder)
            studied_products()
            counted_products()
        else:
            counts["skipped"] += 1
            print(f"SKIP counting: {device['reason']}")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(counts["failed"] != 0)


if __name__ == "__main__":
    main()
