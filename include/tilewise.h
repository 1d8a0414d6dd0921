/* Tilewise: run, train and profile convolutional image classifiers, and compare every design of every layer.
 *
 * A graph says what the network means. A plan is how one device does it, with all memory placed. A run executes a
 * plan; it allocates nothing and decides nothing.
 *
 *   tw_zoo_create() or tw_graph_create() -> tw_graph_bind() -> tw_plan_create() -> tw_run_create() -> tw_run_execute()
 *
 * Errors: every function that can fail returns a tw_status and, where `error` is not null, writes a message that says
 * what, where and what was expected. The library prints nothing, keeps no global state and never exits.
 * Threads: a device, a graph that is no longer changed and a plan may be shared by any number of threads; a run
 * belongs to one thread at a time. Objects are released by their owner; those that need another object keep it alive.
 * Descriptions are structs in which zero means the default. */
#ifndef TILEWISE_H
#define TILEWISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TW_VERSION "0.1.0"
#define TW_MAX_RANK 8

/* ---- errors ---- */

typedef enum tw_status {
    TW_OK,
    TW_INVALID,       /* bad input: a file, a name, a shape, an argument */
    TW_UNAVAILABLE,   /* a known device, design or precision that is not there or does not apply */
    TW_OUT_OF_MEMORY, /* the machine's or the caller's limit */
    TW_FAILED         /* the system or the device failed: disk, driver, a lost peer */
} tw_status;

typedef struct tw_error {
    tw_status status;
    char message[1024]; /* one line, no final full stop or newline */
} tw_error;

const char *tw_version(void);

/* ---- tensors: dense, row-major, in host memory ---- */

typedef enum tw_dtype {
    TW_ABSENT, /* an optional operand that is not there */
    TW_F32,
    TW_TF32, /* float32 in memory, rounded to 10 bits of mantissa when multiplied */
    TW_F16,
    TW_BF16,
    TW_F64,
    TW_I8,
    TW_U8,
    TW_I16,
    TW_I32,
    TW_I64,
    TW_BOOL
} tw_dtype;

typedef struct tw_shape {
    int rank;
    int64_t dims[TW_MAX_RANK];
} tw_shape;

typedef struct tw_tensor {
    tw_dtype dtype;
    tw_shape shape;
    void *data;
} tw_tensor;

size_t tw_dtype_bytes(tw_dtype dtype);
const char *tw_dtype_name(tw_dtype dtype);

/* The product of the dimensions; TW_INVALID where one is negative or the product or its bytes overflow. */
tw_status tw_shape_count(const tw_shape *shape, tw_dtype dtype, size_t *count, tw_error *error);

/* Allocates 64-byte aligned data, set to zero. */
tw_status tw_tensor_create(tw_dtype dtype, const tw_shape *shape, tw_tensor *tensor, tw_error *error);
void tw_tensor_free(tw_tensor *tensor);

/* NumPy's .npy, versions 1 to 3, C or Fortran order, little-endian (NumPy Enhancement Proposal 1). Reading refuses a
 * file whose data is larger than max_bytes (0: 4 GiB). Writing goes through a temporary name. */
tw_status tw_npy_read(const char *path, size_t max_bytes, tw_tensor *tensor, tw_error *error);
tw_status tw_npy_write(const char *path, const tw_tensor *tensor, tw_error *error);

/* ---- weights: named tensors, memory-mapped ---- */

typedef struct tw_weights tw_weights;

/* Opens a .safetensors file or a PyTorch state_dict (.pt, .pth, .bin; zip or legacy), told apart by content. Tensors
 * are views of the mapped file, in row-major order (others are copied) but possibly unaligned to their element: copy
 * numbers out with memcpy. A state_dict is read by a pickle machine that knows only what a state_dict holds and refuses
 * everything else; no code in the file is run. */
tw_status tw_weights_open(const char *path, tw_weights **weights, tw_error *error);
void tw_weights_release(tw_weights *weights);
size_t tw_weights_count(const tw_weights *weights);
const char *tw_weights_name(const tw_weights *weights, size_t index);
/* A read-only view, valid while the weights are open; null where there is none of that name. */
const tw_tensor *tw_weights_at(const tw_weights *weights, size_t index);
const tw_tensor *tw_weights_find(const tw_weights *weights, const char *name);

