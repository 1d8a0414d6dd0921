#include "design_run.h"
#include "core/status.h"
#include "devices/device.h"

#include <stdlib.h>

static tw_status execute(const tw_device *device, const tw_design *design, tw_step *step, tw_error *error)
{
    const tw_backend *backend = device->backend;
    tw_queue *queue;
    tw_status status = backend->queue_create((tw_device *)device, &queue, error);
    if (status != TW_OK) return status;
    const tw_design *designs[] = {design};
    status = backend->run_steps(queue, designs, step, 1, NULL, error);
    backend->queue_destroy(queue);
    return status;
}

tw_status design_run_once(const design_run *run, const void *const *inputs, void *output, tw_error *error)
{
    const tw_design *design = tw_design_find(run->op->name, run->device->backend->name, run->design);
    if (!design) return tw_fail(error, TW_INVALID, "%s has no design %s", run->op->name, run->design);
    design = tw_design_on(design, run->device);
    tw_problem problem;
    const char *reason = NULL;
    tw_problem_init(&problem, run->op, run->params, TW_PRECISION_FP32);
    const tw_type in = {TW_F32, run->in}, out = {TW_F32, run->out};
    if (!tw_design_accepts(design, &problem, in, out, run->device, &reason))
        return tw_fail(error, TW_UNAVAILABLE, "%s", reason);
    tw_step step = {.problem = &problem, .out = output};
    for (int i = 0; i < problem.n_in; i++) step.in[i] = inputs[i];
    size_t packed_bytes = design->packed_bytes ? design->packed_bytes(&problem, run->device) : 0;
    size_t workspace_bytes = design->workspace ? design->workspace(&problem, run->device) : 0;
    void *packed = tw_alloc(packed_bytes), *workspace = tw_alloc(workspace_bytes);
    tw_status status = TW_OK;
    if (!packed || !workspace) status = tw_no_memory(error, packed_bytes + workspace_bytes, "a design");
    if (status == TW_OK && packed_bytes) {
        design->pack(&problem, run->device, inputs, packed);
        step.packed = packed;
    }
    if (workspace_bytes) step.workspace = workspace;
    if (status == TW_OK) status = execute(run->device, design, &step, error);
    free(packed);
    free(workspace);
    return status;
}
