/* The implicit matrix product on tensor cores that conv2d and linear share (mma_gemm.cu): out[pixel][oc] = the sum over
 * window and channels of x * w, with bias, residual and activation. Compiled once; a design describes its problem. */
#ifndef TW_DEVICES_CUDA_MMA_GEMM_H
#define TW_DEVICES_CUDA_MMA_GEMM_H

#include "devices/cuda/cuda.h"

/* A depthwise layer whose result is the product's input and never stored: `size` x `size` taps on each channel. Its
 * result is rounded to the precision's own type, as if it had been stored. */
typedef struct tw_mma_before {
    int size; /* 3 or 5; 0: there is none */
    int activation;
    const float *weights; /* [ky][kx][channel]; to run */
    const float *bias;    /* or null */
} tw_mma_before;

/* Sizes as in tw_conv2d. A linear layer is a 1x1 window on n images of one pixel. After a depthwise layer, for which the
 * window must be 1x1, strides and padding are that layer's, and ih x iw is what it reads. */
typedef struct tw_mma_gemm {
    tw_precision precision; /* tf32, fp16, bf16 */
    tw_type in;             /* channels-last in the precision's own type, or plain: that type or float32 */
    tw_dtype out;           /* the precision's own type or float32, channels-last; a residual is alike */
    int n, groups, ic, ih, iw, oc, oh, ow;
    int kh, kw, sh, sw, pt, pl, dilh, dilw;
    int activation;
    bool bias, residual;
    tw_mma_before before;
} tw_mma_gemm;

#ifdef __cplusplus
extern "C" {
#endif

/* Does it serve these sizes and types on this device? Layouts and types are the caller's to check. */
bool tw_mma_gemm_supports(const tw_mma_gemm *gemm, const tw_device *device, const char **reason);
size_t tw_mma_gemm_workspace(const tw_mma_gemm *gemm, const tw_device *device);
size_t tw_mma_gemm_packed_bytes(const tw_mma_gemm *gemm);
void tw_mma_gemm_pack(const tw_mma_gemm *gemm, const float *w, void *packed); /* w [oc][ic / groups][kh][kw] */
double tw_mma_gemm_cost(const tw_mma_gemm *gemm, const tw_device *device);
/* Operands: in = x, w, bias, residual (the last may be missing); weights from step->packed. */
tw_status tw_mma_gemm_run(const tw_mma_gemm *gemm, const tw_step *step, tw_queue *queue);

#ifdef __cplusplus
}

/* The functions of a design's record, for one that only has to describe its problem. */
template <tw_mma_gemm describe(const tw_problem *)> struct tw_mma_gemm_design {
    static size_t workspace(const tw_problem *problem, const tw_device *device)
    {
        const tw_mma_gemm gemm = describe(problem);
        return tw_mma_gemm_workspace(&gemm, device);
    }
    static size_t packed_bytes(const tw_problem *problem, const tw_device *)
    {
        const tw_mma_gemm gemm = describe(problem);
        return tw_mma_gemm_packed_bytes(&gemm);
    }
    static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
    {
        const tw_mma_gemm gemm = describe(problem);
        tw_mma_gemm_pack(&gemm, (const float *)in[1], packed);
    }
    static double cost(const tw_problem *problem, const tw_device *device)
    {
        const tw_mma_gemm gemm = describe(problem);
        return tw_mma_gemm_cost(&gemm, device);
    }
    static tw_status run(const tw_step *step, tw_queue *queue)
    {
        const tw_mma_gemm gemm = describe(step->problem);
        return tw_mma_gemm_run(&gemm, step, queue);
    }
};
#endif

#endif
