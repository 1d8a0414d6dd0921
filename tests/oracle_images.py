"""Decoding, resizing and preprocessing against Pillow and NumPy: images of every mode, size and orientation, and the
photographs that scripts/fetch-data fetches. What is lossless must be equal, JPEG within 1 of 255 on every pixel.

    tests/oracle_images.py BUILD_DIR
"""
import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

try:
    import numpy as np
    from PIL import Image, ImageOps
except ImportError as missing:
    print(f"SKIP images: {missing}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
SIZES = [(1, 1), (2, 3), (7, 5), (8, 8), (9, 17), (33, 16), (64, 48), (301, 1), (1, 77), (131, 97)]
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


# ---- images ----


def picture(width, height, seed=0):
    """Smooth colours, hard edges and noise: uint8 [height][width][3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / 9 + seed) * 90 + y, np.cos(y / 7) * 90 + 2 * x, (x // 5 + y // 3) % 2 * 200.0]
    noise = random.normal(0, 12, (height, width, 3))
    return np.clip(np.stack(planes, -1) % 256 + noise, 0, 255).astype(np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed_rows(samples, depth):
    """PNG's rows, without filters: samples [height][width * channels] of `depth` bits."""
    rows = []
    for row in samples:
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        elif depth == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        rows.append(b"\0" + packed)
    return b"".join(rows)


def png(samples, colour, depth, interlaced=False, extra=()):
    """A PNG file of samples [height][width][channels]; `extra` chunks come before the pixels."""
    height, width, channels = samples.shape
    if interlaced:
        passes = [samples[y0::dy, x0::dx] for x0, y0, dx, dy in ADAM7]
        raw = b"".join(packed_rows(part.reshape(part.shape[0], -1), depth) for part in passes if part.size)
    else:
        raw = packed_rows(samples.reshape(height, width * channels), depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_adobe(data, transform):
    """The JPEG with an Adobe marker of that transform: 0 is RGB or CMYK, 1 YCbCr, 2 YCCK; None: without a marker."""
    at = data.find(b"\xff\xee\x00\x0eAdobe")
    if at >= 0:
        data = data[:at] + data[at + 16:]
    if transform is None:
        return data
    return data[:2] + segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)) + data[2:]


def without_jfif(data):
    return data[:2] + data[20:] if data[2:4] == b"\xff\xe0" else data


def tiff(orientation, order=">", kind=3, before=0):
    """A TIFF block whose first directory has `before` other entries and the orientation."""
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else struct.pack(order + "I", orientation)
    entries = [struct.pack(order + "HHII", 0x100 + i, 4, 1, 8) for i in range(before)]
    entries.append(struct.pack(order + "HHI", 0x112, kind, 1) + value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + 4)
    return head + b"\0" * 4 + struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0" * 4


# ---- what is expected ----


