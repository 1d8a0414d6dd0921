/* The registry: every design of every operator, in designs.def's order. */
#include "core/design.h"

#include <string.h>

#define DESIGN(op, device, name) extern const tw_design tw_##op##_##device##_##name;
#include "ops/designs.def"
#undef DESIGN

static const tw_design *const registry[] = {
#define DESIGN(op, device, name) &tw_##op##_##device##_##name,
#include "ops/designs.def"
#undef DESIGN
};

static const size_t registry_count = sizeof registry / sizeof *registry;

size_t tw_designs(const char *op, const char *device, const tw_design **designs, size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < registry_count; i++) {
        if (op && strcmp(registry[i]->op, op) != 0) continue;
        if (device && strcmp(registry[i]->device, device) != 0) continue;
        if (count < capacity) designs[count] = registry[i];
        count++;
    }
    return count;
}

const tw_design *tw_design_find(const char *op, const char *device, const char *name)
{
    for (size_t i = 0; i < registry_count; i++) {
        const tw_design *d = registry[i];
        if (strcmp(d->op, op) == 0 && strcmp(d->device, device) == 0 && strcmp(d->name, name) == 0) return d;
    }
    return NULL;
}

bool tw_design_known(const char *device, const char *name)
{
    for (size_t i = 0; i < registry_count; i++)
        if (strcmp(registry[i]->device, device) == 0 && strcmp(registry[i]->name, name) == 0) return true;
    return false;
}

static tw_role role_of(const tw_op *op, int operand)
{
    return op->n_in == 0 ? TW_ROLE_ACTIVATION : op->roles[operand];
}

void tw_problem_init(tw_problem *problem, const tw_op *op, const void *params, tw_dtype dtype)
{
    memset(problem, 0, sizeof *problem);
    problem->op = op;
    problem->params = params;
    problem->n_in = op->operands(params);
    for (int i = 0; i < problem->n_in; i++) {
        tw_shape shape;
        op->operand_shape(params, i, &shape);
        problem->in[i] = (tw_type){shape.rank < 0 ? TW_ABSENT : dtype, TW_PLAIN};
    }
    problem->out = (tw_type){dtype, TW_PLAIN};
}

bool tw_design_accepts(const tw_design *design, tw_problem *problem, tw_layout in, tw_layout out,
                       const tw_device *device, const char **reason)
{
    for (int i = 0; i < problem->n_in; i++) {
        tw_role role = role_of(problem->op, i);
        problem->in[i].layout = role == TW_ROLE_ACTIVATION ? in : role == TW_ROLE_LIKE_OUTPUT ? out : TW_PLAIN;
    }
    problem->out.layout = out;
    return design->supports(problem, device, reason);
}

bool tw_design_fit(const tw_design *design, tw_problem *problem, const tw_device *device, const char **reason)
{
    static const tw_layout pairs[][2] = {
        {TW_BLOCKED, TW_BLOCKED}, {TW_PLAIN, TW_BLOCKED}, {TW_NHWC, TW_NHWC},  {TW_PLAIN, TW_NHWC},
        {TW_BLOCKED, TW_PLAIN},   {TW_NHWC, TW_PLAIN},    {TW_PLAIN, TW_PLAIN},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (tw_design_accepts(design, problem, pairs[i][0], pairs[i][1], device, reason)) return true;
    return false;
}

double tw_problem_bytes(const tw_problem *problem)
{
    return tw_op_bytes(problem->op, problem->params, tw_dtype_bytes(problem->out.dtype));
}
