#!/usr/bin/env python3
"""What `tilewise profile --device metal-sim` counts, against figures worked out by hand from the kernels' sources.

    tests/metal_counters_test.py BUILD_DIR

Only Python's standard library is used. The last line is 'N passed, N failed, N skipped'.
"""
import csv
import io

from cases import Skip, as_json, case, check, equal, main, refuse, succeed

QUICK = ["--iterations", "1", "--warmUp", "0", "--duration", "0.001"]
K, FEATURES = 400, 120  # lenet5's fc1, whose image, weights and bias are float: each byte once
ONCE = 4 * (K + K * FEATURES + FEATURES)


def command(*arguments, model="lenet5"):
    return ["profile", model, "--device", "metal-sim", *QUICK, *arguments]


def profile(*arguments, model="lenet5", **keywords):
    device = next(row for row in as_json("devices")["rows"] if row["device"] == "metal-sim")
    if not device["available"]:
        raise Skip(device["reason"])
    return as_json(*command(*arguments, model=model), **keywords)["rows"]


def layer(rows, name):
    return next(row for row in rows if row["layer"] == name)


def counts(row, **wanted):
    equal({key: row["counters"][key] for key in wanted}, wanted, f"what {row['layer']} by {row['design']} counts")


@case
def naive_kernels():
    rows = profile("--design", "naive")
    # A thread an output: a row of weights, the image, a bias. Threadgroups of 256 threads.
    counts(layer(rows, "fc1"), launches=1, threadgroups=1, threads=256, device_read_bytes=FEATURES * (8 * K + 4),
           device_unique_read_bytes=ONCE, device_written_bytes=4 * FEATURES, device_unique_written_bytes=4 * FEATURES,
           flops=FEATURES * (2 * K + 1), threadgroup_read_bytes=0, threadgroup_written_bytes=0, barriers=0, atomics=0,
           simdgroup_operations=0, special_functions=0, threadgroup_memory_bytes=0, max_threadgroups_per_core=None)
    # 6 channels of 28 x 28 by 5 x 5 of one channel, no padding; then maxima of 2 x 2.
    outputs = 6 * 28 * 28
    counts(layer(rows, "conv1"), device_read_bytes=outputs * (25 * 8 + 4), flops=outputs * 51,
           device_unique_read_bytes=4 * (32 * 32 + 6 * 25 + 6), device_written_bytes=4 * outputs)
    counts(layer(rows, "pool1"), device_read_bytes=4 * outputs, device_unique_read_bytes=4 * outputs,
           device_written_bytes=outputs)


@case
def a_tiled_kernel():
    # Tiles of 32 features and 32 images, of which there is one; 16 of k a step, 64 threads with 4 x 4 sums each.
    groups, steps = 4, K // 16
    row = layer(profile("--design", "linear=tiled"), "fc1")
    counts(row, threadgroups=groups, threads=64 * groups, barriers=2 * steps * groups,
           threadgroup_memory_bytes=2 * 16 * 33 * 4, max_threadgroups_per_core=32768 // (2 * 16 * 33 * 4),
           threadgroup_written_bytes=groups * steps * 2 * 16 * 32 * 4,
           threadgroup_read_bytes=groups * steps * 64 * 16 * (4 + 4) * 4,
           device_read_bytes=4 * (K * FEATURES + groups * K + 8 * FEATURES), device_unique_read_bytes=ONCE,
           device_written_bytes=4 * FEATURES)
    products = 2 * groups * steps * 64 * 16 * 4 * 4
    check(products <= row["counters"]["flops"] <= products + groups * 64 * 16, f"{row['counters']['flops']} operations")


@case
def a_kernel_of_simdgroup_matrices():
    # 8 features a simdgroup, 15 of the 16 have some; 50 products each; the image staged 32 of k a step.
    steps = (K + 31) // 32
    counts(layer(profile("--design", "linear=simdgroup_matrix"), "fc1"), threadgroups=4, barriers=4 * 2 * steps,
           simdgroup_matrix_operations=15 * 50, threadgroup_memory_bytes=32 * 36 * 4 + 1024,
           device_read_bytes=4 * (K * FEATURES + 4 * K + 15 * 32), device_unique_read_bytes=ONCE,
           threadgroup_written_bytes=4 * steps * 32 * 32 * 4 + 16 * 256,
           threadgroup_read_bytes=15 * 50 * 256 + 4 * FEATURES, flops=15 * 50 * 1024 + FEATURES)


