/* Loads cuBLAS and cuDNN, keeps a device's handles, and has the small kernel that ends a layer where the library does
 * not. The libraries stay loaded. What is static here is written once and then only read. */
#include "devices/cuda/vendor.cuh"

#include <dlfcn.h>
#include <stdlib.h>

/* ---- loading ---- */

struct symbol {
    const char *name;
    size_t offset; /* of its pointer */
};

/* All symbols of the first of these libraries that is there, or nothing. */
static bool load(const char *const *names, const symbol *symbols, size_t count, void *table)
{
    void *library = NULL;
    for (; *names && !library; names++) library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
    for (size_t i = 0; i < count; i++) {
        void *const address = dlsym(library, symbols[i].name);
        if (!address) return false;
        memcpy((char *)table + symbols[i].offset, &address, sizeof address);
    }
    return true;
}

static pthread_once_t cublas_once = PTHREAD_ONCE_INIT, cudnn_once = PTHREAD_ONCE_INIT;
static tw_cublas cublas_functions;
static tw_cudnn cudnn_functions;
static bool cublas_loaded, cudnn_loaded;

static void load_cublas(void)
{
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", NULL};
    static const symbol symbols[] = {
        {"cublasCreate_v2", offsetof(tw_cublas, create)},
        {"cublasDestroy_v2", offsetof(tw_cublas, destroy)},
        {"cublasSetStream_v2", offsetof(tw_cublas, set_stream)},
        {"cublasSetWorkspace_v2", offsetof(tw_cublas, set_workspace)},
        {"cublasGemmEx", offsetof(tw_cublas, gemm)},
    };
    cublas_loaded = load(names, symbols, sizeof symbols / sizeof *symbols, &cublas_functions);
}

static void load_cudnn(void)
{
    static const char *const names[] = {"libcudnn.so.9", NULL};
    static const symbol symbols[] = {
        {"cudnnCreate", offsetof(tw_cudnn, create)},
        {"cudnnDestroy", offsetof(tw_cudnn, destroy)},
        {"cudnnSetStream", offsetof(tw_cudnn, set_stream)},
        {"cudnnCreateTensorDescriptor", offsetof(tw_cudnn, create_tensor)},
        {"cudnnSetTensor4dDescriptor", offsetof(tw_cudnn, set_tensor)},
        {"cudnnDestroyTensorDescriptor", offsetof(tw_cudnn, destroy_tensor)},
        {"cudnnCreateFilterDescriptor", offsetof(tw_cudnn, create_filter)},
        {"cudnnSetFilter4dDescriptor", offsetof(tw_cudnn, set_filter)},
        {"cudnnDestroyFilterDescriptor", offsetof(tw_cudnn, destroy_filter)},
        {"cudnnCreateConvolutionDescriptor", offsetof(tw_cudnn, create_convolution)},
        {"cudnnSetConvolution2dDescriptor", offsetof(tw_cudnn, set_convolution)},
        {"cudnnSetConvolutionGroupCount", offsetof(tw_cudnn, set_groups)},
        {"cudnnSetConvolutionMathType", offsetof(tw_cudnn, set_math)},
        {"cudnnDestroyConvolutionDescriptor", offsetof(tw_cudnn, destroy_convolution)},
        {"cudnnCreateActivationDescriptor", offsetof(tw_cudnn, create_activation)},
        {"cudnnSetActivationDescriptor", offsetof(tw_cudnn, set_activation)},
        {"cudnnDestroyActivationDescriptor", offsetof(tw_cudnn, destroy_activation)},
        {"cudnnGetConvolutionForwardAlgorithm_v7", offsetof(tw_cudnn, algorithms)},
        {"cudnnGetConvolutionForwardWorkspaceSize", offsetof(tw_cudnn, workspace_size)},
        {"cudnnConvolutionForward", offsetof(tw_cudnn, convolve)},
        {"cudnnConvolutionBiasActivationForward", offsetof(tw_cudnn, convolve_and_finish)},
        {"cudnnCreatePoolingDescriptor", offsetof(tw_cudnn, create_pooling)},
        {"cudnnSetPooling2dDescriptor", offsetof(tw_cudnn, set_pooling)},
        {"cudnnDestroyPoolingDescriptor", offsetof(tw_cudnn, destroy_pooling)},
        {"cudnnPoolingForward", offsetof(tw_cudnn, pool)},
    };
    cudnn_loaded = load(names, symbols, sizeof symbols / sizeof *symbols, &cudnn_functions);
}

/* ---- a device's handles ---- */

