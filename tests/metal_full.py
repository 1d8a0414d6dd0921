#!/usr/bin/env python3
"""Every design in Metal on every GPU family, in both precisions, in every kind of build of the software device, and
after that the Metal tests of `make test`. Half an hour on two cores, so it is no part of `make test`.

    tests/metal_full.py BUILD_DIR [--families apple4,...] [--precisions fp32,...] [--kinds tsan,...]
                        [--operators relu,...]

A row of `tilewise verify` is a case, a design on a problem; where it refuses the problem or the family lacks what it
needs, it counts as skipped. The last line is 'N passed, N failed, N skipped'.
"""
import argparse
import concurrent.futures
import glob
import itertools
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools/metal"))
from programs import load  # noqa: E402

FAMILIES = [f"apple{n}" for n in range(4, 11)]
# Schedules drawn by a seed also fill threadgroup memory with NaN first.
KINDS = {"plain": {}, "plain-seed": {"TILEWISE_METAL_SEED": "1"},
         "asan": {"TILEWISE_METAL_SIM": "asan", "TILEWISE_METAL_SEED": "2"},
         "tsan": {"TILEWISE_METAL_SIM": "tsan", "TILEWISE_METAL_SEED": "3"}}
CLOSING = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


def some(known):
    def parse(text):
        chosen = text.split(",")
        wrong = set(chosen) - set(known)
        if wrong:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(wrong))}: expected some of {', '.join(known)}")
        return chosen
    return parse


def environment(kind):
    """Of a process that has the kind's sanitizer, if any, loaded first."""
    sanitizer = KINDS[kind].get("TILEWISE_METAL_SIM")
    return dict(load("mslrun").sanitizer_environment(sanitizer) if sanitizer else os.environ, **KINDS[kind])


def verify(program, case, environments):
    """([passed, failed, skipped], what is wrong) of one operator."""
    operator, family, precision, kind = case
    command = [program, "verify", operator, "--device", "metal-sim", "--family", family, "--precision", precision]
    done = subprocess.run([*command, "-o", "json"], env=environments[kind], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=1800)
    try:
        rows = json.loads(done.stdout)["rows"]
    except ValueError:
        return [0, 1, 0], f"exit status {done.returncode}: {done.stderr.strip()[-2000:]}"
    counts, wrong = [0, 0, 0], []
    for row in rows:
        outcome = {"ok": 0, "not_supported": 2}.get(row["status"], 1)
        counts[outcome] += 1
        if outcome == 1:
            wrong.append(f"{row['design']} {row['status']}")
    if done.returncode != 0 and not wrong:
        counts[1] += 1
        wrong.append(f"exit status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return counts, "; ".join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build")
    rooms = sorted({os.path.basename(os.path.dirname(path)) for path in glob.glob(f"{ROOT}/src/ops/*/metal_*.metal")})
    names = [name for room in rooms for name in (("relu", "clip") if room == "activation" else (room,))]
    for option, known in (("families", FAMILIES), ("precisions", ["fp32", "fp16"]), ("kinds", list(KINDS)),
                          ("operators", names)):
        parser.add_argument(f"--{option}", type=some(known), default=known)
    given = parser.parse_args()
    totals, program = [0, 0, 0], os.path.join(given.build, "tilewise")
    environments = {kind: environment(kind) for kind in given.kinds}
    cases = list(itertools.product(given.operators, given.families, given.precisions, given.kinds))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda case: verify(program, case, environments), cases)
        for case, (counts, wrong) in zip(cases, results):
            totals = [a + b for a, b in zip(totals, counts)]
            said = f"FAIL {' '.join(case)}: {wrong}" if wrong else f"{' '.join(case)}: {counts[0]} passed"
            print(said, flush=True)
    if len(cases) == len(names) * len(FAMILIES) * 2 * len(KINDS):
        done = subprocess.run([os.path.join(ROOT, "tests/run"), given.build, "metal_*"], stdout=subprocess.PIPE,
                              text=True)
        print(done.stdout, end="")
        totals = [a + int(b) for a, b in zip(totals, CLOSING.search(done.stdout.splitlines()[-1]).groups())]
    print("{} passed, {} failed, {} skipped".format(*totals))
    sys.exit(totals[1] != 0)


if __name__ == "__main__":
    main()
