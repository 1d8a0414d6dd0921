"""The C library as Python sees it: its structs, its functions, its errors, and the lifetime of its objects.

Functions stand here as C declarations, copied from tilewise.h, and are turned into ctypes prototypes; a compiler can
therefore check them against the header, which tests/python_test.py does, with the structs' layouts and the enums.
"""
import ctypes
import os
import re
import weakref
from ctypes import c_bool, c_char, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint8, c_uint64, c_void_p

import numpy as np

VERSION = "0.1.0"  # the header's that this package was written for
MAX_RANK = 8

# ---- enums ----

STATUS = {"TW_OK": 0, "TW_INVALID": 1, "TW_UNAVAILABLE": 2, "TW_OUT_OF_MEMORY": 3, "TW_FAILED": 4}
DTYPE = {"TW_F32": 1, "TW_F16": 3, "TW_F64": 5, "TW_I8": 6, "TW_U8": 7, "TW_I16": 8, "TW_I32": 9, "TW_I64": 10,
         "TW_BOOL": 11}
PRECISION = {"TW_PRECISION_FP32": 0, "TW_PRECISION_TF32": 1, "TW_PRECISION_FP16": 2, "TW_PRECISION_BF16": 3}
INTERPOLATION = {"TW_BILINEAR": 0, "TW_BICUBIC": 1}
SPLIT = {"TW_SPLIT_TEST": 0, "TW_SPLIT_TRAIN": 1}
INIT_SCHEME = {"TW_INIT_PYTORCH": 0, "TW_INIT_KAIMING": 1, "TW_INIT_XAVIER": 2}
DISTRIBUTION = {"TW_UNIFORM": 0, "TW_NORMAL": 1}
ENUMS = (STATUS, DTYPE, PRECISION, INTERPOLATION, SPLIT, INIT_SCHEME, DISTRIBUTION)
NUMPY_TYPES = {"TW_F32": "float32", "TW_F16": "float16", "TW_F64": "float64", "TW_I8": "int8", "TW_U8": "uint8",
               "TW_I16": "int16", "TW_I32": "int32", "TW_I64": "int64", "TW_BOOL": "bool"}
TO_NUMPY = {DTYPE[name]: np.dtype(numpy) for name, numpy in NUMPY_TYPES.items()}
FROM_NUMPY = {numpy: dtype for dtype, numpy in TO_NUMPY.items()}

# ---- structs ----

STRUCTS = {}


def struct(name, /, **fields):
    STRUCTS[name] = type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})
    return STRUCTS[name]


Error = struct("tw_error", status=c_int, message=c_char * 1024)
Shape = struct("tw_shape", rank=c_int, dims=c_int64 * MAX_RANK)
Tensor = struct("tw_tensor", dtype=c_int, shape=Shape, data=c_void_p)
Image = struct("tw_image", width=c_int, height=c_int, rgb=c_void_p)
Preprocess = struct("tw_preprocess", channels=c_int, resize=c_int, crop=c_int, interpolation=c_int, mean=c_float * 3,
                    std=c_float * 3, pad=c_int)
GraphInfo = struct("tw_graph_info", inputs=c_size_t, outputs=c_size_t, nodes=c_size_t, parameters=c_size_t,
                   parameter_count=c_size_t, flops=c_double)
InitDesc = struct("tw_init_desc", scheme=c_int, distribution=c_int, seed=c_uint64, random_statistics=c_bool)
ZooDesc = struct("tw_zoo_desc", classes=c_int, image_size=c_int)
OnnxDesc = struct("tw_onnx_desc", max_bytes=c_size_t)
DatasetDesc = struct("tw_dataset_desc", split=c_int, max_bytes=c_size_t)
DatasetInfo = struct("tw_dataset_info", format=c_char_p, images=c_size_t, classes=c_size_t, channels=c_int,
                     height=c_int, width=c_int, whole=c_bool, left_out=c_size_t)
LoaderDesc = struct("tw_loader_desc", preprocess=Preprocess, batch=c_int, threads=c_int, ahead=c_int, order=c_void_p,
                    count=c_size_t)
