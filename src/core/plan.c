#include "core/plan.h"
#include "core/passes.h"
#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tw_status check_desc(const tw_plan_desc *desc, const tw_device *device, tw_error *error)
{
    if (desc->batch < 1 || desc->batch > 65536)
        return tw_fail(error, TW_INVALID, "batch %d: expected 1 to 65536", desc->batch);
    if (desc->precision > TW_PRECISION_BF16)
        return tw_fail(error, TW_INVALID, "unknown precision %d", (int)desc->precision);
    return tw_device_check_precision(device, desc->precision, error);
}

static tw_status run_passes(tw_plan *plan, tw_error *error)
{
    tw_status status = tw_pass_drop_dropout(plan->graph, error);
    if (status == TW_OK && !plan->desc.no_fusion) status = tw_pass_fold_batchnorm(plan->graph, error);
    if (status == TW_OK && !plan->desc.no_fusion) status = tw_pass_fuse_epilogues(plan->graph, error);
    tw_pass_drop_dead(plan->graph);
    return status;
}

tw_status tw_plan_create(tw_graph *graph, tw_device *device, const tw_plan_desc *desc, tw_plan **out, tw_error *error)
{
    static const tw_plan_desc defaults;
    *out = NULL;
    tw_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return tw_no_memory(error, sizeof *plan, "a plan");
    plan->references = 1;
    plan->desc = desc ? *desc : defaults;
    if (!plan->desc.batch) plan->desc.batch = 1;
    plan->device = device;
    tw_device_retain(device);
    tw_status status = check_desc(&plan->desc, device, error);
    if (status == TW_OK) status = tw_graph_check(graph, error);
    if (status == TW_OK && (graph->n_outputs == 0 || graph->n_inputs == 0))
        status = tw_fail(error, TW_INVALID, "%s: a graph needs an input and an output", graph->name);
    if (status == TW_OK) status = tw_graph_copy(graph, plan->desc.batch, &plan->graph, error);
    if (status == TW_OK) status = run_passes(plan, error);
    if (status == TW_OK) status = tw_plan_choose(plan, error);
    if (status == TW_OK) status = tw_plan_place(plan, error);
    if (status == TW_OK) status = tw_plan_pack(plan, error);
    plan->desc.designs = NULL; /* the caller's, as is the tuning */
    plan->desc.tuning = NULL;
    if (status != TW_OK)
        tw_plan_release(plan);
    else
        *out = plan;
    return status;
}

bool tw_plan_reads_callers_inputs(const tw_plan *plan)
{
    return plan->device->backend->unified && !plan->desc.keep_values;
}

void tw_plan_retain(tw_plan *plan)
{
    __atomic_add_fetch(&plan->references, 1, __ATOMIC_RELAXED);
}

void tw_plan_release(tw_plan *plan)
{
    if (!plan || __atomic_sub_fetch(&plan->references, 1, __ATOMIC_ACQ_REL) != 0) return;
    for (size_t i = 0; i < plan->n_steps; i++) {
        free(plan->steps[i].own_params);
        free(plan->steps[i].note);
    }
    for (size_t i = 0; i < plan->n_uploads; i++) plan->device->backend->free(plan->device, plan->uploads[i]);
    free(plan->uploads);
    free(plan->packed);
    free(plan->steps);
    free(plan->instances);
    free(plan->first_instance);
    free(plan->last_reader);
    free(plan->neighbours);
    free(plan->buffers);
    tw_graph_release(plan->graph);
    tw_device_release(plan->device);
    free(plan);
}

void tw_plan_describe(const tw_plan *plan, tw_plan_info *info)
{
    *info = (tw_plan_info){
        .batch = plan->desc.batch,
        .precision = plan->desc.precision,
        .steps = plan->n_steps,
        .arena_bytes = plan->arena_bytes,
        .packed_bytes = plan->packed_bytes,
        .values_bytes = plan->values_bytes,
    };
    for (int i = 0; i < plan->graph->n_parameters; i++)
        info->weight_bytes +=
            tw_layout_count(&plan->graph->values[plan->graph->parameters[i]].shape, TW_PLAIN) * sizeof(float);
}

void tw_plan_step(const tw_plan *plan, size_t index, tw_step_info *info)
{
    const tw_placed_step *step = &plan->steps[index];
    const tw_op *op = step->problem.op;
    *info = (tw_step_info){
        .name = step->name,
        .op = op->name,
        .design = step->design->name,
        .output = plan->graph->values[step->value].name,
        .note = step->note,
        .flops = op->flops(step->problem.params),
        .bytes = tw_problem_bytes(&step->problem),
        .predicted = step->predicted,
        .measured = step->measured,
        .workspace_bytes = step->workspace_bytes,
        .packed_bytes = step->packed_bytes,
        .launch = step->launch,
    };
    int length = snprintf(info->problem, sizeof info->problem, "%s:", op->name);
    op->print(step->problem.params, info->problem + length, sizeof info->problem - (size_t)length);
    snprintf(info->in_layout, sizeof info->in_layout, "%s", tw_layout_name(step->problem.in[0].layout));
    snprintf(info->out_layout, sizeof info->out_layout, "%s", tw_layout_name(step->problem.out.layout));
}

static tw_status shape_at(const tw_plan *plan, const int *list, int count, size_t index, tw_shape *shape)
{
    if (index >= (size_t)count) return TW_INVALID;
    *shape = plan->graph->values[list[index]].shape;
    return TW_OK;
}

tw_status tw_plan_input_shape(const tw_plan *plan, size_t index, tw_shape *shape, tw_error *error)
{
    tw_status status = shape_at(plan, plan->graph->inputs, plan->graph->n_inputs, index, shape);
    return status == TW_OK ? status : tw_fail(error, status, "%s has no input %zu", plan->graph->name, index);
}

tw_status tw_plan_output_shape(const tw_plan *plan, size_t index, tw_shape *shape, tw_error *error)
{
    tw_status status = shape_at(plan, plan->graph->outputs, plan->graph->n_outputs, index, shape);
    return status == TW_OK ? status : tw_fail(error, status, "%s has no output %zu", plan->graph->name, index);
}
