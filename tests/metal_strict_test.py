#!/usr/bin/env python3
"""The strict pass of tools/metal refuses what tests/metal/refused*.metal mark, as the feature that they name, and
nothing else; and none of the other Metal files of this tree."""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
passed = failed = 0


def check(good, what):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    if not good:
        print(f"FAIL {what}")


def strict(path, *options):
    """The status and, by line, what was refused there."""
    command = [os.path.join(ROOT, "tools/metal/mslc"), "--mode", "strict", "-I", os.path.join(ROOT, "src")]
    done = subprocess.run([*command, *options, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = {}
    for line in done.stderr.splitlines():
        match = re.match(re.escape(path) + r":(\d+)(?::\d+)?: (?:fatal )?error: (.*)", line)
        found.setdefault(int(match.group(1)) if match else 0, []).append(match.group(2) if match else line)
    return done.returncode, found


def check_refusals(path, *options):
    name = os.path.basename(path)
    with open(path) as file:
        wanted = {i + 1: m.group(1) or "" for i, line in enumerate(file)
                  for m in [re.search(r"// refused(?:: (.*))?$", line.rstrip())] if m}
    status, found = strict(path, *options)
    check(status == 1, f"{name}: exit status {status}, not 1")
    for line, feature in wanted.items():
        check(any(m.startswith(feature) for m in found.get(line, [])),
              f"{name}:{line}: not refused as '{feature}', but {found.get(line, 'accepted')}")
    for line in sorted(set(found) - set(wanted)):
        check(False, f"{name}:{line}: refused, {found[line]}")


def main():
    if not shutil.which(os.environ.get("MSL_CLANG", "clang++-19")):
        print("SKIP no clang++-19\n0 passed, 0 failed, 1 skipped")
        return
    options = {"refused_family.metal": ["--family", "apple6"], "features.metal": ["--family", "apple8"]}
    refused = sorted(glob.glob(os.path.join(HERE, "metal/refused*.metal")))
    for path in refused:
        check_refusals(path, *options.get(os.path.basename(path), []))
    _, found = strict(os.path.join(HERE, "metal/refused.metal"), "--c++17")
    check(found and not any(m.startswith("C++17") for said in found.values() for m in said), "--c++17 takes C++17")
    others = sorted(set(glob.glob(os.path.join(HERE, "metal/*.metal"))) - set(refused))
    others += sorted(glob.glob(os.path.join(ROOT, "src/ops/*/*.metal")))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda path: strict(path, *options.get(os.path.basename(path), [])), others)
        for path, (status, found) in zip(others, results):
            check(status == 0, f"{os.path.relpath(path, ROOT)} is refused: {found}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
