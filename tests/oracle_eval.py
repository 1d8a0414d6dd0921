#!/usr/bin/env python3
"""eval against PyTorch on the same weights and data: Debian's Fashion-MNIST through LeNet-5.

    tests/oracle_eval.py BUILD_DIR

The last line is 'N passed, N failed, N skipped'.
"""
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy
import torch
from torch.nn import functional

DATA = "/usr/share/datasets/fashion-mnist"
TIES = 2  # images whose two largest outputs may be closer than rounding


class Lenet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5), torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = (torch.nn.Linear(*n) for n in [(400, 120), (120, 84), (84, 10)])

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x)))))


def load(split):
    def read(name, start):
        with gzip.open(os.path.join(DATA, f"{split}-{name}.gz")) as file:
            return torch.from_numpy(numpy.frombuffer(file.read(), numpy.uint8)[start:].copy())
    images = read("images-idx3-ubyte", 16).reshape(-1, 1, 28, 28).float() / 255
    return functional.pad(images, (2, 2, 2, 2)), read("labels-idx1-ubyte", 8).long()


def train(model):
    """A short training: all classes are predicted, many of them wrongly."""
    images, labels = load("t10k")
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for first in range(0, 6000, 100):
        loss = functional.cross_entropy(model(images[first:first + 100]), labels[first:first + 100])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def save(model, path):
    header, body = {}, b""
    for name, tensor in model.state_dict().items():
        data = tensor.numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def evaluate(model, split):
    images, labels = load(split)
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in images.split(1000)])
    confusion = numpy.zeros((10, 10), int)
    numpy.add.at(confusion, (labels.numpy(), outputs.argmax(1).numpy()), 1)
    top5 = (outputs.topk(5).indices == labels[:, None]).any(1).float().mean().item()
    worst = torch.where(outputs.argmax(1) == labels, torch.zeros(()), outputs.softmax(1).max(1).values)
    return confusion, top5, worst.topk(10).values.tolist()


def mismatch(row, confusion, top5, worst):
    """What differs, in words; None where nothing does."""
    images = confusion.sum()
    if numpy.abs(numpy.array(row["confusion"]) - confusion).sum() > 2 * TIES:
        return f"confusion {row['confusion']}, expected {confusion.tolist()}"
    if not abs(row["top1"] - numpy.trace(confusion) / images) <= TIES / images:
        return f"top-1 {row['top1']}, expected {numpy.trace(confusion) / images}"
    if not abs(row["top5"] - top5) <= TIES / images:
        return f"top-5 {row['top5']}, expected {top5}"
    found = [mistake["probability"] for mistake in row["worst"]]
    if not numpy.allclose(found, worst, atol=1e-4):
        return f"worst mistakes {found}, expected {worst}"
    return None


def main():
    if not os.path.isdir(DATA):
        print(f"SKIP eval: {DATA} is not there: the package dataset-fashion-mnist brings it")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    torch.manual_seed(5)
    torch.set_num_threads(1)
    model = Lenet()
    train(model)
    failed = passed = 0
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "lenet5.safetensors")
        save(model, weights)
        for split, name in [("test", "t10k"), ("train", "train")]:
            expected = evaluate(model, name)
            for options in [[], ["--threads", "1", "--batch", "64"]]:
                command = [os.path.join(sys.argv[1], "tilewise"), "eval", "lenet5", "--weights", weights, "--data",
                           DATA, "--split", split, "-o", "json", *options]
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                problem = (mismatch(json.loads(done.stdout)["rows"][0], *expected) if done.returncode == 0 else
                           f"exit status {done.returncode}: {done.stderr.decode().strip()}")
                if problem:
                    print(f"FAIL {split} {' '.join(options)}: {problem}")
                failed += problem is not None
                passed += problem is None
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
