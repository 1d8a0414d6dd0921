/* concat, vectorised on CUDA: channels-last, where each pixel's channels of one input are a run of 16-byte groups that goes
 * to its place in the output's pixel. A launch an input, a thread a group. Bandwidth bounds it, launches the small ones. */
#include "devices/cuda/kernel.h"
#include "ops/concat/concat.h"

enum { THREADS = 256 };

/* y [pixels][row] at `offset` from x [pixels][groups], in units of 16 bytes. */
__global__ static void __launch_bounds__(THREADS)
    copy(const int4 *x, int4 *y, unsigned groups, unsigned row, size_t count)
{
    tw_cuda_wait();
    tw_cuda_release();
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        const size_t pixel = i / groups;
        y[pixel * row + (i - pixel * groups)] = x[i];
    }
}

static int channels_of(const tw_problem *problem, int operand)
{
    tw_shape shape;
    problem->op->operand_shape(problem->params, operand, &shape);
    return (int)shape.dims[1];
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    const int width = 16 / (int)tw_dtype_bytes(problem->out.dtype);
    const unsigned row = (unsigned)(channels_of(problem, problem->n_in) / width);
    int4 *y = (int4 *)step->out;
    tw_status status = TW_OK;
    for (int i = 0; i < problem->n_in && status == TW_OK; i++) {
        const unsigned groups = (unsigned)(channels_of(problem, i) / width);
        const size_t count = tw_problem_elements(problem, i) / (size_t)width;
        const tw_cuda_grid grid = {dim3(tw_cuda_blocks(count, THREADS)), THREADS};
        status = tw_cuda_launch(queue, copy, grid, (const int4 *)step->in[i], y, groups, row, count);
        y += groups;
    }
    return status;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const int width = 16 / (int)tw_dtype_bytes(problem->out.dtype);
    (void)device;
    *reason = "channels-last, all in one element type";
    if (problem->in[0].layout != TW_NHWC || problem->out.layout != TW_NHWC) return false;
    if (problem->in[0].dtype != problem->out.dtype) return false;
    *reason = "needs channels in whole 16 bytes";
    for (int i = 0; i < problem->n_in; i++)
        if (channels_of(problem, i) % width) return false;
    return true;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, tw_problem_traffic(problem), problem->n_in);
}

extern "C" const tw_design tw_concat_cuda_vectorised = {
    .op = "concat",
    .device = "cuda",
    .name = "vectorised",
    .summary = "channels-last: 16 bytes a thread, a launch an input",
    .precisions = TW_IN_ALL,
    .supports = supports,
    .cost = cost,
    .run = run,
};