/* Writes named tensors as safetensors, through a temporary name. */
tw_status tw_safetensors_write(const char *path, const char *const *names, const tw_tensor *tensors, size_t count,
                               tw_error *error);

/* ---- images ---- */

typedef struct tw_image {
    int width, height;
    uint8_t *rgb; /* [height][width][3] */
} tw_image;

/* JPEG (grey, RGB, YCbCr, CMYK and YCCK) or PNG (any colour type and depth), told apart by content, with EXIF's
 * orientation applied. Transparency is dropped and 16 bits lose their low byte, as in Pillow's convert("RGB"); 16-bit
 * grey does so too, where Pillow clips it at 255. Refuses truncated and damaged files, sides of more than 1,000,000 and
 * images of more than max_pixels (0: 178,956,970, as Pillow). */
tw_status tw_image_read(const char *path, size_t max_pixels, tw_image *image, tw_error *error);
void tw_image_free(tw_image *image);

typedef enum tw_interpolation { TW_BILINEAR, TW_BICUBIC } tw_interpolation;

/* From photograph to network input, as torchvision and Pillow define it: the shorter side is resized to `resize`
 * (antialiased, 8 bits a channel between the two passes), the longer truncated to int(resize * long / short); the
 * centre crop starts at round((size - crop) / 2), ties to even, and black pixels surround an image smaller than it;
 * then y = (x / 255 - mean) / std for each channel. */
typedef struct tw_preprocess {
    int channels; /* 3: RGB; 1: grey by ITU-R 601-2 luma, as Pillow's convert("L"), before resizing */
    int resize;   /* 0: width and height are both resized to `crop` */
    int crop;
    tw_interpolation interpolation;
    float mean[3], std[3];
    int pad; /* zeros added on each side after the crop: LeNet-5's 28 to 32 */
} tw_preprocess;

/* Writes float32 [channels][crop + 2 pad][crop + 2 pad]. */
tw_status tw_image_preprocess(const tw_image *image, const tw_preprocess *how, float *out, tw_error *error);
/* The resize alone, as Pillow's Image.resize; used by tests and by callers with their own preprocessing. */
tw_status tw_image_resize(const tw_image *image, int width, int height, tw_interpolation interpolation, tw_image *out,
                          tw_error *error);

/* ---- graphs ---- */

typedef struct tw_graph tw_graph;
typedef int tw_value; /* a tensor in a graph; negative: the call that made it failed */

/* Building functions return a negative value on failure and accept one: the graph remembers the first failure, and
 * tw_graph_check(), tw_graph_bind() and tw_plan_create() report it. So a network is built without a check at each
 * line. Activations are [n][channels][height][width] or [n][features], with n given as 1; a plan sets the batch.
 * Names are copied; a node's parameters are called NAME.weight, NAME.bias and so on, as in a PyTorch state_dict. */
tw_status tw_graph_create(const char *name, tw_graph **graph, tw_error *error);
void tw_graph_release(tw_graph *graph);
const char *tw_graph_name(const tw_graph *graph);
tw_status tw_graph_check(const tw_graph *graph, tw_error *error);

tw_value tw_graph_input(tw_graph *graph, const char *name, const tw_shape *shape);
void tw_graph_output(tw_graph *graph, tw_value value);

typedef enum tw_activation { TW_ACT_NONE, TW_ACT_RELU, TW_ACT_RELU6 } tw_activation;

/* Cross-correlation, zero-padded. A second element of 0 repeats the first. Weights [out][in / groups][kh][kw]. */
typedef struct tw_conv2d_desc {
    const char *name;
    int out_channels;
    int kernel[2];   /* height, width */
    int stride[2];   /* 0: 1 */
    int dilation[2]; /* 0: 1, dense */
    int padding[4];  /* top, left, bottom, right: no element is repeated */
    int groups;      /* 0: 1 */
    bool bias;
} tw_conv2d_desc;
tw_value tw_graph_conv2d(tw_graph *graph, tw_value x, const tw_conv2d_desc *desc);

/* y[n][out] = x[n][in] * weight[out][in]^T + bias */
typedef struct tw_linear_desc {
    const char *name;
    int out_features;
    bool bias;
} tw_linear_desc;
tw_value tw_graph_linear(tw_graph *graph, tw_value x, const tw_linear_desc *desc);

