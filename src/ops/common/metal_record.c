/* What the records of designs in Metal share. */
#include "ops/common/metal_record.h"
#include "core/half.h"

int tw_metal_ends(const tw_problem *problem)
{
    const bool in = problem->in[0].dtype == TW_F16, out = problem->out.dtype == TW_F16;
    return in ? (out ? TW_METAL_F16 : TW_METAL_F16_F32) : out ? TW_METAL_F32_F16 : TW_METAL_F32;
}

static double elements(const tw_shape *shape)
{
    double count = 1;
    for (int i = 0; i < shape->rank; i++) count *= (double)shape->dims[i];
    return count;
}

static bool is_plain(tw_type type)
{
    return type.layout == TW_PLAIN && (type.dtype == TW_F32 || type.dtype == TW_F16);
}

bool tw_metal_plain(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 or float16 only";
    if (!is_plain(problem->in[0]) || !is_plain(problem->out)) return false;
    *reason = "an operand of more than 2^31 - 2^16 elements";
    for (int i = 0; i <= problem->n_in; i++) {
        tw_shape shape;
        problem->op->operand_shape(problem->params, i, &shape);
        if (elements(&shape) > 2147483648.0 - 65536.0) return false;
    }
    return true;
}

bool tw_metal_plain_weights(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_metal_plain(problem, device, reason)) return false;
    *reason = "float32 at both ends of a layer in fp16";
    return problem->precision != TW_PRECISION_FP16 || tw_metal_ends(problem) != TW_METAL_F32;
}

bool tw_metal_from(const tw_device *device, int family, const char **reason)
{
    *reason = "simdgroup reductions and matrices need the GPU family Apple7 (A14, M1) or newer";
    return tw_metal_family(device) >= family;
}

size_t tw_metal_weight_bytes(const tw_problem *problem)
{
    return problem->precision == TW_PRECISION_FP16 ? 2 : 4;
}

void tw_metal_put_weight(const tw_problem *problem, void *packed, size_t at, float weight)
{
    if (problem->precision == TW_PRECISION_FP16)
        ((uint16_t *)packed)[at] = tw_narrow_half(weight);
    else
        ((float *)packed)[at] = weight;
}

static size_t weights(const tw_problem *problem)
{
    tw_shape shape;
    problem->op->operand_shape(problem->params, 1, &shape);
    return (size_t)elements(&shape);
}

size_t tw_metal_narrowed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    return problem->precision == TW_PRECISION_FP16 ? 2 * weights(problem) : 0;
}

void tw_metal_narrow(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const float *from = in[1];
    for (size_t i = 0, count = weights(problem); i < count; i++) ((uint16_t *)packed)[i] = tw_narrow_half(from[i]);
}

tw_metal_dispatch tw_metal_dispatch_of(const tw_step *step, const char *source, const char *kernel)
{
    const tw_problem *problem = step->problem;
    return (tw_metal_dispatch){.source = source,
                               .kernel = kernel,
                               .args = problem->params,
                               .args_bytes = problem->op->params_size,
                               .threadgroups = {1, 1, 1},
                               .threads = {1, 1, 1}};
}

void tw_metal_over(tw_metal_dispatch *dispatch, size_t threads, unsigned group)
{
    dispatch->threads[0] = group;
    dispatch->threadgroups[0] = (unsigned)tw_metal_ceil(threads, group);
}

void tw_metal_set(tw_metal_dispatch *dispatch, const char *name, int value)
{
    dispatch->constants[dispatch->n_constants++] = (tw_metal_constant){name, value};
}

void tw_metal_bind(tw_metal_dispatch *dispatch, const void *pointer, size_t bytes)
{
    dispatch->buffers[dispatch->n_buffers++] = (tw_metal_buffer){pointer, bytes};
}

void tw_metal_bind_operand(tw_metal_dispatch *dispatch, const tw_step *step, int index)
{
    const tw_problem *problem = step->problem;
    const bool is_output = index == problem->n_in;
    if (!is_output && !step->in[index]) {
        tw_metal_bind(dispatch, dispatch->args, dispatch->args_bytes); /* as large as any element */
        return;
    }
    const tw_dtype dtype = is_output ? problem->out.dtype : problem->in[index].dtype;
    tw_metal_bind(dispatch, is_output ? step->out : step->in[index],
                  tw_problem_elements(problem, index) * tw_dtype_bytes(dtype));
}

void tw_metal_bind_weights(tw_metal_dispatch *dispatch, const tw_step *step, size_t packed_bytes)
{
    if (packed_bytes)
        tw_metal_bind(dispatch, step->packed, packed_bytes);
    else
        tw_metal_bind_operand(dispatch, step, 1);
}

double tw_metal_arithmetic(const tw_device *device, double flops, double efficiency, double threads)
{
    const double cores = device->info.peak_flops / 330e9, wanted = cores * 12 * 32;
    return flops / (device->info.peak_flops * efficiency * (threads < wanted ? threads / wanted : 1));
}

double tw_metal_seconds(const tw_device *device, double arithmetic, double bytes, int launches)
{
    const double memory = bytes / device->info.peak_bytes;
    return (arithmetic > memory ? arithmetic : memory) + launches * 4e-6;
}

double tw_metal_naive_traffic(const tw_problem *problem, const tw_device *device)
{
    return tw_metal_seconds(device, 0, 1.2 * tw_problem_traffic(problem), 1);
}

double tw_metal_vectorised_traffic(const tw_problem *problem, const tw_device *device)
{
    return tw_metal_seconds(device, 0, 1.05 * tw_problem_traffic(problem), 1);
}