extern "C" tw_vendor *tw_vendor_create(void)
{
    tw_vendor *vendor = (tw_vendor *)calloc(1, sizeof *vendor);
    if (vendor) pthread_mutex_init(&vendor->lock, NULL);
    return vendor;
}

extern "C" void tw_vendor_destroy(tw_vendor *vendor, int index)
{
    if (!vendor) return;
    if (vendor->cublas || vendor->cudnn) cudaSetDevice(index);
    if (vendor->cublas) cublas_functions.destroy(vendor->cublas);
    if (vendor->cudnn) cudnn_functions.destroy(vendor->cudnn);
    pthread_mutex_destroy(&vendor->lock);
    free(vendor->choices);
    free(vendor);
}

tw_vendor_use::tw_vendor_use(const tw_device *device)
    : vendor(((const tw_cuda *)device)->vendor), index(((const tw_cuda *)device)->index),
      mode(cudaStreamCaptureModeRelaxed)
{
    pthread_mutex_lock(&vendor->lock);
    cudaThreadExchangeStreamCaptureMode(&mode);
}

tw_vendor_use::~tw_vendor_use()
{
    cudaThreadExchangeStreamCaptureMode(&mode);
    pthread_mutex_unlock(&vendor->lock);
}

const tw_cublas *tw_vendor_use::cublas(const char **reason) const
{
    pthread_once(&cublas_once, load_cublas);
    *reason = "neither libcublas.so.13 nor libcublas.so.12 is on this machine, or where LD_LIBRARY_PATH says";
    if (!cublas_loaded) return NULL;
    *reason = "cuBLAS does not start on this device";
    if (!vendor->cublas && (cudaSetDevice(index) != cudaSuccess || cublas_functions.create(&vendor->cublas) != 0))
        vendor->cublas = NULL;
    return vendor->cublas ? &cublas_functions : NULL;
}

const tw_cudnn *tw_vendor_use::cudnn(const char **reason) const
{
    pthread_once(&cudnn_once, load_cudnn);
    *reason = "libcudnn.so.9 is not on this machine, or where LD_LIBRARY_PATH says";
    if (!cudnn_loaded) return NULL;
    *reason = "cuDNN does not start on this device";
    if (!vendor->cudnn && (cudaSetDevice(index) != cudaSuccess || cudnn_functions.create(&vendor->cudnn) != 0))
        vendor->cudnn = NULL;
    return vendor->cudnn ? &cudnn_functions : NULL;
}

/* ---- the end of a layer ---- */

enum { THREADS = 256 };

/* 16 bytes of y a thread, whose elements are neighbouring channels or one channel's; element by element where they are
 * neither. */
template <class T>
__global__ static void __launch_bounds__(THREADS) finish(const __grid_constant__ tw_vendor_epilogue e, T *y, bool whole)
{
    constexpr int width = tw_pack<T>::width;
    const size_t first = (size_t)blockIdx.x * THREADS + threadIdx.x, step = (size_t)gridDim.x * THREADS;
    const T *residual = (const T *)e.residual;
    tw_cuda_wait();
    tw_cuda_release();
    if (!whole) {
        for (size_t i = first; i < e.count; i += step) {
            float v = tw_widen(y[i]);
            if (e.bias) v += e.bias[i / e.pixels % e.channels];
            if (residual) v += tw_widen(residual[i]);
            y[i] = tw_narrow<T>(tw_activate(v, e.activation));
        }
        return;
    }
    const int apart = e.pixels == 1; /* from an element's channel to the next one's */
    for (size_t i = first * width; i < e.count; i += step * width) {
        const int channel = (int)(i / e.pixels % e.channels);
        tw_pack<T> pack = tw_pack<T>::load(y + i), other = {};
        if (residual) other = tw_pack<T>::load(residual + i);
#pragma unroll
        for (int j = 0; j < width; j++) {
            const float v = pack.v[j] + (e.bias ? e.bias[channel + j * apart] : 0.0f);
            pack.v[j] = tw_activate(v + other.v[j], e.activation);
        }
        pack.store(y + i);
    }
}

tw_status tw_vendor_finish(const tw_vendor_epilogue &epilogue, tw_dtype dtype, void *y, tw_queue *queue)
{
    if (!epilogue.bias && !epilogue.residual && epilogue.activation == TW_ACT_NONE) return TW_OK;
    return tw_cuda_with_type(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const int together = epilogue.pixels == 1 ? epilogue.channels : epilogue.pixels;
        const bool whole = together % tw_pack<T>::width == 0;
        const size_t items = whole ? epilogue.count / tw_pack<T>::width : epilogue.count;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(items, THREADS)), THREADS};
        return tw_cuda_launch(queue, finish<T>, grid, epilogue, (T *)y, whole);
    });
}