typedef enum tw_pool_kind { TW_POOL_MAX, TW_POOL_AVERAGE, TW_POOL_ADAPTIVE_AVERAGE } tw_pool_kind;
typedef struct tw_pool_desc {
    const char *name;
    tw_pool_kind kind;
    int kernel[2];
    int stride[2];   /* 0: the kernel, as in PyTorch */
    int padding[4];  /* top, left, bottom, right */
    int dilation[2]; /* max only; 0: 1 */
    int output[2];   /* adaptive only: height, width; 1 is global average pooling */
    bool ceil_mode;
    bool count_include_pad; /* average only */
} tw_pool_desc;
tw_value tw_graph_pool(tw_graph *graph, tw_value x, const tw_pool_desc *desc);

tw_value tw_graph_relu(tw_graph *graph, tw_value x, const char *name);
/* min(max(x, low), high); relu6 is 0, 6 */
tw_value tw_graph_clip(tw_graph *graph, tw_value x, float low, float high, const char *name);
tw_value tw_graph_add(tw_graph *graph, tw_value a, tw_value b, const char *name);
/* Along channels; 1 to 16 values. */
tw_value tw_graph_concat(tw_graph *graph, const tw_value *values, int count, const char *name);
/* Over channels (or features). */
tw_value tw_graph_softmax(tw_graph *graph, tw_value x, const char *name);
/* Inference form: (x - running_mean) / sqrt(running_var + epsilon) * weight + bias */
tw_value tw_graph_batchnorm(tw_graph *graph, tw_value x, float epsilon, const char *name);
/* PyTorch's LocalResponseNorm: x / (k + alpha / size * sum of squares over `size` channels)^beta */
typedef struct tw_lrn_desc {
    const char *name;
    int size;
    float alpha, beta, k;
} tw_lrn_desc;
tw_value tw_graph_lrn(tw_graph *graph, tw_value x, const tw_lrn_desc *desc);
tw_value tw_graph_dropout(tw_graph *graph, tw_value x, float probability, const char *name);
/* Everything but the batch becomes one dimension. */
tw_value tw_graph_flatten(tw_graph *graph, tw_value x, const char *name);
/* shape->dims[0] is the batch and stays; one other dimension may be -1. */
tw_value tw_graph_reshape(tw_graph *graph, tw_value x, const tw_shape *shape, const char *name);

/* The inferred shape, with batch 1. */
tw_status tw_graph_shape(const tw_graph *graph, tw_value value, tw_shape *shape, tw_error *error);
tw_value tw_graph_find(const tw_graph *graph, const char *name); /* negative: none */

typedef struct tw_graph_info {
    size_t inputs, outputs, nodes, parameters; /* parameters: tensors */
    size_t parameter_count;                    /* trained numbers; running statistics are not counted */
    double flops;                              /* direct algorithm, 2 a multiply-add, batch 1 */
} tw_graph_info;
void tw_graph_describe(const tw_graph *graph, tw_graph_info *info);
tw_value tw_graph_input_at(const tw_graph *graph, size_t index);
tw_value tw_graph_output_at(const tw_graph *graph, size_t index);
/* The i-th parameter: its name, its shape, and its data (null before it is bound or initialised). */
const char *tw_graph_parameter(const tw_graph *graph, size_t index, tw_tensor *view);

/* Another name under which files may keep a parameter. */
void tw_graph_alias(tw_graph *graph, const char *parameter, const char *alias);
/* Gives every parameter its data: views of `weights`, which the graph keeps alive (float16 and bfloat16 are widened).
 * Missing and mis-shaped tensors are named, with both shapes, and then nothing has changed; tensors that no parameter
 * asks for are ignored. TW_INVALID while there is a plan of the graph, which reads the parameters; so is tw_graph_init. */
tw_status tw_graph_bind(tw_graph *graph, tw_weights *weights, tw_error *error);