Batch = struct("tw_batch", count=c_int, pixels=c_void_p, indices=c_void_p, labels=c_void_p,
               errors=ctypes.POINTER(c_char_p), decode_seconds=c_double)
DeviceDesc = struct("tw_device_desc", threads=c_int, family=c_char_p)
DeviceInfo = struct("tw_device_info", id=c_char * 32, name=c_char * 128, features=c_char * 64, driver=c_char * 32,
                    threads=c_int, memory_bytes=c_size_t, peak_flops=c_double, peak_bytes=c_double, measured=c_bool)
PlanDesc = struct("tw_plan_desc", batch=c_int, precision=c_int, designs=c_char_p, fallback=c_bool,
                  keep_values=c_bool, no_fusion=c_bool, tuning=c_void_p)
PlanInfo = struct("tw_plan_info", batch=c_int, precision=c_int, steps=c_size_t, arena_bytes=c_size_t,
                  packed_bytes=c_size_t, weight_bytes=c_size_t, values_bytes=c_size_t)
StepInfo = struct("tw_step_info", name=c_char_p, op=c_char_p, design=c_char_p, output=c_char_p, note=c_char_p,
                  problem=c_char * 160, flops=c_double, bytes=c_double, predicted=c_double, measured=c_double,
                  workspace_bytes=c_size_t, packed_bytes=c_size_t, in_layout=c_char * 16,
                  out_layout=c_char * 16, launch=c_size_t)
RunTimes = struct("tw_run_times", upload=c_double, device=c_double, download=c_double)

# ---- functions ----

DECLARATIONS = """
const char *tw_version(void);
void tw_tensor_free(tw_tensor *tensor);
tw_status tw_weights_open(const char *path, tw_weights **weights, tw_error *error);
void tw_weights_release(tw_weights *weights);
tw_status tw_safetensors_write(const char *path, const char *const *names, const tw_tensor *tensors, size_t count,
    tw_error *error);
tw_status tw_image_read(const char *path, size_t max_pixels, tw_image *image, tw_error *error);
void tw_image_free(tw_image *image);
tw_status tw_image_preprocess(const tw_image *image, const tw_preprocess *how, float *out, tw_error *error);
void tw_graph_release(tw_graph *graph);
const char *tw_graph_name(const tw_graph *graph);
tw_status tw_graph_shape(const tw_graph *graph, tw_value value, tw_shape *shape, tw_error *error);
tw_value tw_graph_find(const tw_graph *graph, const char *name);
void tw_graph_describe(const tw_graph *graph, tw_graph_info *info);
tw_value tw_graph_input_at(const tw_graph *graph, size_t index);
tw_value tw_graph_output_at(const tw_graph *graph, size_t index);
const char *tw_graph_parameter(const tw_graph *graph, size_t index, tw_tensor *view);
tw_status tw_graph_bind(tw_graph *graph, tw_weights *weights, tw_error *error);
tw_status tw_graph_init(tw_graph *graph, const tw_init_desc *desc, tw_error *error);
size_t tw_zoo_count(void);
const char *tw_zoo_name(size_t index);
tw_status tw_zoo_create(const char *name, const tw_zoo_desc *desc, tw_graph **graph, tw_error *error);
tw_status tw_zoo_preprocess(const char *name, const tw_zoo_desc *desc, tw_preprocess *how, tw_error *error);
tw_status tw_onnx_read(const char *path, const tw_onnx_desc *desc, tw_graph **graph, tw_error *error);
tw_status tw_onnx_write(const char *path, const tw_graph *graph, tw_error *error);
tw_status tw_dataset_open(const char *path, const tw_dataset_desc *desc, tw_dataset **dataset, tw_error *error);
void tw_dataset_release(tw_dataset *dataset);
void tw_dataset_describe(const tw_dataset *dataset, tw_dataset_info *info);
const char *tw_dataset_class_name(const tw_dataset *dataset, size_t index);
int tw_dataset_label(const tw_dataset *dataset, size_t index);
void tw_dataset_image_name(const tw_dataset *dataset, size_t index, char *name, size_t size);
tw_status tw_loader_create(tw_dataset *dataset, const tw_loader_desc *desc, tw_loader **loader, tw_error *error);
tw_status tw_loader_create_files(const char *const *paths, size_t count, const tw_loader_desc *desc,
    tw_loader **loader, tw_error *error);
tw_status tw_loader_next(tw_loader *loader, tw_batch *batch, tw_error *error);
void tw_loader_destroy(tw_loader *loader);
tw_status tw_device_open(const char *name, const tw_device_desc *desc, tw_device **device, tw_error *error);
void tw_device_release(tw_device *device);
void tw_device_describe(const tw_device *device, tw_device_info *info);
tw_status tw_tuning_open(const char *folder, const tw_device *device, tw_precision precision, tw_tuning **tuning,
    tw_error *error);
void tw_tuning_release(tw_tuning *tuning);
tw_status tw_plan_create(tw_graph *graph, tw_device *device, const tw_plan_desc *desc, tw_plan **plan, tw_error *error);
void tw_plan_release(tw_plan *plan);
void tw_plan_describe(const tw_plan *plan, tw_plan_info *info);
void tw_plan_step(const tw_plan *plan, size_t index, tw_step_info *info);
tw_status tw_plan_input_shape(const tw_plan *plan, size_t index, tw_shape *shape, tw_error *error);
tw_status tw_plan_output_shape(const tw_plan *plan, size_t index, tw_shape *shape, tw_error *error);
tw_status tw_run_create(tw_plan *plan, tw_run **run, tw_error *error);
void tw_run_release(tw_run *run);
tw_status tw_run_execute(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, tw_error *error);
tw_status tw_run_profile(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, double *step_seconds,
    tw_error *error);
tw_status tw_run_measured(const tw_run *run, tw_run_times *times, tw_error *error);
tw_status tw_run_value(const tw_run *run, const char *name, tw_tensor *tensor, tw_error *error);
"""


