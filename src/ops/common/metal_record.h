/* What the records of designs in Metal share: the types of a problem's ends, limits, weights' types and predictions. */
#ifndef TW_OPS_COMMON_METAL_RECORD_H
#define TW_OPS_COMMON_METAL_RECORD_H

#include "devices/metal/metal.h"
#include "ops/common/dims.h"

enum { TW_METAL_PRECISIONS = TW_IN_FP32 | TW_IN_FP16 };

/* The element types of a problem's inputs and output: where a kernel's name stands in a design's list. */
enum { TW_METAL_F32, TW_METAL_F16, TW_METAL_F32_F16, TW_METAL_F16_F32, TW_METAL_ENDS };
int tw_metal_ends(const tw_problem *problem);

/* A design's `supports`, where it takes every problem in plain float32 or half; others begin with it. Kernels count in
 * 32-bit ints: no operand has more than 2^31 - 2^16 elements, so that a threadgroup behind the last stays in range. */
bool tw_metal_plain(const tw_problem *problem, const tw_device *device, const char **reason);
/* The same, for designs whose weights are half wherever the precision is: then one end at least is half. */
bool tw_metal_plain_weights(const tw_problem *problem, const tw_device *device, const char **reason);
/* Is it of this family or newer? */
bool tw_metal_from(const tw_device *device, int family, const char **reason);

/* Weights are float32 in fp32 and half in fp16, where they are packed. */
size_t tw_metal_weight_bytes(const tw_problem *problem);
void tw_metal_put_weight(const tw_problem *problem, void *packed, size_t at, float weight);
/* `packed_bytes` and `pack` of designs that read operand 1 in its own order: nothing is packed in fp32. */
size_t tw_metal_narrowed_bytes(const tw_problem *problem, const tw_device *device);
void tw_metal_narrow(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed);

static inline size_t tw_metal_ceil(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* A dispatch of one kernel over `threads` in groups of so many along x, with the problem's parameters as its arguments;
 * buffers follow in the order of the calls. An operand that is absent is bound to the arguments: nobody reads it. */
tw_metal_dispatch tw_metal_dispatch_of(const tw_step *step, const char *source, const char *kernel);
void tw_metal_over(tw_metal_dispatch *dispatch, size_t threads, unsigned group);
/* A function constant of type int. */
void tw_metal_set(tw_metal_dispatch *dispatch, const char *name, int value);
void tw_metal_bind(tw_metal_dispatch *dispatch, const void *pointer, size_t bytes);
void tw_metal_bind_operand(tw_metal_dispatch *dispatch, const tw_step *step, int index); /* n_in: the output */
void tw_metal_bind_weights(tw_metal_dispatch *dispatch, const tw_step *step, size_t packed_bytes);

/* What arithmetic takes at a share of the peak, with so many threads: a core, of some 330 GFLOP/s on every family,
 * needs about 12 simdgroups in flight to reach it. */
double tw_metal_arithmetic(const tw_device *device, double flops, double efficiency, double threads);
/* The larger of that and of what memory takes, and what launches cost. */
double tw_metal_seconds(const tw_device *device, double arithmetic, double bytes, int launches);
/* The `cost` of designs that memory bounds: four bytes a thread do not quite reach its bandwidth, sixteen do. */
double tw_metal_naive_traffic(const tw_problem *problem, const tw_device *device);
double tw_metal_vectorised_traffic(const tw_problem *problem, const tw_device *device);

#endif