typedef enum tw_init_scheme {
    TW_INIT_PYTORCH, /* PyTorch's default: Kaiming uniform with a = sqrt(5), biases U(+-1/sqrt(fan_in)) */
    TW_INIT_KAIMING, /* He et al. 2015, fan in, ReLU's gain; biases 0 */
    TW_INIT_XAVIER   /* Glorot and Bengio 2010; biases 0 */
} tw_init_scheme;
typedef enum tw_distribution { TW_UNIFORM, TW_NORMAL } tw_distribution;
typedef struct tw_init_desc {
    tw_init_scheme scheme;
    tw_distribution distribution;
    uint64_t seed;
    bool random_statistics; /* batch norm's running statistics and affine random too: for tests */
} tw_init_desc;
/* Random parameters, from a counter-based generator: the same on any machine and thread count. */
tw_status tw_graph_init(tw_graph *graph, const tw_init_desc *desc, tw_error *error);

/* ---- zoo ---- */

size_t tw_zoo_count(void);
const char *tw_zoo_name(size_t index);
typedef struct tw_zoo_desc {
    int classes;    /* 0: the network's own: 1000, or 10 of lenet5 and vgg_cifar */
    int image_size; /* 0: the network's own */
} tw_zoo_desc;
/* Shapes and weight names as in torchvision's or timm's state_dict. Graphs end in logits. */
tw_status tw_zoo_create(const char *name, const tw_zoo_desc *desc, tw_graph **graph, tw_error *error);
/* How photographs become this network's input. */
tw_status tw_zoo_preprocess(const char *name, const tw_zoo_desc *desc, tw_preprocess *how, tw_error *error);

/* ---- ONNX ---- */

typedef struct tw_onnx_desc {
    size_t max_bytes; /* what an import may allocate beyond the mapped files; 0: 4 GiB */
} tw_onnx_desc;
/* Reads an ONNX model (onnx.ai; opset 7 to 22) into a graph whose weights are views of the mapped file, or of external
 * data files inside the model's folder, wherever their layout allows. Nodes keep their names (an unnamed node has its
 * first output's), parameters their initialisers' as aliases. The first dimension of every input is the batch, whatever
 * the file says of it, unless the model mixes its images (a Reshape to [1][-1]): then all of them are one. A graph's values
 * have 2 or 4 dimensions: [n][c][w] becomes [n][c][1][w], more than 4 [n][features]. Constants are folded; operators that
 * are not there are named, all of them in one error (TW_INVALID). */
tw_status tw_onnx_read(const char *path, const tw_onnx_desc *desc, tw_graph **graph, tw_error *error);
/* Writes a graph with its bound parameters as ONNX, opset 17, IR version 8, with a free batch, through a temporary
 * name. Values keep their names. A file of 2 GiB or more, protobuf's limit, is refused. */
tw_status tw_onnx_write(const char *path, const tw_graph *graph, tw_error *error);

/* ---- data sets: labelled images ---- */

typedef struct tw_dataset tw_dataset;
typedef enum tw_split { TW_SPLIT_TEST, TW_SPLIT_TRAIN } tw_split;
typedef struct tw_dataset_desc {
    tw_split split;   /* of IDX and CIFAR folders; a folder with train/ and val/ or test/ inside likewise */
    size_t max_bytes; /* of pixels inflated to memory; 0: 4 GiB */
} tw_dataset_desc;
/* Told apart by what the folder holds: IDX files by MNIST's names (train-images-idx3-ubyte, t10k-labels-idx1-ubyte,
 * with or without .gz; LeCun, Cortes and Burges; `path` may also be such a file of images), CIFAR-10's or CIFAR-100's binary version (Krizhevsky 2009; fine
 * labels), or one folder of JPEG and PNG files a class, the classes sorted by name, as torchvision's ImageFolder. */
tw_status tw_dataset_open(const char *path, const tw_dataset_desc *desc, tw_dataset **dataset, tw_error *error);
void tw_dataset_release(tw_dataset *dataset);

typedef struct tw_dataset_info {
    const char *format; /* "idx", "cifar10", "cifar100", "folder" */
    size_t images, classes;
    int channels, height, width; /* 0 where each image has its own: a folder */
    bool whole;                  /* it tells no training images from test ones, so that the split said nothing */
    size_t left_out;             /* pictures in a folder of classes that are neither JPEG nor PNG by their ending */
} tw_dataset_info;
void tw_dataset_describe(const tw_dataset *dataset, tw_dataset_info *info);
/* Null where the format knows none: IDX. */
const char *tw_dataset_class_name(const tw_dataset *dataset, size_t index);
int tw_dataset_label(const tw_dataset *dataset, size_t index);
/* The file, or "FILE#INDEX" where many images share one; written to `name` and cut at its end. */
void tw_dataset_image_name(const tw_dataset *dataset, size_t index, char *name, size_t size);