@case
def half_is_two_bytes():
    # The bias stays float.
    counts(layer(profile("--design", "naive", "--precision", "fp16"), "fc1"), flops=FEATURES * (2 * K + 1),
           device_read_bytes=FEATURES * (4 * K + 4), device_written_bytes=2 * FEATURES,
           device_unique_read_bytes=2 * (K + K * FEATURES) + 4 * FEATURES)


@case
def batches_and_families():
    # On apple6 no simdgroup operations; of a batch of three each image writes as much as one.
    one, three = profile("--family", "apple6"), profile("--family", "apple6", "--batch", "3")
    for a, b in zip(one, three):
        equal(b["counters"]["device_unique_written_bytes"], 3 * a["counters"]["device_unique_written_bytes"],
              f"bytes written by {a['layer']}")
    equal(sum(row["counters"]["simdgroup_operations"] for row in one), 0, "simdgroup operations on apple6")


@case
def counting_repeats():
    # tiled's first thread of each worker takes threadgroup memory.
    tiled = ("--design", "linear=tiled")
    wanted = [row["counters"] for row in profile(*tiled, "--threads", "1")]
    equal([row["counters"] for row in profile(*tiled, "--threads", "3")], wanted, "counters on three threads")
    equal([row["counters"] for row in profile(*tiled, env={"TILEWISE_METAL_SEED": "5"})], wanted, "in a random schedule")


@case
def sums_and_launches():
    # winograd is three launches.
    rows = profile("--image-size", "64", "--design", "conv2d=winograd", "--fallback", "auto", model="squeezenet1_1")
    equal({row["counters"]["launches"] for row in rows if row["design"] == "winograd"}, {3}, "launches of winograd")
    *layers, whole = rows
    check(whole["layer"] is None and "kernels" not in whole, "the last row is not the whole run's")
    for row in layers:
        kernels, sums = row["kernels"], row["counters"]
        equal(sums["launches"], len(kernels), f"launches of {row['layer']}")
        equal(sums["flops"], sum(kernel["flops"] for kernel in kernels), f"operations of {row['layer']}")
        equal(sums["threadgroup_memory_bytes"], max(kernel["threadgroup_memory_bytes"] for kernel in kernels), "memory")
        check(all(kernel["kernel"] and kernel["source"] for kernel in kernels), f"{row['layer']} without a name")
    for key in ("launches", "threads", "device_read_bytes", "flops", "barriers", "instructions"):
        equal(whole["counters"][key], sum(row["counters"][key] for row in layers), key)
    for row in rows:
        c = row["counters"]
        check(c["device_unique_read_bytes"] <= c["device_group_read_bytes"] <= c["device_read_bytes"],
              f"bytes read by {row['layer']}: {c}")


@case
def tables_and_csv():
    rows = profile("--design", "linear=tiled")
    table = succeed(*command("--design", "linear=tiled")).split("\ncounted\n")[1]
    line = next(line for line in table.splitlines() if line.startswith("fc1"))
    for text in ("tiled", "197.5 KiB", "189.5 KiB", "400.0 KiB", "3.1 MiB", " 200 ", "4.1 KiB"):
        check(text in line, f"no {text!r} in {line!r}")
    text = succeed(*command("--design", "linear=tiled", "-o", "csv"))
    table = {row["layer"]: row for row in csv.DictReader(io.StringIO(text))}
    for row in rows:
        for key, value in row["counters"].items():
            equal(table[row["layer"] or ""]["counters." + key], "" if value is None else str(value), f"{key} in CSV")


@case
def only_where_they_can_be_counted():
    rows = as_json("profile", "lenet5", *QUICK)["rows"]
    check(not any("counters" in row or "kernels" in row for row in rows), "counters of the CPU")
    check("counted" not in succeed("profile", "lenet5", *QUICK), "a table of counters of the CPU")
    refuse(2, "apple11", *command("--family", "apple11"))
    refuse(2, "--family: only --device metal-sim", "profile", "lenet5", "--family", "apple6")


main()
