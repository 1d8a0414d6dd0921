#!/usr/bin/env python3
"""Data sets against other readers: Fashion-MNIST against gzip and NumPy, a folder of images against torchvision's
ImageFolder and transforms, through the shared library.

    tests/oracle_data.py BUILD_DIR
"""

import ctypes as c
import glob
import gzip
import os
import sys
import tempfile

import numpy as np

FASHION = "/usr/share/datasets/fashion-mnist"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


# ---- the library, as tilewise.h declares it ----


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 1024)]


class DatasetDesc(c.Structure):
    _fields_ = [("split", c.c_int), ("max_bytes", c.c_size_t)]


class DatasetInfo(c.Structure):
    _fields_ = [("format", c.c_char_p), ("images", c.c_size_t), ("classes", c.c_size_t),
                ("channels", c.c_int), ("height", c.c_int), ("width", c.c_int)]


class Preprocess(c.Structure):
    _fields_ = [("channels", c.c_int), ("resize", c.c_int), ("crop", c.c_int), ("interpolation", c.c_int),
                ("mean", c.c_float * 3), ("std", c.c_float * 3), ("pad", c.c_int)]


class LoaderDesc(c.Structure):
    _fields_ = [("preprocess", Preprocess), ("batch", c.c_int), ("threads", c.c_int), ("ahead", c.c_int),
                ("order", c.POINTER(c.c_size_t)), ("count", c.c_size_t)]


class Batch(c.Structure):
    _fields_ = [("count", c.c_int), ("pixels", c.POINTER(c.c_float)), ("indices", c.POINTER(c.c_size_t)),
                ("labels", c.POINTER(c.c_int)), ("errors", c.POINTER(c.c_char_p)), ("decode_seconds", c.c_double)]


class Library:
    def __init__(self, build):
        found = sorted(glob.glob(os.path.join(build, "**", "libtilewise.so"), recursive=True))
        if not found:
            raise FileNotFoundError(f"no libtilewise.so in {build}")
        self.library = c.CDLL(found[0])
        self.library.tw_dataset_class_name.restype = c.c_char_p
        self.library.tw_dataset_class_name.argtypes = [c.c_void_p, c.c_size_t]
        self.library.tw_dataset_image_name.argtypes = [c.c_void_p, c.c_size_t, c.c_char_p, c.c_size_t]

    def call(self, name, *arguments):
        error = Error()
        if getattr(self.library, name)(*arguments, c.byref(error)) != 0:
            raise ValueError(error.message.decode())

    def load(self, path, split, how, batch):
        """Class names, image names, labels, and the inputs [images][channels][side][side]."""
        dataset, loader, info, given = c.c_void_p(), c.c_void_p(), DatasetInfo(), Batch()
        self.call("tw_dataset_open", path.encode(), c.byref(DatasetDesc(split)), c.byref(dataset))
        self.library.tw_dataset_describe(dataset, c.byref(info))
        classes = [self.library.tw_dataset_class_name(dataset, i) for i in range(info.classes)]
        names, name = [], c.create_string_buffer(4096)
        for i in range(info.images):
            self.library.tw_dataset_image_name(dataset, i, name, len(name))
            names.append(name.value.decode())
        desc = LoaderDesc(preprocess=how, batch=batch)
        self.call("tw_loader_create", dataset, c.byref(desc), c.byref(loader))
        labels, inputs, side = [], [], how.crop + 2 * how.pad
        while True:
            self.call("tw_loader_next", loader, c.byref(given))
            if given.count == 0:
                break
            errors = [given.errors[i].decode() for i in range(given.count) if given.errors[i]]
            if errors:
                raise ValueError(errors[0])
            labels += given.labels[:given.count]
            shape = (given.count, how.channels, side, side)
            inputs.append(np.ctypeslib.as_array(given.pixels, shape).copy())
        self.library.tw_loader_destroy(loader)
        self.library.tw_dataset_release(dataset)
        return classes, names, np.array(labels), np.concatenate(inputs)


# ---- comparisons ----


