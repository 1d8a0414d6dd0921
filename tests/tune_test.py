#!/usr/bin/env python3
"""tilewise tune: it writes a cache, plans choose by it, and a cache that is damaged, another's or not writable is said.
Times are not checked: what a plan must take is written into the cache by hand.

    tests/tune_test.py BUILD_DIR

The last line is 'N passed, N failed, N skipped'.
"""
import fcntl
import json
import os
import re
import stat
import subprocess

from cases import TILEWISE, TIMEOUT, Skip, as_json, case, check, equal, main, path, refuse, run, succeed

QUICK = ["--threads", 1, "--iterations", 1, "--warmUp", 0, "--duration", 0.01]
CACHES = iter(range(1000))


class Cache:
    """A cache folder of its own, and lenet5's file in it."""

    def __init__(self):
        self.home = path(f"cache{next(CACHES)}")
        self.env = {"XDG_CACHE_HOME": self.home}
        self.folder = os.path.join(self.home, "tilewise")

    def tune(self, *arguments):
        result = run("tune", "lenet5", *QUICK, "-o", "json", *arguments, env=self.env)
        equal(result.returncode, 0, f"exit status ({result.stderr.decode().strip()})")
        return json.loads(result.stdout), result.stderr.decode()

    @property
    def file(self):
        names = os.listdir(self.folder)
        equal(len(names), 1, f"number of files: {names}")
        return os.path.join(self.folder, names[0])

    @property
    def lines(self):
        with open(self.file, encoding="utf-8") as file:
            return file.read().splitlines()

    def write(self, lines):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def keep(self, *measurements):
        """The head of the file with just these lines."""
        head = [line for line in self.lines if not re.match(r"\d|end", line)]
        self.write([*head, *measurements, f"end {len(measurements)}"])


def inspect(cache, *arguments):
    return {row["layer"]: row for row in as_json("inspect", "lenet5", "--threads", 1, *arguments, env=cache.env)["rows"]
            if row["op"] != "reorder"}


def prefer_naive(cache):
    """conv2 by naive, whatever it takes; returns its row as it was."""
    cache.tune()
    row = inspect(cache, "--no-tune")["conv2"]
    check(row["design"] != "naive", "naive is predicted to be best")
    cache.keep(f"1234 {row['problem']} naive float32 plain float32 plain")
    return row