/* Reads, decodes and preprocesses images on threads of its own, ahead of who asks, and gives them in order. */
typedef struct tw_loader tw_loader;
typedef struct tw_loader_desc {
    tw_preprocess preprocess; /* stored pixels of just `crop` a side are taken as they are, then scaled and padded */
    int batch;                /* images at a time; 0: 1 */
    int threads;              /* 0: one a core that this process may use */
    int ahead;                /* batches prepared ahead; 0: 2 */
    const size_t *order;      /* null: 0, 1, 2, ...; else the indices of the images to give, `count` of them; copied */
    size_t count;             /* with null order: at most so many; 0: all */
} tw_loader_desc;
typedef struct tw_batch {
    int count;             /* images; fewer than asked for in the last one; 0: the end */
    float *pixels;         /* [batch][channels][height][width]; a bad image is zeros */
    const size_t *indices; /* [count] in the data set */
    const int *labels;     /* [count]; -1 where there is none */
    const char **errors;   /* [count]: null, or what is wrong with the file; such an image is part of the batch */
    double decode_seconds; /* of processor time, summed over the threads that prepared it */
} tw_batch;
tw_status tw_loader_create(tw_dataset *dataset, const tw_loader_desc *desc, tw_loader **loader, tw_error *error);
/* Image files without labels; `paths` are copied. */
tw_status tw_loader_create_files(const char *const *paths, size_t count, const tw_loader_desc *desc, tw_loader **loader,
                                 tw_error *error);
/* The next batch, which stays valid until the next call. Fails where a compressed data set turns out to be damaged,
 * which only reading it shows: then with the batch that needs the damaged part, its end at the latest. */
tw_status tw_loader_next(tw_loader *loader, tw_batch *batch, tw_error *error);
void tw_loader_destroy(tw_loader *loader);

/* ---- devices ---- */

typedef struct tw_device tw_device;
typedef struct tw_device_desc {
    int threads;        /* CPU and metal-sim: 0 is one a core that this process may use */
    const char *family; /* metal-sim: the GPU that it answers as, "apple4" to "apple10"; null: "apple7" */
} tw_device_desc;
/* "cpu", "cuda", "cuda:1", "metal", "metal-sim", "metal-cuda". TW_INVALID: no such device is known; TW_UNAVAILABLE:
 * known, but not here, and why. */
tw_status tw_device_open(const char *name, const tw_device_desc *desc, tw_device **device, tw_error *error);
void tw_device_release(tw_device *device);

typedef struct tw_device_info {
    char id[32];       /* "cpu", "cuda:0" */
    char name[128];    /* the processor's own name */
    char features[64]; /* CPU: the instruction set in use; GPU: its architecture */
    char driver[32];   /* its version; empty where there is none */
    int threads;
    size_t memory_bytes;
    double peak_flops, peak_bytes; /* a second; nominal until measured */
    bool measured;
} tw_device_info;
void tw_device_describe(const tw_device *device, tw_device_info *info);
/* Measures multiply-add rate and read bandwidth; about a second. Changes what tw_device_describe() says, so no other
 * thread may use the device meanwhile. */
tw_status tw_device_measure(tw_device *device, tw_error *error);

/* ---- precisions ---- */

/* fp32 is float32 throughout. tf32 stores float32 and may multiply in tf32; fp16 and bf16 store activations and weights
 * so; all accumulate in float32, and a graph's own inputs and outputs stay float32. */
typedef enum tw_precision { TW_PRECISION_FP32, TW_PRECISION_TF32, TW_PRECISION_FP16, TW_PRECISION_BF16 } tw_precision;
/* TW_UNAVAILABLE, and why, where the device does not compute in it. */
tw_status tw_device_check_precision(const tw_device *device, tw_precision precision, tw_error *error);

/* ---- tuning: measured times instead of predicted ones ---- */

/* What `tilewise tune` measured on a device, with its number of threads, in a precision. */
typedef struct tw_tuning tw_tuning;
/* Reads the device's file in a folder; null: $XDG_CACHE_HOME/tilewise, else ~/.cache/tilewise. Where there is no such
 * file the tuning is empty. TW_INVALID: it is damaged, or was measured by another version, device or driver. */