def check_fashion(library):
    results = []
    for split, prefix, count in ((0, "t10k", 10000), (1, "train", 60000)):
        with gzip.open(f"{FASHION}/{prefix}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(count, 1, 28, 28)
        with gzip.open(f"{FASHION}/{prefix}-labels-idx1-ubyte.gz") as file:
            expected_labels = np.frombuffer(file.read()[8:], np.uint8)
        how = Preprocess(channels=1, crop=28, pad=2, mean=(0,), std=(1,))
        _, names, labels, inputs = library.load(FASHION, split, how, 256)
        expected = np.pad(pixels.astype(np.float32) / np.float32(255), ((0, 0), (0, 0), (2, 2), (2, 2)))
        results.append((f"{prefix} labels", np.array_equal(labels, expected_labels)))
        results.append((f"{prefix} inputs", np.array_equal(inputs, expected)))
        results.append((f"{prefix} names", names[-1] == f"{FASHION}/{prefix}-images-idx3-ubyte.gz#{count - 1}"))
    return results


def make_folder(folder):
    from PIL import Image
    random = np.random.default_rng(1)
    names = ["zebra/1.png", "Zebra/10.JPG", "Zebra/2.jpeg", "a-b/x.jpg", "a/y/2.png", "a/y-y/1.jpg", "a/z.png",
             "a/\u00e9.png", "\u00e9/1.jpg", "a/y/1.PNG", "a/Y.jpg"]
    for i, name in enumerate(names):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        height, width = random.integers(20, 400, 2)
        y, x = np.mgrid[0:height, 0:width]
        waves = [np.sin(x / 9 + i) * 90 + y, np.cos(y / 7) * 90 + 2 * x, (x // 5 + y // 3) % 2 * 200.0]
        pixels = (np.stack(waves, -1) % 256).astype(np.uint8)
        mode = "L" if i == 3 else "CMYK" if i == 2 else "RGB"
        image = Image.fromarray(pixels).convert(mode)
        kind = "PNG" if name.lower().endswith("png") else "JPEG"
        image.save(path, kind, **({"quality": 90, "subsampling": i % 3} if kind == "JPEG" else {}))
    with open(os.path.join(folder, "a", "notes.txt"), "w", encoding="utf-8") as file:
        file.write("no image")


def check_folder(library):
    from torchvision import datasets, transforms
    from torchvision.transforms import InterpolationMode
    results = []
    with tempfile.TemporaryDirectory() as folder:
        make_folder(folder)
        for resize, crop, interpolation in ((256, 224, 0), (64, 56, 1), (40, 60, 0)):
            mode = InterpolationMode.BICUBIC if interpolation else InterpolationMode.BILINEAR
            expected = datasets.ImageFolder(folder, transforms.Compose([
                transforms.Resize(resize, mode), transforms.CenterCrop(crop), transforms.ToTensor(),
                transforms.Normalize(*IMAGENET)]))
            how = Preprocess(3, resize, crop, interpolation, *IMAGENET)
            classes, names, labels, inputs = library.load(folder, 0, how, 4)
            case = f"folder {resize} {crop} {mode.value}"
            results.append((f"{case} classes", [name.decode() for name in classes] == expected.classes))
            results.append((f"{case} names", names == [path for path, _ in expected.samples]))
            results.append((f"{case} labels", list(labels) == expected.targets))
            worst = max(np.abs(inputs[i] - expected[i][0].numpy()).max() for i in range(len(expected)))
            results.append((f"{case} inputs differ by {worst:.3g}", worst <= 1e-6 / min(IMAGENET[1])))
    return results


def main():
    library, results, skipped = Library(sys.argv[1]), [], 0
    if os.path.isdir(FASHION):
        results += check_fashion(library)
    else:
        print(f"SKIP Fashion-MNIST: {FASHION} is not there; Debian's dataset-fashion-mnist has it")
        skipped += 1
    try:
        import torchvision  # noqa: F401
    except ImportError:
        print("SKIP folders: no torchvision")
        skipped += 1
    else:
        results += check_folder(library)
    failed = [name for name, good in results if not good]
    for name in failed:
        print(f"FAIL {name}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed, {skipped} skipped")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
