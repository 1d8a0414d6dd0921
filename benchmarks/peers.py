#!/usr/bin/env python3
"""Tilewise beside other inference programs, on the same ONNX files and inputs, on the CPU in fp32.

Makes an environment of its own for the peers (a virtual environment with pinned versions), writes each network as ONNX
with `tilewise convert` and seeded random weights, and runs every program in a process of its own, which waits at a
pipe while another one computes. Programs take turns, in rounds, each after a warm-up; a row has the median and spread
of all its samples. Outputs are compared; a program whose output is not the others' is `incorrect` and has no ratio.
Needs only Python's standard library, a build, and a package index for the first run.
"""
import argparse
import json
import math
import os
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
WORKER = os.path.join(HERE, "peer_worker.py")
NETWORKS = ["lenet5", "alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1",
            "efficientnet_lite0"]
NUMPY = "numpy==2.4.6"
PEERS = {"onnxruntime": ["onnxruntime==1.32.0"], "openvino": ["openvino==2026.4.1"],
         "ncnn": ["ncnn==1.0.20261020", "pnnx==20261020"], "MNN": ["MNN==3.6.1"],
         "torch": ["torch==2.15.0", "pnnx==20261020"]}
TOLERANCE = 1e-3  # of the output's largest magnitude
LEAST_SAMPLES = 5  # in a turn
SETTLE_SECONDS = 0.3  # between turns: thread pools spin for a while after their work
ANSWER_SECONDS = 900
FIELDS = """device model batch precision threads program program_version layer op problem design status reason samples
    min_ms median_ms mean_ms p90_ms p95_ms p99_ms cv init_ms preprocess_ms h2d_ms device_ms d2h_ms flops bytes gflops
    gbps roofline_pct max_abs_err max_rel_err startup_ms startup_min_ms peak_bytes""".split()


class Problem(Exception):
    """Ends the program with one line."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return " ".join((errors or lines or ["no message"])[-1].split())[:300]


def command(arguments, **keywords):
    """Runs a program quietly; raises a Problem with what it said last where it fails."""
    try:
        result = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                **keywords)
    except OSError as problem:
        raise Problem(f"{arguments[0]}: {problem.strerror}")
    if result.returncode != 0:
        raise Problem(f"{os.path.basename(arguments[0])}: {last_line(result.stderr or result.stdout)}")
    return result.stdout


def check_output(path):
    """Before anything is measured: a file there is replaced, but no device and no folder, and its folder exists."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise Problem(f"--output: {path}: cannot be replaced: not a regular file")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise Problem(f"--output: {path}: its folder does not exist")
    if not os.access(folder, os.W_OK):
        raise Problem(f"--output: {path}: its folder cannot be written")