tw_status tw_tuning_open(const char *folder, const tw_device *device, tw_precision precision, tw_tuning **tuning,
                         tw_error *error);
size_t tw_tuning_count(const tw_tuning *tuning); /* measurements */
void tw_tuning_release(tw_tuning *tuning);

/* ---- plans ---- */

typedef struct tw_plan tw_plan;
typedef struct tw_plan_desc {
    int batch; /* 0: 1 */
    tw_precision precision;
    /* Null or "auto": by predicted cost. "reference", or any design's name: that design wherever the operator has
     * it. "conv2d=winograd,linear=naive": by operator, the rest auto. */
    const char *designs;
    bool fallback;    /* where the named design refuses: auto instead of TW_UNAVAILABLE */
    bool keep_values; /* every value stays readable after a run: no buffer is used twice */
    bool no_fusion;   /* one step a node, as the graph says */
    /* Auto chooses among what was measured, where a layer's problem was; null: always by prediction. Of the plan's own
     * device, threads and precision; needed no longer than tw_plan_create(). */
    const tw_tuning *tuning;
} tw_plan_desc;
/* Fails with TW_UNAVAILABLE and the layer's name and the reason where a named design refuses. */
tw_status tw_plan_create(tw_graph *graph, tw_device *device, const tw_plan_desc *desc, tw_plan **plan, tw_error *error);
void tw_plan_release(tw_plan *plan);

typedef struct tw_plan_info {
    int batch;
    tw_precision precision;
    size_t steps;
    size_t arena_bytes;  /* activations and workspace of one run */
    size_t packed_bytes; /* weights as the designs want them, shared by all runs; on a GPU all that are there */
    size_t weight_bytes; /* weights as bound */
    size_t values_bytes; /* what the activations would take without reuse */
} tw_plan_info;
void tw_plan_describe(const tw_plan *plan, tw_plan_info *info);

typedef struct tw_step_info {
    const char *name; /* the layer, as in the graph; fused layers end in the last one's value */
    const char *op;
    const char *design;
    const char *output;  /* the value it computes */
    const char *note;    /* why a fallback was taken; null otherwise */
    char problem[160];   /* the descriptor: conv2d:mb1ic64ih56oc64oh56kh3ph1 */
    double flops, bytes; /* direct algorithm; every tensor once */
    double predicted;    /* seconds */
    double measured;     /* seconds, by which tuning chose; NaN: it was chosen by prediction */
    size_t workspace_bytes, packed_bytes;
    char in_layout[16], out_layout[16];
    size_t launch; /* the first of the steps that the device launches as one with this; the step itself where alone */
} tw_step_info;
void tw_plan_step(const tw_plan *plan, size_t index, tw_step_info *info);
tw_status tw_plan_input_shape(const tw_plan *plan, size_t index, tw_shape *shape, tw_error *error);
tw_status tw_plan_output_shape(const tw_plan *plan, size_t index, tw_shape *shape, tw_error *error);

/* ---- runs ---- */

typedef struct tw_run tw_run;
tw_status tw_run_create(tw_plan *plan, tw_run **run, tw_error *error);
void tw_run_release(tw_run *run);
/* Float32 tensors of the plan's shapes, as many as the graph has inputs and outputs. Returns when outputs are there. */
tw_status tw_run_execute(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, tw_error *error);
/* The same, with the seconds of each step written to step_seconds[steps]. */
tw_status tw_run_profile(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, double *step_seconds,
                         tw_error *error);
/* Seconds of the last execution by the device's own clock: copies to the device, computing, copies back. NaN where the
 * device has no such clock (the CPU) or nothing was executed. */
typedef struct tw_run_times {
    double upload, device, download;
} tw_run_times;
tw_status tw_run_measured(const tw_run *run, tw_run_times *times, tw_error *error);
/* After a run of a keep_values plan: a value by name, copied into a new tensor. TW_INVALID where the plan has no such
 * value: fused into the next, not needed by any output, or dropout. */
tw_status tw_run_value(const tw_run *run, const char *name, tw_tensor *tensor, tw_error *error);

#ifdef __cplusplus
}
#endif

#endif