@case
def tune_writes_what_plans_take():
    cache = Cache()
    result, messages = cache.tune()
    rows = result["rows"]
    equal([row["layer"] for row in rows], ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3", None], "layers")
    for row in rows:
        check(row["before_ms"] > 0 and row["after_ms"] > 0, f"times of {row['layer']}")
        equal((row["device"], row["model"], row["batch"], row["precision"], row["threads"]),
              ("cpu", "lenet5", 1, "fp32", 1), "what the row is of")
    check(f"wrote {cache.file}" in messages, f"messages {messages!r}")
    check(re.search(r"\d+ problems, \d+ measurements in \d+ trials", messages), f"messages {messages!r}")
    equal(os.path.basename(cache.file).split("-")[:2], ["tune", "cpu"], "the file's name")
    equal(cache.lines[0], "tilewise tuning 1", "the first line")
    equal(cache.lines[-1], f"end {len(cache.lines) - 8}", "the last line")
    layers = inspect(cache)
    equal({name: row["design"] for name, row in layers.items()},
          {row["layer"]: row["design"] for row in rows if row["layer"]}, "designs")
    check(all(row["tuned_ms"] > 0 for row in layers.values()), "layers without a measurement")


@case
def the_plan_takes_what_was_measured():
    cache = Cache()
    before = prefer_naive(cache)
    after = inspect(cache)
    equal((after["conv2"]["design"], after["conv2"]["tuned_ms"]), ("naive", 0.001234), "conv2")
    equal(after["fc1"]["tuned_ms"], None, "the time of a layer that was not measured")
    ignored = inspect(cache, "--no-tune")["conv2"]
    equal((ignored["design"], ignored["tuned_ms"]), (before["design"], None), "conv2 with --no-tune")
    named = inspect(cache, "--design", "conv2d=im2col_gemm")["conv2"]
    equal((named["design"], named["tuned_ms"]), ("im2col_gemm", None), "conv2 with --design")
    fallback = inspect(cache, "--design", "conv2d=depthwise", "--fallback", "auto")["conv2"]
    equal(fallback["design"], "naive", "conv2 where --design refuses and auto is the fallback")
    other = inspect(cache, "--batch", 2)["conv2"]
    equal(other["tuned_ms"], None, "the time of another batch")
    other = as_json("inspect", "lenet5", "--threads", 2, env=cache.env)["rows"]
    check(all(row["tuned_ms"] is None for row in other), "another number of threads takes it")


@case
def commands_say_that_they_take_it():
    cache = Cache()
    prefer_naive(cache)
    note = "tilewise: lenet5: 1 of "
    quick = ["--threads", 1, "--iterations", 1, "--warmUp", 0, "--duration", 0.01]
    for command in ["inspect", "profile", "bench"]:
        arguments = [command, "lenet5", *(["--threads", 1] if command == "inspect" else quick)]
        check(note in run(*arguments, env=cache.env).stderr.decode(), f"{command} says nothing")
        check(note not in run(*arguments, "--no-tune", env=cache.env).stderr.decode(), f"{command} --no-tune")
    rows = as_json("profile", "lenet5", *quick, env=cache.env)["rows"]
    equal([(row["design"], row["tuned_ms"]) for row in rows if row["layer"] == "conv2"], [("naive", 0.001234)], "profile")
    for command in ["verify"]:
        check(note in run(command, "lenet5", "--threads", 1, env=cache.env).stderr.decode(), f"{command} says nothing")


@case
def problems_of_others_stay():
    cache = Cache()
    prefer_naive(cache)
    kept = "77 linear:mb1ic7oc7bias1 naive float32 plain float32 plain"
    cache.keep(kept, cache.lines[-2])
    cache.tune()
    check(kept in cache.lines, "another network's problem went away")
    check(not any(line.startswith("1234 ") for line in cache.lines), "an old measurement stayed")


@case
def tunes_that_end_together_keep_what_both_found():
    cache = Cache()
    prefer_naive(cache)
    kept = "77 linear:mb1ic7oc7bias1 naive float32 plain float32 plain"
    folder = os.open(cache.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as another tune, about to write
    with subprocess.Popen([TILEWISE, "tune", "lenet5", *map(str, QUICK)], env=dict(os.environ, **cache.env),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            pass
        cache.keep(kept)
        os.close(folder)
        equal(process.wait(TIMEOUT), 0, "exit status")
    check(kept in cache.lines, "what the other wrote meanwhile went away")
    check(any("conv2d" in line for line in cache.lines), "what it found itself went away")


@case
def a_bad_cache_is_said_and_ignored():
    cache = Cache()
    before = prefer_naive(cache)
    good = cache.lines
    bad = [
        (["nonsense"], "not a tuning"),
        ([], "not a whole one"),
        (good[:-1], "its last line is missing"),
        ([line.replace(" naive ", " magic ") for line in good], "unknown operator or design"),
        ([re.sub(r"^version .*", "version 0.0.1", line) for line in good], 'another "version 0.0.1"'),
        ([re.sub(r"^features .*", "features abacus", line) for line in good], 'another "features abacus"'),
        ([*good, "more"], "something follows"),
    ]
    for lines, message in bad:
        cache.write(lines)
        result = run("inspect", "lenet5", "--threads", 1, "-o", "json", env=cache.env)
        equal(result.returncode, 0, f"exit status with {message}")
        notes = result.stderr.decode().splitlines()
        equal(len(notes), 1, f"lines {notes}")
        check(message in notes[0] and "ignored" in notes[0] and cache.file in notes[0], f"{notes[0]!r} has no {message}")
        designs = [row["design"] for row in json.loads(result.stdout)["rows"] if row["layer"] == "conv2"]
        equal(designs[-1], before["design"], "the design of conv2")
        equal(run("inspect", "lenet5", "--threads", 1, "--no-tune", env=cache.env).stderr, b"", "with --no-tune")
    _, messages = cache.tune()
    check("it is written anew" in messages, f"messages {messages!r}")
    equal(run("inspect", "lenet5", "--threads", 1, "-o", "json", env=cache.env).returncode, 0, "afterwards")
    check(all(row["tuned_ms"] > 0 for row in inspect(cache).values()), "layers without a measurement")


@case
def a_large_cache_in_any_order_is_read_at_once():
    cache = Cache()
    row = prefer_naive(cache)
    others = [f"5 linear:mb1ic{i}oc7bias1 naive float32 plain float32 plain" for i in range(200000, 0, -1)]
    cache.keep(*others, f"1234 {row['problem']} naive float32 plain float32 plain")
    check(os.path.getsize(cache.file) < 16 << 20, "the file is too large to be read")
    result = run("inspect", "lenet5", "--threads", 1, env=cache.env, timeout=10)
    check(b"1 of " in result.stderr, f"messages {result.stderr!r}")


@case
def a_folder_that_cannot_be_written_is_refused_first():
    cache = Cache()
    with open(cache.home, "w", encoding="utf-8"):
        pass  # a file where a folder is expected, which stops root too
    refuse(2, "cannot be written", "tune", "lenet5", *QUICK, env=cache.env)
    os.remove(cache.home)
    refuse(2, "no folder for the cache", "tune", "lenet5", *QUICK, env={"XDG_CACHE_HOME": "", "HOME": ""})
    equal(run("inspect", "lenet5", env={"XDG_CACHE_HOME": "", "HOME": ""}).returncode, 0, "without a home")


@case
def a_read_only_folder_is_refused_and_still_read():
    if os.geteuid() == 0:
        raise Skip("root writes everywhere")
    cache = Cache()
    prefer_naive(cache)
    os.chmod(cache.folder, stat.S_IRUSR | stat.S_IXUSR)
    try:
        refuse(2, "cannot be written", "tune", "lenet5", *QUICK, env=cache.env)
        equal(inspect(cache)["conv2"]["design"], "naive", "conv2")
    finally:
        os.chmod(cache.folder, stat.S_IRWXU)


@case
def nothing_else_is_left():
    cache = Cache()
    cache.tune()
    cache.tune("--batch", 2)
    equal(len(os.listdir(cache.folder)), 1, "files of one device, threads and precision")
    check(any("mb1ic1ih32" in line for line in cache.lines), "batch 1 went away")
    check(any("mb2ic1ih32" in line for line in cache.lines), "batch 2 is not there")
    run("tune", "lenet5", *QUICK[2:], "--threads", 2, env=cache.env)
    equal(len(os.listdir(cache.folder)), 2, "files of two numbers of threads")
    equal([name for name in os.listdir(cache.folder) if "tmp" in name], [], "temporary files")


@case
def bad_usage_is_refused():
    env = {"XDG_CACHE_HOME": path("nowhere")}
    refuse(2, "something is missing", "tune", env=env)
    refuse(2, "unknown network", "tune", "lenet6", env=env)
    refuse(2, 'unknown option "--design"', "tune", "lenet5", "--design", "naive", env=env)
    refuse(2, "2 values, but tune takes one", "tune", "lenet5", "--threads", "1,2", env=env)
    refuse(2, "takes no value", "bench", "lenet5", "--no-tune=1", env=env)
    refuse(3, "fp16", "tune", "lenet5", "--precision", "fp16", env=env)
    check(not os.path.exists(env["XDG_CACHE_HOME"]), "a refused command made a folder")
    refuse(2, "cannot be opened|No such file", "tune", path("none.onnx"), env=env)
    check("--no-tune" in succeed("bench", "--help"), "help of bench")
    check("XDG_CACHE_HOME" in succeed("tune", "--help"), "help of tune")


@case
def simulations_are_refused():
    if run("inspect", "lenet5", "--device", "metal-sim").returncode:
        raise Skip("metal-sim is not here")
    cache = Cache()
    refuse(3, "simulation", "tune", "lenet5", "--device", "metal-sim", env=cache.env)
    equal([name for name in os.listdir(cache.folder) if name != "metal"], [], "files in the cache")


main()
