"""Data sets of labelled images, and the loader that prepares their batches on threads of its own."""
import ctypes
import threading
from typing import NamedTuple, Optional, Tuple

import numpy as np

from . import native
from .native import Handle, Invalid, call, library

NAME_BYTES = 4096


class Dataset(Handle):
    """IDX files, CIFAR's binary version or a folder of images a class, told apart by what is there."""
    release, kind = "tw_dataset_release", "data set"

    def __init__(self, path, *, split="test", max_bytes=0):
        desc = native.DatasetDesc(native.choose(split, native.SPLIT, "split"),
                                  native.whole(max_bytes, "max_bytes", 2**64 - 1))
        self.create("tw_dataset_open", native.encode_path(path), desc)
        info = native.DatasetInfo()
        library.tw_dataset_describe(self.pointer, info)
        self.format, self.images, self.classes = native.text(info.format), info.images, info.classes
        self.shape = (info.channels, info.height, info.width) if info.channels else None  # None: each its own

    def __len__(self):
        return self.images

    def index(self, value, count):
        if not -count <= value < count:
            raise IndexError(f"{value} is outside of the data set's {count}")
        return value % count

    def class_name(self, index):
        return native.text(library.tw_dataset_class_name(self.pointer, self.index(index, self.classes)))

    def label(self, index):
        return library.tw_dataset_label(self.pointer, self.index(index, self.images))

    def image_name(self, index):
        name = ctypes.create_string_buffer(NAME_BYTES)
        library.tw_dataset_image_name(self.pointer, self.index(index, self.images), name, NAME_BYTES)
        return native.text(name.value)


class Batch(NamedTuple):
    pixels: np.ndarray  # float32 [count][channels][height][width]
    labels: np.ndarray  # int32 [count]; -1 where there is none
    indices: np.ndarray  # [count] in the data set
    errors: Tuple[Optional[str], ...]  # what is wrong with the file, whose pixels are zeros


class Loader(Handle):
    """An iterator over Batches of a Dataset or of a list of image files, in order, read and decoded ahead."""
    release, kind = "tw_loader_destroy", "loader"

    def __init__(self, source, preprocess, *, batch=1, threads=0, ahead=0, order=None, count=0):
        self.image_shape = preprocess.shape
        self.lock = threading.Lock()
        desc = native.LoaderDesc(preprocess.struct(), native.whole(batch, "batch"), native.whole(threads, "threads"),
                                 native.whole(ahead, "ahead"), None, native.whole(count, "count", 2**64 - 1))
        if order is not None:
            indices = np.ascontiguousarray(order)
            if indices.ndim != 1 or indices.dtype.kind not in "iu" or (indices.size and indices.min() < 0):
                raise Invalid("order is no list of indices")
            indices = indices.astype(np.uintp)
            desc.order, desc.count = indices.ctypes.data, indices.size
        if isinstance(source, Dataset):
            self.create("tw_loader_create", source.pointer, desc)
        elif isinstance(source, (str, bytes)):
            raise Invalid("the source is one string, expected a Dataset or a list of files")
        else:
            paths = [native.encode_path(path) for path in source]
            self.create("tw_loader_create_files", (ctypes.c_char_p * len(paths))(*paths), len(paths), desc)

    def __iter__(self):
        return self

    def __next__(self):
        """The batch is a copy: the library's own is overwritten by the next one."""
        with self.lock:
            batch = native.Batch()
            call("tw_loader_next", self.pointer, ctypes.byref(batch))
            if batch.count == 0:
                raise StopIteration
            shape = (batch.count, *self.image_shape)
            return Batch(native.copy(batch.pixels, np.float32, shape),
                         native.copy(batch.labels, np.int32, (batch.count,)),
                         native.copy(batch.indices, np.uintp, (batch.count,)),
                         tuple(native.text(batch.errors[i]) for i in range(batch.count)))

    def close(self):
        with self.lock:
            super().close()
