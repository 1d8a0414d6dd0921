/* Running a plan: pointers are resolved once, when the run is created; executing allocates nothing. */
#include "core/half.h"
#include "core/plan.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An operand whose memory is the caller's input. */
typedef struct patch {
    size_t step;
    int operand, input;
} patch;

struct tw_run {
    tw_plan *plan;
    tw_queue *queue;
    char *arena;
    tw_step *steps;
    const tw_design **designs;
    patch *patches;
    size_t n_patches;
    const void **inputs; /* of the last run */
    bool executed;
};

static void *address(const tw_run *run, int buffer)
{
    return run->arena + run->plan->buffers[buffer].offset;
}

static bool is_callers(const tw_run *run, int buffer)
{
    return tw_plan_reads_callers_inputs(run->plan) && run->plan->buffers[buffer].input >= 0;
}

static void resolve(tw_run *run)
{
    for (size_t i = 0; i < run->plan->n_steps; i++) {
        const tw_placed_step *from = &run->plan->steps[i];
        tw_step *to = &run->steps[i];
        *to = (tw_step){.problem = &from->problem, .name = from->name, .packed = from->packed};
        to->together = from->together;
        to->internal = from->internal;
        for (int j = 0; j < from->problem.n_in; j++) {
            int buffer = from->in[j].buffer;
            if (buffer >= 0 && is_callers(run, buffer))
                run->patches[run->n_patches++] = (patch){i, j, run->plan->buffers[buffer].input};
            else
                to->in[j] = buffer >= 0 ? address(run, buffer) : from->in[j].pointer;
        }
        to->out = address(run, from->out);
        to->workspace = from->workspace >= 0 ? address(run, from->workspace) : NULL;
        run->designs[i] = from->design;
    }
}

static size_t count_operands(const tw_plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->n_steps; i++) count += (size_t)plan->steps[i].problem.n_in;
    return count;
}

tw_status tw_run_create(tw_plan *plan, tw_run **out, tw_error *error)
{
    *out = NULL;
    tw_run *run = calloc(1, sizeof *run);
    if (!run) return tw_no_memory(error, sizeof *run, "a run");
    run->plan = plan;
    tw_plan_retain(plan);
    const tw_backend *backend = plan->device->backend;
    run->steps = calloc(plan->n_steps + 1, sizeof *run->steps);
    run->designs = calloc(plan->n_steps + 1, sizeof *run->designs);
    run->patches = calloc(count_operands(plan) + 1, sizeof *run->patches);
    run->inputs = calloc((size_t)plan->graph->n_inputs + 1, sizeof *run->inputs);
    tw_status status = TW_OK;
    if (!run->steps || !run->designs || !run->patches || !run->inputs)
        status = tw_no_memory(error, plan->n_steps * sizeof *run->steps, "a run");
    if (status == TW_OK) status = backend->queue_create(plan->device, &run->queue, error);
    if (status == TW_OK) {
        status = backend->alloc(plan->device, plan->arena_bytes, (void **)&run->arena, error);
        if (status != TW_OK) tw_error_prefix(error, "%s: activations and workspace", plan->graph->name);
    }
    if (status != TW_OK) {
        tw_run_release(run);
        return status;
    }
    resolve(run);
    *out = run;
    return TW_OK;
}

void tw_run_release(tw_run *run)
{
    if (!run) return;
    const tw_backend *backend = run->plan->device->backend;
    if (run->arena) backend->free(run->plan->device, run->arena);
    if (run->queue) backend->queue_destroy(run->queue);
    free(run->steps);
    free(run->designs);
    free(run->patches);
    free(run->inputs);
    tw_plan_release(run->plan);
    free(run);
}

static tw_status check_tensor(const tw_graph *graph, int value, const tw_tensor *tensor, tw_error *error)
{
    const tw_graph_value *wanted = &graph->values[value];
    bool same = tensor->shape.rank == wanted->shape.rank;
    for (int i = 0; same && i < wanted->shape.rank; i++) same = tensor->shape.dims[i] == wanted->shape.dims[i];
    if (same && tensor->dtype == TW_F32 && tensor->data && (uintptr_t)tensor->data % sizeof(float) == 0) return TW_OK;
    char is[128], expected[128];
    tw_shape_print(&tensor->shape, is, sizeof is);
    tw_shape_print(&wanted->shape, expected, sizeof expected);
    return tw_fail(error, TW_INVALID, "%s: tensor for \"%s\" is %s %s%s, expected float32 %s", graph->name,
                   wanted->name, tw_dtype_name(tensor->dtype), is, tensor->data ? "" : " without data", expected);
}

static tw_status take_inputs(tw_run *run, const tw_tensor *inputs, tw_error *error)
{
    const tw_plan *plan = run->plan;
    for (size_t i = 0; i < run->n_patches; i++)
        run->steps[run->patches[i].step].in[run->patches[i].operand] = inputs[run->patches[i].input].data;
    for (int i = 0; i < plan->graph->n_inputs; i++) run->inputs[i] = inputs[i].data;
    tw_status status = TW_OK;
    for (size_t i = 0; status == TW_OK && !tw_plan_reads_callers_inputs(plan) && i < plan->n_buffers; i++) {
        const tw_buffer *buffer = &plan->buffers[i];
        if (buffer->input < 0) continue;
        status = plan->device->backend->upload(run->queue, run->arena + buffer->offset, inputs[buffer->input].data,
                                               buffer->bytes, error);
    }
    return status;
}