def ctype(declaration):
    """'const tw_shape *shape' -> POINTER(Shape); an opaque object is a void pointer."""
    name, stars, inner = re.fullmatch(r"(?:const )?(\w+) ?(\*?(?:const )?)(\*?)\w*", declaration).groups()
    depth = stars.count("*") + inner.count("*")
    plain = {"int": c_int, "size_t": c_size_t, "tw_status": c_int, "tw_value": c_int, "tw_precision": c_int}
    if depth == 0:
        return None if name == "void" else plain[name]
    if name in STRUCTS:
        return ctypes.POINTER(STRUCTS[name])
    if name in ("char", "float", "double"):
        target = c_char_p if name == "char" else c_void_p
        return ctypes.POINTER(target) if depth == 2 else target
    return ctypes.POINTER(c_void_p) if depth == 2 else c_void_p


def declare(library):
    for result, name, parameters in re.findall(r"(\S[^;]*?)(tw_\w+)\(([^;]*)\);", DECLARATIONS):
        function = getattr(library, name)
        function.restype = ctype(result.strip())
        function.argtypes = [] if parameters == "void" else [ctype(p) for p in re.split(r",\s+", parameters)]


def candidates():
    """Where the library may be, in this order: what TILEWISE_LIBRARY says and nothing else, or the checkout's build,
    or wherever the system's loader looks."""
    chosen = os.environ.get("TILEWISE_LIBRARY")
    if chosen:
        return [chosen]
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [os.path.join(checkout, "build", "release", "libtilewise.so"), "libtilewise.so.0"]


def load():
    tried = []
    for path in candidates():
        try:
            found = ctypes.CDLL(path)
            declare(found)
        except (OSError, AttributeError) as problem:
            tried.append(f"{path} ({problem})")
            continue
        version = found.tw_version().decode()
        if version != VERSION:
            raise ImportError(f"{path}: is Tilewise {version}, this package is for {VERSION}")
        return found
    raise ImportError("no libtilewise.so: tried " + ", ".join(tried) + "; build it or set TILEWISE_LIBRARY to its path")


