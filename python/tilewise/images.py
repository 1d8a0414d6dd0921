"""Photographs, and what makes network inputs of them."""
import ctypes
from typing import NamedTuple, Tuple

import numpy as np

from . import native
from .native import Invalid, call, library


class Preprocess(NamedTuple):
    """As torchvision and Pillow define it: resize the shorter side (0: both, to `crop`), crop the centre, normalise,
    pad with zeros."""
    crop: int
    resize: int = 0
    channels: int = 3
    interpolation: str = "bilinear"
    mean: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: Tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad: int = 0

    @classmethod
    def zoo(cls, name, *, classes=0, image_size=0):
        """How a zoo network wants its images."""
        how = native.Preprocess()
        desc = native.ZooDesc(native.whole(classes, "classes"), native.whole(image_size, "image_size"))
        call("tw_zoo_preprocess", native.encode_name(name, "the network"), desc, ctypes.byref(how))
        bicubic = how.interpolation == native.INTERPOLATION["TW_BICUBIC"]
        return cls(how.crop, how.resize, how.channels, "bicubic" if bicubic else "bilinear", tuple(how.mean),
                   tuple(how.std), how.pad)

    @property
    def shape(self):
        side = self.crop + 2 * self.pad
        return self.channels, side, side

    def struct(self):
        if not isinstance(self.channels, int) or self.channels not in (1, 3):
            raise Invalid(f"channels is {self.channels!r}, expected 1 or 3")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise Invalid(f"mean and std have {len(self.mean)} and {len(self.std)} numbers, expected 3")
        side = 2**15  # float32 pixels of the largest square that is no mistake
        return native.Preprocess(
            self.channels, native.whole(self.resize, "resize", side), native.whole(self.crop, "crop", side),
            native.choose(self.interpolation, native.INTERPOLATION, "interpolation"),
            (ctypes.c_float * 3)(*self.mean), (ctypes.c_float * 3)(*self.std), native.whole(self.pad, "pad", side))


def read_image(path, *, max_pixels=0):
    """A JPEG or PNG file as uint8 [height][width][3]."""
    image = native.Image()
    call("tw_image_read", native.encode_path(path), native.whole(max_pixels, "max_pixels", 2**64 - 1),
         ctypes.byref(image))
    try:
        return native.copy(image.rgb, np.uint8, (image.height, image.width, 3))
    finally:
        library.tw_image_free(image)


def preprocess(image, how):
    """Float32 [channels][height][width] of uint8 [height][width][3]; add [None] for a batch of one."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise Invalid(f"the image is {found}, expected uint8 (height, width, 3)")
    desc = how.struct()
    image = np.ascontiguousarray(image)
    height, width = (native.whole(side, "the image's side") for side in image.shape[:2])
    out = np.empty(how.shape, np.float32)
    call("tw_image_preprocess", native.Image(width, height, image.ctypes.data), desc, out.ctypes.data)
    return out
