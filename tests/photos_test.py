#!/usr/bin/env python3
"""Real weights on real photographs: the top five must be those that the PyTorch implementation gives, with
probabilities within 2e-3. Needs what scripts/fetch-data fetches.

    tests/photos_test.py BUILD_DIR
"""
import json
import os
import subprocess
import sys

TOLERANCE = 2e-3
EXPECTED = {
    "chelsea.png": [(282, 0.39455), (285, 0.35508), (281, 0.16969), (287, 0.01416), (904, 0.00116)],
    "coffee.png": [(967, 0.95106), (968, 0.01499), (925, 0.00772), (960, 0.00407), (504, 0.00338)],
    "motorcycle_left.png": [(665, 0.53966), (670, 0.11978), (535, 0.07483), (518, 0.05013), (671, 0.00862)],
    "rocket.jpg": [(657, 0.27223), (744, 0.18863), (540, 0.10438), (812, 0.05928), (668, 0.01754)],
    "camera.png": [(872, 0.93664), (593, 0.01054), (447, 0.00901), (650, 0.00679), (759, 0.00449)],
}


def data_folder():
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.environ.get("TILEWISE_DATA") or os.path.join(home, "tilewise")


def classify(program, options):
    """Rows of `tilewise classify` for the five photographs, by file name; a message where it fails."""
    photos = [os.path.join(data_folder(), "photos", name) for name in EXPECTED]
    command = [program, "classify", "efficientnet_lite0", *photos, "-o", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return f"exit status {done.returncode}: {done.stderr.strip()}"
    return {os.path.basename(row["image"]): row["top"] for row in json.loads(done.stdout)["rows"]}


def mismatch(top, expected):
    """What differs, in words; None where nothing does."""
    classes = [entry["class"] for entry in top]
    if classes != [wanted for wanted, _ in expected]:
        return f"classes {classes}, expected {[wanted for wanted, _ in expected]}"
    for entry, (wanted, probability) in zip(top, expected):
        if not abs(entry["probability"] - probability) <= TOLERANCE:
            return f"class {wanted}: probability {entry['probability']}, expected {probability}"
    return None


def main():
    program = os.path.join(sys.argv[1], "tilewise")
    if not os.path.exists(os.path.join(data_folder(), "efficientnet_lite0.pth")):
        print(f"SKIP photographs: {data_folder()} has no weights; scripts/fetch-data fetches them")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    passed = failed = 0
    for options in ([], ["--threads", "1"], ["--design", "reference"]):
        rows = classify(program, options)
        for photo, expected in EXPECTED.items():
            problem = rows if isinstance(rows, str) else mismatch(rows.get(photo, []), expected)
            if problem:
                print(f"FAIL {photo} {' '.join(options)}: {problem}")
            failed += problem is not None
            passed += problem is None
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