def write_json(path, result):
    """Through a temporary name: the file is the old one or whole."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
        os.replace(temporary, path)
    except OSError as problem:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise Problem(f"{path}: {problem.strerror}")


# ---- the environment ----


class Environment:
    def __init__(self, folder):
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self.python = self.tool("python")

    def tool(self, name):
        return os.path.join(self.folder, "bin", name)

    def installed(self):
        script = ("import importlib.metadata as m\n"
                  "for d in m.distributions(): print(d.metadata['Name'] + '==' + d.version)")
        return {line.lower().split("+")[0] for line in command([self.python, "-c", script]).splitlines()}

    def prepare(self, peers):
        """Installs what is missing; returns the reasons of peers that cannot be had."""
        if not os.path.exists(self.python):
            say(f"making an environment in {self.folder}")
            command([sys.executable, "-m", "venv", self.folder])
        self.install([NUMPY])
        missing = {}
        for peer in peers:
            try:
                self.install(PEERS[peer])
            except Problem as problem:
                missing[peer] = f"cannot be installed: {problem}"
                say(f"{peer}: {missing[peer]}")
        return missing

    def install(self, packages):
        have = self.installed()
        wanted = [package for package in packages if package.lower() not in have]
        if wanted:
            say(f"installing {', '.join(wanted)}")
            command([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])


# ---- workers ----


class Worker:
    """A program's process. One that dies is started again for the next task."""

    def __init__(self, program, environment, library):
        self.program, self.python = program, environment.python
        self.process = None
        # Bytecode may be written: pip has compiled the peers, and our package would be compiled anew at each start.
        self.variables = dict(os.environ, TILEWISE_LIBRARY=library, PYTHONPATH=os.path.join(ROOT, "python"))
        self.variables.pop("PYTHONDONTWRITEBYTECODE", None)

    def start(self, *options):
        # A session of its own: Ctrl-C reaches us alone, and we end the workers.
        self.process = subprocess.Popen([self.python, WORKER, self.program, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.variables,
                                        start_new_session=True)

    def ask(self, do, **task):
        """The answer, or {"error": ...}."""
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write(json.dumps(dict(task, do=do)).encode() + b"\n")
            self.process.stdin.flush()
            ready = select.select([self.process.stdout], [], [], ANSWER_SECONDS)[0]
            line = self.process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = b""
        if line and line.endswith(b"\n"):  # a process that dies may leave half a line
            return json.loads(line)
        if line is None:
            self.stop()
            return {"error": f"no answer within {ANSWER_SECONDS} seconds"}
        status = self.process.wait()
        self.stop()
        return {"error": f"the process ended by signal {-status}" if status < 0 else f"the process ended with {status}"}

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


# ---- one case: a network, a batch, a number of threads ----


class Case:
    def __init__(self, bench, network, batch, threads):
        self.bench, self.network, self.batch, self.threads = bench, network, batch, threads

    def row(self, program, **fields):
        row = dict.fromkeys(FIELDS)
        row.update(device="cpu", model=self.network.name, batch=self.batch, precision="fp32", threads=self.threads,
                   program=program, status="ok", design="auto" if program.startswith("tilewise") else None)
        row.update(fields)
        return row

    def task(self, program):
        files = self.network.converted(program, self.batch)
        return dict(files, onnx=self.network.onnx, input=self.network.input(self.batch), batch=self.batch,
                    threads=self.threads, shape=[self.batch, *self.network.shape])

    def output(self, program):
        return os.path.join(self.network.folder, f"output_{program}.npy")

    def refusal(self, program):
        if program in self.bench.missing:
            return {"status": "failed", "reason": self.bench.missing[program]}
        if program == "ncnn" and self.batch > 1:
            return {"status": "not_supported", "reason": "takes one image at a time"}
        return {}

    def load(self, program):
        """Loads and predicts once; returns the row so far."""
        refusal = self.refusal(program)
        if refusal:
            return self.row(program, **refusal)
        try:
            task = self.task(program)
        except Problem as problem:
            return self.row(program, status="failed", reason=str(problem))
        worker = self.bench.workers[program]
        answer = worker.ask("load", **task)
        row = self.row(program, init_ms=answer.get("init_ms"), program_version=answer.get("version"))
        if "error" not in answer:
            answer = worker.ask("predict", output=self.output(program))
        if "error" in answer:
            row.update(status="failed", reason=answer["error"])
        return row

    def compare(self, rows):
        alive = [row for row in rows if row["status"] == "ok"]
        if not alive:
            return
        answer = self.bench.workers["tilewise"].ask("compare", outputs=[self.output(row["program"]) for row in alive])
        if "error" in answer:
            raise Problem(f"{self.network.name}: comparing outputs: {answer['error']}")
        for row, errors in zip(alive, answer["errors"]):
            if errors:
                row["max_abs_err"], row["max_rel_err"] = errors
            if errors is None:
                row.update(status="incorrect", reason="its output is not finite, or of another size than the others'")
            elif not errors[1] <= TOLERANCE:
                row.update(status="incorrect",
                           reason=f"differs from the others by more than {TOLERANCE:g} of the scale")

    def measure(self, rows):
        """Rounds, each begun by another program; a failure ends that program's part."""
        samples = {row["program"]: [] for row in rows}
        for turn in range(self.bench.options.rounds):
            first = turn % len(rows)
            for row in rows[first:] + rows[:first]:
                if row["status"] not in ("ok", "incorrect"):
                    continue
                time.sleep(SETTLE_SECONDS)
                answer = self.bench.workers[row["program"]].ask("measure", seconds=self.bench.options.duration,
                                                                least=LEAST_SAMPLES)
                if "error" in answer:
                    row.update(status="failed", reason=answer["error"])
                else:
                    samples[row["program"]] += answer["samples"]
        for row in rows:
            if samples[row["program"]]:
                row.update(describe(samples[row["program"]]))

    def run(self):
        rows = [self.load(program) for program in self.bench.programs]
        self.compare(rows)
        self.measure(rows)
        for row in rows:
            if row["program"] not in self.bench.missing:
                self.bench.workers[row["program"]].ask("unload")
        return rows

    # ---- start-up ----

    def startup_python(self, program):
        """Of a fresh process: seconds to its first prediction, and its peak memory."""
        worker = Worker(program, self.bench.environment, self.bench.library)
        self.bench.extra = worker
        task = self.task(program)
        start = time.perf_counter()
        worker.start("--once")
        answer = worker.ask("load", **task, output=self.output(program))
        seconds = time.perf_counter() - start
        worker.stop()
        if "error" in answer:
            raise Problem(answer["error"])
        return seconds, answer["peak_bytes"], answer["version"]

    def startup_cli(self):
        start = time.perf_counter()
        process = subprocess.Popen(
            [self.bench.tilewise, "run", self.network.onnx, "--no-tune", "--threads", str(self.threads), "--input",
             self.network.input(self.batch), "--output", self.output("tilewise run")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise Problem(f"tilewise run ended with {process.returncode}")
        return seconds, usage.ru_maxrss * 1024, None

    def startup(self):
        """Fresh processes, taking turns; the first of each only warms the file cache."""
        programs = ["tilewise run", *self.bench.programs, "python"]
        rows = {program: self.row(program, **self.refusal(program)) for program in programs}
        found = {program: [] for program in programs}
        for turn in range(self.bench.options.rounds + 1):
            for program in programs:
                row = rows[program]
                if row["status"] != "ok":
                    continue
                try:
                    one = self.startup_cli() if program == "tilewise run" else self.startup_python(program)
                except Problem as problem:
                    row.update(status="failed", reason=str(problem))
                    continue
                row["program_version"] = one[2] or self.bench.version
                found[program] += [one] if turn > 0 else []
        for program, row in rows.items():
            if found[program]:
                row.update(samples=len(found[program]),
                           startup_ms=1e3 * statistics.median(one[0] for one in found[program]),
                           startup_min_ms=1e3 * min(one[0] for one in found[program]),
                           peak_bytes=statistics.median(one[1] for one in found[program]))
        return list(rows.values())


def describe(samples):
    ordered = sorted(samples)

    def percentile(p):
        """Linear between neighbours, as NumPy's default."""
        at = p / 100 * (len(ordered) - 1)
        low = math.floor(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)

    mean = statistics.fmean(ordered)
    spread = statistics.pstdev(ordered) if len(ordered) > 1 else 0.0
    return {"samples": len(ordered), "min_ms": ordered[0], "median_ms": percentile(50), "mean_ms": mean,
            "p90_ms": percentile(90), "p95_ms": percentile(95), "p99_ms": percentile(99), "cv": spread / mean}


# ---- networks ----


class Network:
    """A network as files: ONNX, and what the converters of ncnn, MNN and PyTorch make of it."""

    def __init__(self, bench, name, folder):
        self.bench, self.name = bench, name
        self.folder = os.path.join(folder, name)
        if os.path.isdir(self.folder):  # what --keep left, perhaps of another build's weights
            shutil.rmtree(self.folder)
        os.makedirs(self.folder)
        self.onnx = os.path.join(self.folder, name + ".onnx")
        command([bench.tilewise, "convert", name, "--seed", "1", "--output", self.onnx])
        self.shape = bench.shapes[name]
        self.cache = {}

    def input(self, batch):
        path = os.path.join(self.folder, f"input{batch}.npy")
        if not os.path.exists(path):
            answer = self.bench.workers["tilewise"].ask("make_input", shape=[batch, *self.shape], seed=1, output=path)
            if "error" in answer:
                raise Problem(answer["error"])
        return path

    def converted(self, program, batch):
        converters = {"ncnn": self.pnnx, "torch": self.pnnx, "MNN": self.mnn}
        if program not in converters:
            return {}
        key = converters[program], batch
        if key not in self.cache:
            try:
                self.cache[key] = converters[program](batch)
            except Problem as problem:
                self.cache[key] = problem
        if isinstance(self.cache[key], Problem):
            raise self.cache[key]
        return self.cache[key]

    def pnnx(self, batch):
        folder = os.path.join(self.folder, f"pnnx{batch}")
        os.makedirs(folder, exist_ok=True)
        model = os.path.join(folder, "network.onnx")
        if not os.path.exists(model):
            os.link(self.onnx, model)
        shape = ",".join(map(str, [batch, *self.shape]))
        command([self.bench.environment.tool("pnnx"), model, f"inputshape=[{shape}]", "fp16=0"], cwd=folder)
        files = {"param": "network.ncnn.param", "bin": "network.ncnn.bin", "module": "network_pnnx.py"}
        for name in os.listdir(folder):
            if name not in files.values() and name != "network.pnnx.bin":
                os.remove(os.path.join(folder, name))
        files = {key: os.path.join(folder, name) for key, name in files.items()}
        if not os.path.exists(files["bin"]):
            raise Problem("pnnx wrote no network")
        return files

    def mnn(self, batch):
        path = os.path.join(self.folder, "network.mnn")
        if not os.path.exists(path):
            command([self.bench.environment.tool("mnnconvert"), "-f", "ONNX", "--modelFile", self.onnx, "--MNNModel",
                     path, "--bizCode", "peers"], cwd=self.folder)
            if not os.path.exists(path):
                raise Problem("mnnconvert wrote no network")
        return {"mnn": path}


# ---- the comparison ----


class Bench:
    def __init__(self, options):
        self.options = options
        if options.output:
            check_output(options.output)
        self.tilewise = os.path.join(options.build, "tilewise")
        self.library = os.path.join(options.build, "libtilewise.so")
        for path in (self.tilewise, self.library):
            if not os.path.exists(path):
                raise Problem(f"{path}: not there: build first, or name a build with --build")
        self.about = json.loads(command([self.tilewise, "devices", "-o", "json"]))
        self.version = self.about["tilewise"]
        peers = options.peers or [peer for peer in PEERS if peer != "torch"]
        if options.torch and "torch" not in peers:
            peers = [*peers, "torch"]
        self.programs = ["tilewise", *peers]
        self.environment = Environment(options.env)
        self.missing = self.environment.prepare(peers)
        self.workers = {name: Worker(name, self.environment, self.library) for name in self.programs}
        self.shapes = self.input_shapes()
        self.extra = None

    def input_shapes(self):
        """Of every network, without the batch; an unknown one ends the comparison before it begins."""
        script = ("import json, sys, tilewise\n"
                  "try: print(json.dumps({n: tilewise.Graph.zoo(n).inputs[0][1:] for n in sys.argv[1:]}))\n"
                  "except tilewise.TilewiseError as problem: sys.exit(str(problem))")
        return json.loads(command([self.environment.python, "-c", script, *self.options.networks],
                                  env=self.workers["tilewise"].variables))

    def run(self):
        rows = []
        folder = os.path.join(self.environment.folder, "models") if self.options.keep else tempfile.mkdtemp(
            prefix="models-", dir=self.environment.folder)
        try:
            for name in self.options.networks:
                network = Network(self, name, folder)
                for batch in self.options.batch:
                    for threads in self.options.threads:
                        case = Case(self, network, batch, threads)
                        say(f"{name}, batch {batch}, {threads} thread{'s' * (threads > 1)}")
                        rows += case.startup() if self.options.startup else case.run()
                        if self.options.output:
                            self.write(self.options.output, rows)
                if not self.options.keep:
                    shutil.rmtree(network.folder)
        finally:
            self.stop()
            if not self.options.keep:
                shutil.rmtree(folder, ignore_errors=True)
        return rows

    def stop(self):
        for worker in [*self.workers.values(), *([self.extra] if self.extra else [])]:
            worker.stop()

    def write(self, path, rows):
        cpu = [device for device in self.about["devices"] if device["id"] == "cpu"]
        result = {"tilewise": self.version, "host": self.about["host"], "devices": cpu,
                  "command": shlex.join(["benchmarks/peers.py", *sys.argv[1:]]), "rows": rows}
        write_json(path, result)


# ---- tables ----


def number(value, digits=4):
    if value is None:
        return "-"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{decimals}f}"


def table(heading, lines):
    widths = [max(len(line[i]) for line in [heading, *lines]) for i in range(len(heading))]
    for line in [heading, *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def groups(rows):
    found = {}
    for row in rows:
        found.setdefault((row["model"], row["batch"], row["threads"]), []).append(row)
    return found


def print_times(rows, programs):
    """A line a case: medians, and Tilewise's over the best correct peer's; below 1 Tilewise is faster."""
    lines, ratios = [], {program: [] for program in [*programs, "best"]}
    for (model, batch, threads), case in groups(rows).items():
        median = {row["program"]: row["median_ms"] for row in case if row["status"] == "ok" and row["median_ms"]}
        ours = median.get("tilewise")
        peers = {program: value for program, value in median.items() if program != "tilewise"}
        if ours and peers:
            peers["best"] = min(peers.values())
            for program, value in peers.items():
                ratios[program].append(ours / value)
        cells = [number(median.get(row["program"])) if row["status"] == "ok" else row["status"] for row in case]
        ratio = number(ratios["best"][-1], 3) if ours and peers else "-"
        lines.append([model, str(batch), str(threads), *cells, ratio])
    means = [number(statistics.geometric_mean(ratios[p]), 3) if ratios[p] else "-" for p in programs[1:] + ["best"]]
    print("median ms; the ratio is Tilewise's time over the best correct peer's: below 1 Tilewise is faster")
    table(["network", "batch", "threads", *programs, "ratio"], lines)
    table(["geometric mean of Tilewise's time over", *programs[1:], "the best"], [["", *means]])
    print("Every program is called from Python with NumPy arrays; Tilewise through python/tilewise, designs auto.")


def print_spread(rows):
    measured = [row for row in rows if row["median_ms"]]
    print()
    table(["network", "batch", "threads", "program", "version", "samples", "min", "median", "p90", "cv", "error"],
          [[r["model"], str(r["batch"]), str(r["threads"]), r["program"], r["program_version"], str(r["samples"]),
            number(r["min_ms"]), number(r["median_ms"]), number(r["p90_ms"]), number(r["cv"], 2),
            f"{r['max_rel_err']:.1e}" if r["max_rel_err"] is not None else "-"] for r in measured])


def print_startup(rows):
    print("from a process' start to its first prediction, files cached; peak resident memory")
    table(["network", "batch", "threads", "program", "median ms", "min ms", "peak MiB"],
          [[r["model"], str(r["batch"]), str(r["threads"]), r["program"], number(r["startup_ms"]),
            number(r["startup_min_ms"]), number(r["peak_bytes"] / 2**20)] for r in rows if r["startup_ms"]])
    print("'tilewise run' is the command line, to its end. The others are Python programs: 'python' is Python with\n"
          "NumPy alone, which is part of each.")


def print_reasons(rows):
    seen = {}
    for row in rows:
        if row["reason"]:
            seen.setdefault(f"{row['program']}: {row['status']}: {row['reason']}", []).append(row["model"])
    for reason, models in seen.items():
        print(f"{reason} ({', '.join(dict.fromkeys(models))})")


# ---- the command line ----


def names(known, what):
    def parse(text):
        for name in text.split(","):
            if known is not None and name not in known:
                raise argparse.ArgumentTypeError(f"unknown {what} {name!r}: expected some of {','.join(known)}")
        return list(dict.fromkeys(text.split(",")))
    return parse


def counts(text):
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 4096 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no comma list of numbers from 1 to 4096")
    return list(dict.fromkeys(int(part) for part in text.split(",")))


def count(text):
    values = counts(text)
    if len(values) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no single number")
    return values[0]


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to 600")
    return value


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"peers.py: {message}\n")


def parse():
    cores = len(os.sched_getaffinity(0))
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "tilewise", "peers")
    parser = Parser(description=__doc__.split("\n\n")[0], epilog="example: benchmarks/peers.py --networks "
                    "resnet18,mobilenet_v2 --batch 1,8 --output peers.json")
    add = parser.add_argument
    add("--networks", type=names(None, "network"), default=NETWORKS, metavar="LIST", help="of the zoo (default: nine)")
    add("--peers", type=names(PEERS, "peer"), metavar="LIST",
        help=f"of {','.join(PEERS)} (default: all but torch)")
    add("--torch", action="store_true", help="PyTorch too, which is a large download")
    add("--batch", type=counts, default=[1], metavar="LIST", help="images at once (default 1)")
    add("--threads", type=counts, default=[cores], metavar="LIST", help="(default: one a core)")
    add("--rounds", type=count, default=5, metavar="N", help="turns of each program (default 5)")
    add("--duration", type=seconds, default=1.0, metavar="S", help="seconds of a turn (default 1)")
    add("--startup", action="store_true", help="measure start-up and peak memory instead, ROUNDS processes each")
    add("--output", metavar="FILE", help="results as JSON, written after each case")
    add("--build", default=os.path.join(ROOT, "build", "release"), metavar="DIR",
        help="with tilewise and libtilewise.so")
    add("--env", default=cache, metavar="DIR", help=f"where the peers are installed (default {cache})")
    add("--keep", action="store_true", help="leave the networks' files in DIR/models")
    add("--list", action="store_true", help="print peers, versions and networks, and do nothing")
    return parser.parse_args()


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    options = parse()
    if options.list:
        table(["peer", "packages"], [[peer, " ".join(packages)] for peer, packages in PEERS.items()])
        print("networks: " + ",".join(NETWORKS))
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    try:
        bench = Bench(options)
        rows = bench.run()
        if options.startup:
            print_startup(rows)
        else:
            print_times(rows, bench.programs)
            print_spread(rows)
        print_reasons(rows)
    except (Problem, OSError) as problem:  # a full disk, a folder that cannot be made
        say(f"peers.py: {problem}")
        return 2
    except KeyboardInterrupt:
        say("peers.py: interrupted")
        return 130
    wrong = [row for row in rows if row["program"].startswith("tilewise") and row["status"] != "ok"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