library = load()

# ---- errors ----


class TilewiseError(Exception):
    """What the library refused or failed to do; `status` is the C status' name in lower case."""
    status = "failed"


class Invalid(TilewiseError, ValueError):
    """Bad input: a file, a name, a shape, an argument."""
    status = "invalid"


class Unavailable(TilewiseError):
    """A known device, design or precision that is not there or does not apply."""
    status = "unavailable"


class OutOfMemory(TilewiseError, MemoryError):
    """The machine's or the caller's limit."""
    status = "out_of_memory"


class Failed(TilewiseError):
    """The system or the device failed."""


EXCEPTIONS = {1: Invalid, 2: Unavailable, 3: OutOfMemory, 4: Failed}


def raise_error(status, error):
    raise EXCEPTIONS[status](error.message.decode(errors="replace"))


def call(name, *arguments):
    """Calls a function whose last parameter is the error and raises what it says."""
    error = Error()
    status = getattr(library, name)(*arguments, error)
    if status:
        raise_error(status, error)


# ---- objects ----


class Pointer:
    """Owns one object of the library. Whoever needs the object alive holds the Pointer; the last one releases it."""

    def __init__(self, release, address):
        self.release, self.address = getattr(library, release), address
        self.views = weakref.WeakSet()  # arrays over the object's memory

    def __del__(self):
        self.release(self.address)


class Handle:
    """A Python object with a Pointer that close() gives up, as do the end of a with statement and collection."""
    release = kind = ""

    def create(self, function, *arguments):
        address = c_void_p()
        error = Error()
        status = getattr(library, function)(*arguments, ctypes.byref(address), error)
        if status:
            raise_error(status, error)
        self.owner = Pointer(self.release, address.value)

    @property
    def pointer(self):
        owner = getattr(self, "owner", None)
        if owner is None:
            raise Invalid(f"this {self.kind} is closed")
        return owner.address

    def close(self):
        self.owner = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class View:
    """NumPy's array interface over memory of the library, which stays while an array made from it does."""

    def __init__(self, tensor, owner):
        self.owner = owner
        self.__array_interface__ = {"version": 3, "shape": dims(tensor.shape), "data": (tensor.data, True),
                                    "typestr": TO_NUMPY[tensor.dtype].str}


def view(tensor, owner):
    memory = View(tensor, owner)
    owner.views.add(memory)
    return np.asarray(memory)


# ---- conversions ----


def text(value):
    return None if value is None else value.decode(errors="replace")


def encode_path(path):
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise Invalid(f"{path!r}: a path with a zero byte")
    return encoded


def encode_name(name, what):
    if not isinstance(name, str) or "\0" in name:
        raise Invalid(f"{what} is {name!r}, expected a string without zero bytes")
    return name.encode()


def whole(value, what, largest=2**31 - 1):
    """A number that a C integer holds; ctypes would cut it silently."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= largest:
        raise Invalid(f"{what} is {value!r}, expected an integer from 0 to {largest}")
    return int(value)


def choose(value, names, what):
    """The C value of a Python name: 'fp32' of TW_PRECISION_FP32."""
    short = {name.rsplit("_", 1)[1].lower(): number for name, number in names.items()}
    if value not in short:
        raise Invalid(f"{what} is {value!r}, expected one of {', '.join(short)}")
    return short[value]


def dims(shape):
    return tuple(shape.dims[:shape.rank])


def make_tensor(array):
    if array.ndim > MAX_RANK:
        raise Invalid(f"an array of {array.ndim} dimensions, expected at most {MAX_RANK}")
    if array.dtype not in FROM_NUMPY:
        raise Invalid(f"an array of {array.dtype}, expected one of {', '.join(NUMPY_TYPES.values())}")
    return Tensor(FROM_NUMPY[array.dtype], Shape(array.ndim, (c_int64 * MAX_RANK)(*array.shape)), array.ctypes.data)


def copy(address, dtype, shape):
    array = np.empty(shape, dtype)
    ctypes.memmove(array.ctypes.data, address, array.nbytes)
    return array
