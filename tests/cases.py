"""What the tests in Python share: cases, checks, the program under test and a folder for files. A test begins with

    from cases import case, check, equal, main

and ends with main(), which runs the cases in order and prints 'N passed, N failed, N skipped'.
Only Python's standard library is used.
"""
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

TILEWISE = os.path.join(os.path.abspath(sys.argv[1]), "tilewise")
FOLDER = tempfile.mkdtemp(prefix="tilewise-test-")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

TIMEOUT = 120  # seconds of one run of the program

cases = []


class Skip(Exception):
    """Raised by a case that cannot run here, with the reason."""


def case(function):
    cases.append(function)
    return function


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(actual, expected, what="value"):
    check(actual == expected, f"{what} is {actual!r}, expected {expected!r}")


# ---- running ----

def run(*arguments, env=None, **keywords):
    keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT, **keywords}
    return subprocess.run([TILEWISE, *map(str, arguments)], env=dict(os.environ, **(env or {})), **keywords)


def succeed(*arguments, **keywords):
    result = run(*arguments, **keywords)
    equal(result.returncode, 0, f"exit status of {arguments} ({result.stderr.decode(errors='replace').strip()})")
    return result.stdout.decode()


def refuse(code, pattern, *arguments, **keywords):
    """Fails with the code, prints nothing to standard output but one line to standard error that the pattern finds."""
    result = run(*arguments, **keywords)
    message = result.stderr.decode(errors="replace")
    equal(result.returncode, code, f"exit status of {arguments} ({message.strip()})")
    equal(result.stdout, b"", f"output of {arguments}")
    lines = message.splitlines()
    equal(len(lines), 1, f"number of error lines of {arguments}: {lines!r}")
    check(lines[0].startswith("tilewise: "), f"error {lines[0]!r} of {arguments}")
    check(re.search(pattern, lines[0]), f"error {lines[0]!r} of {arguments} has no {pattern!r}")
    return lines[0]


def as_json(*arguments, **keywords):
    return json.loads(succeed(*arguments, "-o", "json", **keywords))


# ---- files ----

def path(name):
    return os.path.join(FOLDER, name)


def write(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "wb" if isinstance(data, bytes) else "w") as file:
        file.write(data)
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


# ---- the end ----

def main():
    failed = skipped = 0
    for function in cases:
        try:
            function()
        except Skip as reason:
            skipped += 1
            print(f"SKIP {function.__name__}: {reason}")
        except AssertionError as error:
            failed += 1
            print(f"FAIL {function.__name__}: {str(error)[:2000]}")
        except Exception:  # a crash of one case must not hide the others
            failed += 1
            print(f"FAIL {function.__name__}:\n{traceback.format_exc()}")
    print(f"{len(cases) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)
