/* NVIDIA's own libraries, yardsticks for matrix products and convolutions: loaded when first asked for, never linked, and
 * nothing of theirs is needed to build. Declared here is what the yardsticks call, as cublas_v2.h of cuBLAS 12 and 13 and
 * cudnn.h of cuDNN 9 have it; enumerations are ints, handles and descriptors are pointers, and 0 is success.
 *
 * A device has one handle of each library, which one thread may use at a time: a tw_vendor_use is that time. Meanwhile
 * the thread's capture mode is relaxed, since a library may load code or allocate when it does something for the first
 * time, which a stream that is being captured would take amiss. */
#ifndef TW_DEVICES_CUDA_VENDOR_CUH
#define TW_DEVICES_CUDA_VENDOR_CUH

#include "devices/cuda/kernel.h"
#include "ops/conv2d/conv2d.h"

#include <pthread.h>

enum {
    TW_CUBLAS_AS_IS = 0,
    TW_CUBLAS_TRANSPOSED = 1,
    TW_CUBLAS_FP32 = 68, /* compute types: sums in float32 */
    TW_CUBLAS_TF32 = 77,
    TW_CUBLAS_HEURISTIC = -1
};

typedef struct tw_cublas {
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, cudaStream_t stream); /* and back to a workspace of its own */
    int (*set_workspace)(void *handle, void *memory, size_t bytes);
    /* c[m][n] = alpha * op(a) * op(b) + beta * c, column-major; types are CUDA's. */
    int (*gemm)(void *handle, int a_is, int b_is, int m, int n, int k, const void *alpha, const void *a, int a_type,
                int a_column, const void *b, int b_type, int b_column, const void *beta, void *c, int c_type,
                int c_column, int compute, int algorithm);
} tw_cublas;

enum {
    TW_CUDNN_FLOAT = 0, /* types */
    TW_CUDNN_HALF = 2,
    TW_CUDNN_BFLOAT16 = 9,
    TW_CUDNN_NCHW = 0, /* formats */
    TW_CUDNN_NHWC = 1,
    TW_CUDNN_CROSS_CORRELATION = 1,
    TW_CUDNN_MATH_DEFAULT = 0, /* of float32: tf32 on tensor cores */
    TW_CUDNN_MATH_TENSOR = 1,
    TW_CUDNN_MATH_FMA = 3, /* of float32: float32 */
    TW_CUDNN_DETERMINISTIC = 1,
    TW_CUDNN_PRECOMPUTED_GEMM = 1, /* algorithms: 0 to 7 */
    TW_CUDNN_ALGORITHMS = 8,
    TW_CUDNN_RELU = 1, /* activations */
    TW_CUDNN_IDENTITY = 5,
    TW_CUDNN_PROPAGATE_NAN = 1,
    TW_CUDNN_POOL_MAX = 3, /* the deterministic one */
    TW_CUDNN_POOL_AVERAGE_ALL = 1,
    TW_CUDNN_POOL_AVERAGE_INSIDE = 2
};

typedef struct tw_cudnn_performance {
    int algorithm, status;
    float milliseconds;
    size_t memory;
    int determinism, math, reserved[3];
} tw_cudnn_performance;

typedef struct tw_cudnn {
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*create_tensor)(void **tensor);
    int (*set_tensor)(void *tensor, int format, int type, int n, int c, int h, int w);
    int (*destroy_tensor)(void *tensor);
    int (*create_filter)(void **filter);
    int (*set_filter)(void *filter, int type, int format, int k, int c, int h, int w);
    int (*destroy_filter)(void *filter);
    int (*create_convolution)(void **convolution);
    int (*set_convolution)(void *convolution, int ph, int pw, int sh, int sw, int dilh, int dilw, int mode,
                           int compute_type);
    int (*set_groups)(void *convolution, int groups);
    int (*set_math)(void *convolution, int math);
    int (*destroy_convolution)(void *convolution);
    int (*create_activation)(void **activation);
    int (*set_activation)(void *activation, int mode, int nan, double limit);
    int (*destroy_activation)(void *activation);
    /* Best first, by the library's own heuristics. */
    int (*algorithms)(void *handle, void *x, void *w, void *convolution, void *y, int wanted, int *found,
                      tw_cudnn_performance *list);
    int (*workspace_size)(void *handle, void *x, void *w, void *convolution, void *y, int algorithm, size_t *bytes);
    int (*convolve)(void *handle, const void *alpha, void *x, const void *x_data, void *w, const void *w_data,
                    void *convolution, int algorithm, void *workspace, size_t bytes, const void *beta, void *y,
                    void *y_data);
    /* y = activation(alpha * convolution + beta * z + bias) */
    int (*convolve_and_finish)(void *handle, const void *alpha, void *x, const void *x_data, void *w,
                               const void *w_data, void *convolution, int algorithm, void *workspace, size_t bytes,
                               const void *beta, void *z, const void *z_data, void *bias, const void *bias_data,
                               void *activation, void *y, void *y_data);
    int (*create_pooling)(void **pooling);
    int (*set_pooling)(void *pooling, int mode, int nan, int kh, int kw, int ph, int pw, int sh, int sw);
    int (*destroy_pooling)(void *pooling);
    int (*pool)(void *handle, void *pooling, const void *alpha, void *x, const void *x_data, const void *beta, void *y,
                void *y_data);
} tw_cudnn;

/* What cuDNN's heuristics said of a problem: they take milliseconds, and workspace and run must agree. */
typedef struct tw_cudnn_choice {
    tw_conv2d p;
    tw_precision precision;
    tw_layout layout;
    int algorithm; /* or -1: none serves it */
    size_t workspace;
} tw_cudnn_choice;

struct tw_vendor {
    pthread_mutex_t lock;
    void *cublas, *cudnn; /* handles; null before they are first asked for */
    tw_cudnn_choice *choices;
    size_t n_choices, capacity;
};

struct tw_vendor_use {
    explicit tw_vendor_use(const tw_device *device);
    ~tw_vendor_use();
    tw_vendor_use(const tw_vendor_use &) = delete;
    tw_vendor_use &operator=(const tw_vendor_use &) = delete;

    /* The library, with vendor->cublas or vendor->cudnn the device's handle; null, with *reason set, where there is none. */
    const tw_cublas *cublas(const char **reason) const;
    const tw_cudnn *cudnn(const char **reason) const;

    tw_vendor *vendor;
    int index; /* the device's */
    cudaStreamCaptureMode mode;
};

/* Bias, residual and activation in y, in a kernel of their own. */
struct tw_vendor_epilogue {
    size_t count;
    int channels, pixels; /* pixels: from a channel to the next; 1 where channels are neighbours */
    int activation;
    const float *bias;
    const void *residual;
};
tw_status tw_vendor_finish(const tw_vendor_epilogue &epilogue, tw_dtype dtype, void *y, tw_queue *queue);

#endif
