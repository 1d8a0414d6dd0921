/* Weights as the chosen designs want them, in one block; folded batch normalisation is applied on the way. */
#include "core/plan.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A step's parameters while it is packed. */
typedef struct parameters {
    const void *in[TW_MAX_OPERANDS];
    float *weight; /* scaled copy, or null */
} parameters;

static const float *data_of(const tw_plan *plan, int value)
{
    return plan->graph->values[value].data;
}

static tw_status check_bound(const tw_plan *plan, const tw_node *node, tw_error *error)
{
    for (int i = 0; i < node->n_in + (node->folded ? 4 : 0); i++) {
        int value = i < node->n_in ? node->in[i] : node->fold[i - node->n_in];
        if (value < 0 || plan->graph->values[value].kind != TW_VALUE_PARAMETER) continue;
        if (!data_of(plan, value))
            return tw_fail(error, TW_INVALID, "%s: parameter \"%s\" has no data: bind weights or initialise it",
                           plan->graph->name, plan->graph->values[value].name);
    }
    return TW_OK;
}

/* weight' = weight * s and bias' = (bias - mean) * s + beta for each output channel, s = gamma / sqrt(var + epsilon). */
static void fold(const tw_plan *plan, const tw_node *node, float *weight, float *bias)
{
    const tw_shape *shape = &plan->graph->values[node->in[1]].shape;
    size_t channels = (size_t)shape->dims[0], size = tw_layout_count(shape, TW_PLAIN) / channels;
    const float *from = data_of(plan, node->in[1]), *old = node->in[2] < 0 ? NULL : data_of(plan, node->in[2]);
    const float *gamma = data_of(plan, node->fold[0]), *beta = data_of(plan, node->fold[1]);
    const float *mean = data_of(plan, node->fold[2]), *var = data_of(plan, node->fold[3]);
    for (size_t c = 0; c < channels; c++) {
        double scale = gamma[c] / sqrt((double)var[c] + node->fold_epsilon);
        bias[c] = (float)(((old ? old[c] : 0.0) - mean[c]) * scale + beta[c]);
        float factor = (float)scale;
        for (size_t i = 0; i < size; i++) weight[c * size + i] = from[c * size + i] * factor;
    }
}

static size_t weight_bytes(const tw_plan *plan, const tw_node *node)
{
    return tw_layout_count(&plan->graph->values[node->in[1]].shape, TW_PLAIN) * sizeof(float);
}

static size_t bias_bytes(const tw_plan *plan, const tw_node *node)
{
    return (size_t)plan->graph->values[node->in[1]].shape.dims[0] * sizeof(float);
}

/* What a step keeps in the block: packed weights, or folded ones where the design does not pack; and a folded bias. */
static size_t kept_bytes(const tw_plan *plan, const tw_placed_step *step)
{
    const tw_node *node = step->node < 0 ? NULL : &plan->graph->nodes[step->node];
    size_t bytes = tw_align(step->packed_bytes);
    if (!node || !node->folded) return bytes;
    if (!step->packed_bytes) bytes += tw_align(weight_bytes(plan, node));
    return bytes + tw_align(bias_bytes(plan, node));
}

/* Where the device has memory of its own, a copy there; otherwise the pointer itself. */
static tw_status place_parameter(tw_plan *plan, tw_queue *queue, const void *host, size_t bytes, const void **placed,
                                 tw_error *error)
{
    const tw_backend *backend = plan->device->backend;
    *placed = host;
    if (backend->unified) return TW_OK;
    void *memory, **larger = realloc(plan->uploads, (plan->n_uploads + 1) * sizeof *larger);
    if (!larger) return tw_no_memory(error, sizeof *larger, "uploads");
    plan->uploads = larger;
    tw_status status = backend->alloc(plan->device, bytes, &memory, error);
    if (status != TW_OK) return status;
    plan->uploads[plan->n_uploads++] = memory;
    plan->packed_bytes += bytes;
    *placed = memory;
    return backend->upload(queue, memory, host, bytes, error);
}

static tw_status pack_step(tw_plan *plan, tw_placed_step *step, char *at, tw_queue *queue, tw_error *error)
{
    const tw_node *node = &plan->graph->nodes[step->node];
    parameters p = {0};
    tw_status status = check_bound(plan, node, error);
    if (status != TW_OK) return status;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] >= 0 && plan->graph->values[node->in[i]].kind == TW_VALUE_PARAMETER)
            p.in[i] = data_of(plan, node->in[i]);
    if (node->folded) {
        float *bias = (float *)(at + kept_bytes(plan, step) - tw_align(bias_bytes(plan, node)));
        p.weight = step->packed_bytes ? tw_alloc(weight_bytes(plan, node)) : (float *)at;
        if (!p.weight) return tw_no_memory(error, weight_bytes(plan, node), node->name);
        fold(plan, node, p.weight, bias);
        p.in[1] = p.weight;
        p.in[2] = bias;
    }
    if (step->packed_bytes) {
        step->design->pack(&step->problem, plan->device, p.in, at);
        status = place_parameter(plan, queue, at, step->packed_bytes, &step->packed, error);
        if (p.weight) free(p.weight);
        p.in[1] = NULL; /* a design that packs reads its weights from there alone */
    }
    for (int i = 0; status == TW_OK && i < step->problem.n_in; i++) {
        if (!p.in[i]) continue;
        tw_shape shape;
        node->op->operand_shape(node->params, i, &shape);
        size_t bytes = tw_layout_count(&shape, TW_PLAIN) * sizeof(float);
        status = place_parameter(plan, queue, p.in[i], bytes, &step->in[i].pointer, error);
    }
    return status;
}

tw_status tw_plan_pack(tw_plan *plan, tw_error *error)
{
    const tw_backend *backend = plan->device->backend;
    size_t kept = 0;
    for (size_t i = 0; i < plan->n_steps; i++) kept += kept_bytes(plan, &plan->steps[i]);
    plan->packed = tw_alloc(kept);
    if (!plan->packed) return tw_no_memory(error, kept, "packed weights");
    if (backend->unified) plan->packed_bytes = kept;
    tw_queue *queue = NULL;
    tw_status status = backend->unified ? TW_OK : backend->queue_create(plan->device, &queue, error);
    char *at = plan->packed;
    for (size_t i = 0; status == TW_OK && i < plan->n_steps; i++) {
        if (plan->steps[i].node >= 0) status = pack_step(plan, &plan->steps[i], at, queue, error);
        at += kept_bytes(plan, &plan->steps[i]);
    }
    if (queue) backend->queue_destroy(queue);
    if (!backend->unified) {
        free(plan->packed);
        plan->packed = NULL;
    }
    return status;
}
