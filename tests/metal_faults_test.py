#!/usr/bin/env python3
"""Every fault planted in tests/metal/faults.metal is found by the check and at the line that the file names."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.path.dirname(HERE), "tools/metal")
FILE = os.path.join(HERE, "metal/faults.metal")
MODES = ("plain", "asan", "tsan")
TIMEOUT = 60


class Case:
    def __init__(self, arguments):
        self.arguments, self.kernel, self.mode = arguments.split(), None, None
        self.lines = {}  # line: words
        self.words = None


def read_cases():
    """A case for each '// run:'."""
    cases = []
    with open(FILE) as file:
        for number, line in enumerate(file, 1):
            run = re.match(r"// run: (.*)", line)
            fault = re.search(r"// (fault|fails): (\w+): (.*)", line)
            kernel = re.search(r"\bkernel void (\w+)", line)
            if run:
                cases.append(Case(run.group(1)))
            elif fault:
                cases[-1].mode = fault.group(2)
                if fault.group(1) == "fault":
                    cases[-1].lines[number] = fault.group(3)
                else:
                    cases[-1].words = fault.group(3)
            elif line.startswith("// as: "):
                cases[-1].kernel = line[7:].strip()
            elif kernel and cases:
                cases[-1].kernel = cases[-1].kernel or kernel.group(1)
    return cases


def build(mode, folder):
    library = os.path.join(folder, f"{mode}.so")
    done = subprocess.run([os.path.join(TOOLS, "build"), mode, FILE, "-o", library], stderr=subprocess.PIPE, text=True)
    return library if done.returncode == 0 else done.stderr


def found(case, status, said):
    """None, or what is wrong: one of the lines must be named with its words, the exit status must be 1 or 2."""
    if status not in (1, 2):
        return f"exit status {status}"
    if case.words is not None:
        return None if case.words in said else f"not '{case.words}'"
    named = [line for line, words in case.lines.items() if f"faults.metal:{line}" in said and words in said]
    return None if named else f"not {case.lines}"


def run(case, libraries):
    command = [os.path.join(TOOLS, "mslrun"), FILE, case.kernel, "--mode", case.mode, "--library", libraries[case.mode]]
    try:
        done = subprocess.run(command + case.arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return "no end"
    wrong = found(case, done.returncode, done.stdout)
    return wrong and f"{wrong}: {done.stdout[:600]}"


def missing():
    """What a machine lacks, or None."""
    clang = os.environ.get("MSL_CLANG", "clang++-19")
    if not shutil.which(clang):
        return f"no {clang}"
    needed = {f"-print-file-name=libclang_rt.asan-{os.uname().machine}.so": "sanitizers' runtime (libclang-rt-19-dev)",
              "-print-prog-name=llvm-symbolizer": "llvm-symbolizer (llvm-19)"}
    for option, name in needed.items():
        path = subprocess.run([clang, option], stdout=subprocess.PIPE, text=True).stdout.strip()
        if not os.path.isabs(path):
            return f"no {name}"
    return None


def main():
    if missing():
        print(f"SKIP {missing()}\n0 passed, 0 failed, 1 skipped")
        return
    cases = read_cases()
    failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        libraries = dict(zip(MODES, pool.map(lambda mode: build(mode, folder), MODES)))
        for mode, library in libraries.items():
            if not os.path.exists(library):
                print(f"FAIL {mode} build: {library}\n0 passed, 1 failed, 0 skipped")
                sys.exit(1)
        for case, wrong in zip(cases, pool.map(lambda case: run(case, libraries), cases)):
            if wrong:
                failed += 1
                print(f"FAIL {case.mode} {case.kernel}: {wrong}")
    print(f"{len(cases) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
