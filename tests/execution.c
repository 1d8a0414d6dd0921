#include "execution.h"
#include "test.h"

#include <math.h>

/* Fills with numbers between -1 and 1. */
static void fill(tw_tensor *tensor, size_t count)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)tensor->data)[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

size_t execution_elements(const tw_shape *shape)
{
    size_t count = 1;
    for (int i = 0; i < shape->rank; i++) count *= (size_t)shape->dims[i];
    return count;
}

void execution_close(execution *e)
{
    if (e->run) tw_run_release(e->run);
    if (e->plan) tw_plan_release(e->plan);
    tw_tensor_free(&e->in);
    for (size_t i = 0; i < 2; i++) tw_tensor_free(&e->out[i]);
}

bool execution_open(tw_graph *graph, tw_device *device, const tw_plan_desc *desc, execution *e)
{
    tw_shape in, out;
    tw_graph_info info;
    tw_error error = {0};
    *e = (execution){0};
    bool fine = tw_plan_create(graph, device, desc, &e->plan, &error) == TW_OK &&
                tw_run_create(e->plan, &e->run, &error) == TW_OK &&
                tw_plan_input_shape(e->plan, 0, &in, &error) == TW_OK &&
                tw_tensor_create(TW_F32, &in, &e->in, &error) == TW_OK;
    tw_graph_describe(graph, &info);
    for (size_t i = 0; fine && i < info.outputs; i++)
        fine = tw_plan_output_shape(e->plan, i, &out, &error) == TW_OK &&
               tw_tensor_create(TW_F32, &out, &e->out[i], &error) == TW_OK;
    if (!fine) {
        test_fail(__FILE__, __LINE__, "%s", error.message);
        execution_close(e);
        return false;
    }
    e->count = execution_elements(&e->out[0].shape);
    fill(&e->in, execution_elements(&in));
    return true;
}

double execution_difference(const float *a, const float *b, size_t count)
{
    double most = 0, scale = 1e-30;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - b[i]), s = fabs((double)b[i]);
        if (!(d <= most)) most = d;
        if (s > scale) scale = s;
    }
    return most / scale;
}

static void check_outputs(const execution *e, const execution *reference, double tolerance, const char *how)
{
    for (int i = 0; i < 2 && e->out[i].data; i++) {
        double off = execution_difference(e->out[i].data, reference->out[i].data, execution_elements(&e->out[i].shape));
        CHECK_MSG(off <= tolerance, "%s: output %d is off by %.2g of the scale, expected at most %.2g", how, i, off,
                  tolerance);
    }
}

static void poison(execution *e)
{
    for (int i = 0; i < 2 && e->out[i].data; i++)
        memset(e->out[i].data, 0xff, execution_elements(&e->out[i].shape) * sizeof(float));
}

void execution_compare(execution *e, execution *reference, double tolerance, bool exact)
{
    tw_plan_info info;
    tw_error error = {0};
    double seconds[64];
    const size_t bytes = e->count * sizeof(float);
    float *first = malloc(bytes);
    tw_plan_describe(e->plan, &info);
    CHECK(first && info.steps <= 64);
    CHECK_MSG(tw_run_execute(reference->run, &reference->in, reference->out, &error) == TW_OK, "%s", error.message);
    for (int again = 0; again < 2; again++) {
        poison(e);
        CHECK_MSG(tw_run_execute(e->run, &e->in, e->out, &error) == TW_OK, "%s", error.message);
        check_outputs(e, reference, tolerance, again ? "the second run" : "the first run");
        if (!again) memcpy(first, e->out[0].data, bytes);
    }
    CHECK_MSG(memcmp(first, e->out[0].data, bytes) == 0, "the second run differs from the first");
    poison(e);
    CHECK_MSG(tw_run_profile(e->run, &e->in, e->out, seconds, &error) == TW_OK, "%s", error.message);
    check_outputs(e, reference, tolerance, "layer by layer");
    if (exact) CHECK_MSG(memcmp(first, e->out[0].data, bytes) == 0, "layers one by one differ from one launch");
    free(first);
}

size_t execution_launches(const tw_plan *plan)
{
    tw_plan_info info;
    size_t count = 0;
    tw_plan_describe(plan, &info);
    for (size_t i = 0; i < info.steps; i++) {
        tw_step_info step;
        tw_plan_step(plan, i, &step);
        count += step.launch == i;
    }
    return count;
}