static const void *instance_memory(const tw_run *run, const tw_instance *instance)
{
    if (is_callers(run, instance->buffer)) return run->inputs[run->plan->buffers[instance->buffer].input];
    return address(run, instance->buffer);
}

tw_status tw_run_profile(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, double *step_seconds,
                         tw_error *error)
{
    const tw_plan *plan = run->plan;
    const tw_graph *graph = plan->graph;
    tw_status status = TW_OK;
    for (int i = 0; status == TW_OK && i < graph->n_inputs; i++)
        status = check_tensor(graph, graph->inputs[i], &inputs[i], error);
    for (int i = 0; status == TW_OK && i < graph->n_outputs; i++)
        status = check_tensor(graph, graph->outputs[i], &outputs[i], error);
    if (status == TW_OK) status = take_inputs(run, inputs, error);
    if (status == TW_OK)
        status =
            plan->device->backend->run_steps(run->queue, run->designs, run->steps, plan->n_steps, step_seconds, error);
    for (int i = 0; status == TW_OK && i < graph->n_outputs; i++) {
        const tw_instance *instance = tw_plan_instance(plan, graph->outputs[i], (tw_type){TW_F32, TW_PLAIN});
        size_t bytes = tw_layout_count(&graph->values[graph->outputs[i]].shape, TW_PLAIN) * sizeof(float);
        status =
            plan->device->backend->download(run->queue, outputs[i].data, instance_memory(run, instance), bytes, error);
    }
    if (status == TW_OK) run->executed = true;
    return status;
}

tw_status tw_run_execute(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, tw_error *error)
{
    return tw_run_profile(run, inputs, outputs, NULL, error);
}

tw_status tw_run_count(tw_run *run, const tw_tensor *inputs, tw_tensor *outputs, tw_counts *counts, tw_error *error)
{
    const tw_device *device = run->plan->device;
    if (!tw_device_counts(device))
        return tw_fail(error, TW_UNAVAILABLE, "%s cannot count what its kernels do", device->info.id);
    device->backend->count(run->queue, counts);
    tw_status status = tw_run_execute(run, inputs, outputs, error);
    device->backend->count(run->queue, NULL);
    return status;
}

bool tw_device_counts(const tw_device *device)
{
    return device->backend->count != NULL;
}

/* Any type to plain float32. */
static void copy_plain(const void *from, tw_type type, const tw_shape *shape, float *to)
{
    tw_view v = tw_shape_view(shape);
    size_t pixels = (size_t)v.pixels, blocks = ((size_t)v.c + TW_BLOCK - 1) / TW_BLOCK, at = 0;
    for (size_t n = 0; n < (size_t)v.n; n++)
        for (size_t c = 0; c < (size_t)v.c; c++)
            for (size_t p = 0; p < pixels; p++, at++) {
                size_t index = at;
                if (type.layout == TW_BLOCKED)
                    index = ((n * blocks + c / TW_BLOCK) * pixels + p) * TW_BLOCK + c % TW_BLOCK;
                else if (type.layout == TW_NHWC)
                    index = (n * pixels + p) * (size_t)v.c + c;
                to[at] = tw_read_element(from, type.dtype, index);
            }
}

tw_status tw_run_value(const tw_run *run, const char *name, tw_tensor *tensor, tw_error *error)
{
    const tw_plan *plan = run->plan;
    const tw_backend *backend = plan->device->backend;
    *tensor = (tw_tensor){0};
    if (!plan->desc.keep_values)
        return tw_fail(error, TW_INVALID, "%s: the plan does not keep values", plan->graph->name);
    int value = tw_graph_find(plan->graph, name);
    const tw_instance *instance = value < 0 ? NULL : tw_plan_any_instance(plan, value);
    if (!run->executed) return tw_fail(error, TW_INVALID, "%s: nothing has been run yet", plan->graph->name);
    if (!instance)
        return tw_fail(error, TW_INVALID, "%s: no value \"%s\" in the plan: unknown, or fused away", plan->graph->name,
                       name);
    const tw_shape *shape = &plan->graph->values[value].shape;
    size_t bytes = tw_type_bytes(shape, instance->type);
    tw_status status = tw_tensor_create(TW_F32, shape, tensor, error);
    if (status != TW_OK) return status;
    const void *memory = instance_memory(run, instance);
    void *copy = NULL;
    if (!backend->unified) {
        copy = tw_alloc(bytes);
        status = copy ? backend->download(run->queue, copy, memory, bytes, error) : tw_no_memory(error, bytes, name);
        memory = copy;
    }
    if (status == TW_OK) copy_plain(memory, instance->type, shape, tensor->data);
    free(copy);
    if (status != TW_OK) tw_tensor_free(tensor);
    return status;
}

tw_status tw_run_measured(const tw_run *run, tw_run_times *times, tw_error *error)
{
    const tw_backend *backend = run->plan->device->backend;
    *times = (tw_run_times){NAN, NAN, NAN};
    return backend->times && run->executed ? backend->times(run->queue, times, error) : TW_OK;
}