def by_pillow(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def crop_or_pad(pixels, crop):
    """torchvision's center_crop of [height][width][channels]."""
    height, width = pixels.shape[:2]
    pad_x, pad_y = max(crop - width, 0), max(crop - height, 0)
    pixels = np.pad(pixels, ((pad_y // 2, (pad_y + 1) // 2), (pad_x // 2, (pad_x + 1) // 2), (0, 0)))
    height, width = pixels.shape[:2]
    top, left = int(round((height - crop) / 2.0)), int(round((width - crop) / 2.0))
    return pixels[top:top + crop, left:left + crop]


def by_torchvision(image, how):
    """Resize, CenterCrop, ToTensor, Normalize, Pad."""
    if how["channels"] == 1:
        image = image.convert("L")
    width, height = image.size
    shorter, longer = min(width, height), max(width, height)
    size = (how["crop"], how["crop"])
    if how["resize"]:
        new = (how["resize"], int(how["resize"] * longer / shorter))
        size = new if width <= height else new[::-1]
    image = image.resize(size, FILTERS[how["filter"]])
    pixels = crop_or_pad(np.asarray(image).reshape(size[1], size[0], how["channels"]), how["crop"])
    mean, std = np.float32(how["mean"]), np.float32(how["std"])
    values = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.pad(values, ((how["pad"], how["pad"]), (how["pad"], how["pad"]), (0, 0))).transpose(2, 0, 1)


# ---- comparison ----


class Oracle:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.passed = self.failed = 0

    def dump(self, verb, data, *options):
        """The helper's output for an image file, or its error as a string."""
        path = os.path.join(self.folder, "image")
        with open(path, "wb") as file:
            file.write(data)
        done = subprocess.run([self.program, verb, path, *map(str, options)], capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else f"status {done.returncode}: {done.stderr.decode().strip()}"

    def pixels(self, verb, data, *options):
        out = self.dump(verb, data, *options)
        if isinstance(out, str):
            return out
        size, _, raw = out.partition(b"\n")
        width, height = map(int, size.split())
        return np.frombuffer(raw, np.uint8).reshape(height, width, 3)

    def compare(self, name, actual, expected, tolerance):
        problem = None
        if isinstance(actual, str):
            problem = actual
        elif actual.shape != expected.shape:
            problem = f"shape {actual.shape}, expected {expected.shape}"
        else:
            worst = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
            if not worst <= tolerance:
                problem = f"differs by {worst:.6g}, at most {tolerance:.6g} is allowed"
        if problem:
            print(f"FAIL {name}: {problem}")
        self.passed += problem is None
        self.failed += problem is not None

    def read(self, name, data, tolerance, expected=None):
        if expected is None:
            expected = np.asarray(by_pillow(data))
        self.compare(name, self.pixels("read", data), expected, tolerance)

    def resize(self, name, data, size, filter_name):
        expected = np.asarray(by_pillow(data).resize(size, FILTERS[filter_name]))
        self.compare(f"{name} to {size[0]}x{size[1]} {filter_name}",
                     self.pixels("resize", data, *size, filter_name), expected, 0)

    def input(self, name, data, how, tolerance):
        moments = [value for pair in zip(how["mean"], how["std"]) for value in pair]
        out = self.dump("input", data, how["channels"], how["resize"], how["crop"], how["filter"], how["pad"], *moments)
        expected = by_torchvision(by_pillow(data), how)
        actual = out if isinstance(out, str) else np.frombuffer(out, np.float32).reshape(expected.shape)
        label = " ".join(f"{key}={how[key]}" for key in ("channels", "resize", "crop", "filter", "pad"))
        self.compare(f"{name} {label}", actual, expected, (tolerance / 255 + 1e-6) / min(how["std"]))


def check_png(oracle):
    random = np.random.default_rng(1)
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for width, height in SIZES:
                samples = random.integers(0, 1 << depth, (height, width, CHANNELS[colour]))
                extra = []
                if colour == PALETTE:
                    extra = [chunk(b"PLTE", random.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes())]
                expected = None
                if (colour, depth) == (GREY, 16):  # Pillow clips
                    expected = np.repeat((samples >> 8).astype(np.uint8), 3, 2)
                for interlaced in (False, True):
                    name = f"png colour {colour} depth {depth} {width}x{height} interlaced {interlaced}"
                    oracle.read(name, png(samples, colour, depth, interlaced, extra), 0, expected)


def check_png_extras(oracle):
    random = np.random.default_rng(2)
    rgb, grey = picture(40, 30), picture(40, 30)[:, :, :1]
    index = random.integers(0, 16, (30, 40, 1))
    palette = chunk(b"PLTE", random.integers(0, 256, 48, dtype=np.uint8).tobytes())
    oracle.read("png palette with alpha", png(index, PALETTE, 8, extra=[palette, chunk(b"tRNS", bytes(range(16)))]), 0)
    oracle.read("png palette with one clear entry",
                png(index, PALETTE, 4, extra=[palette, chunk(b"tRNS", b"\xff\xff\0")]), 0)
    oracle.read("png grey with a clear value", png(grey, GREY, 8, extra=[chunk(b"tRNS", b"\0\x10")]), 0)
    oracle.read("png colour with a clear value", png(rgb, RGB, 8, extra=[chunk(b"tRNS", b"\0\1\0\2\0\3")]), 0)
    oracle.read("png with gamma", png(rgb, RGB, 8, extra=[chunk(b"gAMA", struct.pack(">I", 100000))]), 0)
    oracle.read("png with text", png(rgb, RGB, 8, extra=[chunk(b"zTXt", b"key\0\0" + zlib.compress(b"x" * 99))]), 0)
    for orientation in range(0, 10):
        oracle.read(f"png orientation {orientation}",
                    png(rgb, RGB, 8, extra=[chunk(b"eXIf", tiff(orientation))]), 0)
    late = png(rgb, RGB, 8)[:-12] + chunk(b"eXIf", tiff(6)) + chunk(b"IEND", b"")
    oracle.read("png orientation after the pixels", late, 0)


def check_jpeg(oracle):
    for width, height in SIZES:
        rgb = Image.fromarray(picture(width, height))
        for subsampling in (0, 1, 2):
            for quality in (20, 75, 95):
                for progressive in (False, True):
                    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
                    oracle.read(f"jpeg {width}x{height} {options}", jpeg(rgb, **options), 1)
        for progressive in (False, True):
            oracle.read(f"jpeg grey {width}x{height}", jpeg(rgb.convert("L"), progressive=progressive), 1)
            inks = np.dstack([picture(width, height), picture(width, height, 3)[:, :, 0]])
            cmyk = jpeg(Image.fromarray(inks, "CMYK"), progressive=progressive)
            for transform in (0, 2, None):
                oracle.read(f"jpeg cmyk {width}x{height} transform {transform}", with_adobe(cmyk, transform), 1)
        data = jpeg(rgb, subsampling=0)
        for transform in (0, 1):
            oracle.read(f"jpeg {width}x{height} adobe transform {transform}",
                        with_adobe(without_jfif(data), transform), 1)


def check_orientation(oracle):
    image = Image.fromarray(picture(83, 45))
    for orientation in range(0, 10):
        for order in "<>":
            for kind in (3, 4):
                exif = tiff(orientation, order, kind, before=orientation)
                oracle.read(f"jpeg orientation {orientation} order {order} kind {kind}",
                            jpeg(image, exif=b"Exif\0\0" + exif), 1)
    plain = jpeg(image)
    two = plain[:2] + segment(0xE1, b"Exif\0\0" + tiff(6)) + segment(0xE1, b"Exif\0\0" + tiff(3)) + plain[2:]
    oracle.read("jpeg with two orientations", two, 1)
    other = plain[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0x") + plain[2:]
    oracle.read("jpeg with another kind of APP1", other, 1)


def check_resize(oracle):
    targets = [(1, 1), (3, 2), (16, 33), (64, 48), (131, 40), (100, 97), (224, 224), (500, 7)]
    for width, height in SIZES:
        data = png(picture(width, height), RGB, 8)
        for target in targets:
            for filter_name in FILTERS:
                oracle.resize(f"resize {width}x{height}", data, target, filter_name)


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LITE = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
INPUTS = [
    {"channels": 3, "resize": 256, "crop": 224, "filter": "bilinear", "pad": 0, **IMAGENET},
    {"channels": 3, "resize": 256, "crop": 224, "filter": "bicubic", "pad": 0, **LITE},
    {"channels": 3, "resize": 0, "crop": 65, "filter": "bicubic", "pad": 3, **IMAGENET},
    {"channels": 1, "resize": 0, "crop": 28, "filter": "bilinear", "pad": 2, "mean": (0.0,), "std": (1.0,)},
    {"channels": 1, "resize": 40, "crop": 51, "filter": "bicubic", "pad": 0, "mean": (0.5,), "std": (0.25,)},
    {"channels": 3, "resize": 31, "crop": 38, "filter": "bilinear", "pad": 1, **IMAGENET},
    {"channels": 3, "resize": 37, "crop": 10, "filter": "bicubic", "pad": 0, **IMAGENET},
]


def check_inputs(oracle):
    for width, height in SIZES + [(451, 300), (300, 451), (640, 427), (256, 256), (257, 255)]:
        data = png(picture(width, height), RGB, 8)
        for how in INPUTS:
            oracle.input(f"input {width}x{height}", data, how, 0)


def check_photographs(oracle):
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    folder = os.path.join(os.environ.get("TILEWISE_DATA") or os.path.join(home, "tilewise"), "photos")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = [name for name in names if name.lower().endswith((".png", ".jpg", ".jpeg"))]
    if not names:
        print(f"SKIP photographs: {folder} has none; scripts/fetch-data fetches them")
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        tolerance = 0 if name.endswith(".png") else 1
        expected = None
        image = Image.open(io.BytesIO(data))
        if image.mode == "I":
            expected = np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, 2)
        oracle.read(name, data, tolerance, expected)
        for how in INPUTS if expected is None else []:
            oracle.input(name, data, how, tolerance)
    return 0 if names else 1


def main():
    program = os.path.join(sys.argv[1], "tests", "image_dump")
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle(program, folder)
        check_png(oracle)
        check_png_extras(oracle)
        check_jpeg(oracle)
        check_orientation(oracle)
        check_resize(oracle)
        check_inputs(oracle)
        skipped = check_photographs(oracle)
    print(f"{oracle.passed} passed, {oracle.failed} failed, {skipped} skipped")
    return int(oracle.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
