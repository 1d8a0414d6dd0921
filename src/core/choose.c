/* Which design does each node, in which types: policy, apart from the designs. Greedy in topological order: each node
 * takes the design, layouts and element types with the least cost, reorders of its inputs included, and of its result
 * where that leaves the graph. The cost is predicted, or, where the caller has a tuning that knows the problem, measured:
 * then only what was measured is compared, since a prediction that is too good would win against any measurement. */
#include "core/plan.h"
#include "core/status.h"
#include "ops/reorder/reorder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DESIGNS = 32 };

typedef struct choice {
    const tw_design *design;
    tw_type in, out;
    double own, cost; /* without and with reorders */
    double measured;  /* NaN: predicted */
} choice;

/* All that may do a node, while tune tries them. */
enum { MAX_CHOICES = MAX_DESIGNS * TW_LAYOUT_PAIRS * 4 };
typedef struct choices {
    choice items[MAX_CHOICES];
    size_t count;
} choices;

extern const tw_op tw_op_reorder;

/* The cost of a reorder that no design does. */
static const double impossible = 1e30;

/* How a graph's own inputs and outputs lie. */
static const tw_type end_type = {TW_F32, TW_PLAIN};

/* ---- growing the plan ---- */

static void *grown(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return array;
    size_t wanted = *capacity ? 2 * *capacity : 32;
    void *larger = realloc(array, wanted * size);
    if (larger) *capacity = wanted;
    return larger;
}

static int add_buffer(tw_plan *plan, size_t bytes, int input)
{
    tw_buffer *larger = grown(plan->buffers, plan->n_buffers, &plan->buffers_capacity, sizeof *plan->buffers);
    if (!larger) return -1;
    plan->buffers = larger;
    int step = (int)plan->n_steps;
    plan->buffers[plan->n_buffers] =
        (tw_buffer){.bytes = bytes, .first = step, .last = step, .input = input, .last_reader = -1};
    return (int)plan->n_buffers++;
}

/* After those of the value that are there: the first stays the one that its producer wrote. */
static bool add_instance(tw_plan *plan, int value, tw_type type, int buffer)
{
    tw_instance *larger = grown(plan->instances, plan->n_instances, &plan->instances_capacity, sizeof *plan->instances);
    if (!larger) return false;
    plan->instances = larger;
    int *link = &plan->first_instance[value];
    while (*link >= 0) link = &plan->instances[*link].next;
    *link = (int)plan->n_instances;
    plan->instances[plan->n_instances++] = (tw_instance){value, type, buffer, -1};
    if (plan->buffers[buffer].last_reader < plan->last_reader[value])
        plan->buffers[buffer].last_reader = plan->last_reader[value];
    return true;
}

static tw_placed_step *add_step(tw_plan *plan)
{
    tw_placed_step *larger = grown(plan->steps, plan->n_steps, &plan->steps_capacity, sizeof *plan->steps);
    if (!larger) return NULL;
    plan->steps = larger;
    tw_placed_step *step = &plan->steps[plan->n_steps];
    memset(step, 0, sizeof *step);
    step->node = step->out = step->workspace = -1;
    for (int i = 0; i < TW_MAX_OPERANDS; i++) step->in[i].buffer = -1;
    return step; /* the caller counts it when it is complete */
}

/* ---- instances and types ---- */

bool tw_layouts_coincide(const tw_shape *shape, tw_layout a, tw_layout b)
{
    if (a == b) return true;
    tw_view view = tw_shape_view(shape);
    if (a != TW_BLOCKED && b != TW_BLOCKED) return view.pixels == 1 || view.c == 1;
    return view.pixels == 1 && view.c % TW_BLOCK == 0;
}

const tw_instance *tw_plan_any_instance(const tw_plan *plan, int value)
{
    return plan->first_instance[value] < 0 ? NULL : &plan->instances[plan->first_instance[value]];
}

const tw_instance *tw_plan_instance(const tw_plan *plan, int value, tw_type type)
{
    const tw_shape *shape = &plan->graph->values[value].shape;
    for (int i = plan->first_instance[value]; i >= 0; i = plan->instances[i].next) {
        const tw_instance *instance = &plan->instances[i];
        if (instance->type.dtype == type.dtype && tw_layouts_coincide(shape, instance->type.layout, type.layout))
            return instance;
    }
    return NULL;
}

/* ---- which design is wanted ---- */

/* The design that --design names for an operator; empty for auto, and where the operator has no such design. */
static void wanted_design(const tw_plan *plan, const char *op, char name[TW_DESIGN_NAME])
{
    const char *device = plan->device->backend->name;
    tw_design_wanted(plan->desc.designs, op, device, name);
    if (strcmp(name, "auto") == 0 || !tw_design_find(op, device, name)) *name = 0;
}

/* ---- reorders ---- */

static tw_reorder reorder_params(const tw_shape *shape)
{
    tw_reorder p = {.n = (int)shape->dims[0], .c = (int)shape->dims[1], .h = 1, .w = 1, .rank = shape->rank};
    if (shape->rank == 4) {
        p.h = (int)shape->dims[2];
        p.w = (int)shape->dims[3];
    }
    return p;
}

/* The tuning by which this plan chooses, or null. */
static const tw_tuning *tuning_of(const tw_plan *plan)
{
    return plan->desc.tuning && !plan->desc.tuning->trial ? plan->desc.tuning : NULL;
}

/* NaN where it was not measured. */
static double measured_seconds(const tw_plan *plan, const tw_design *design, const tw_problem *problem)
{
    tw_measurement wanted = {.design = design->name, .in = problem->in[0], .out = problem->out};
    size_t count = 0;
    if (!tuning_of(plan) || !tw_tuning_name(problem->op, problem->params, wanted.problem)) return NAN;
    const tw_measurement *items = tw_tuning_find(tuning_of(plan), wanted.problem, &count);
    for (size_t i = 0; i < count; i++)
        if (tw_measurement_same(&items[i], &wanted)) return items[i].seconds;
    return NAN;
}

static choice best_reorder(const tw_plan *plan, tw_problem *problem, tw_type from, tw_type to)
{
    const tw_design *designs[MAX_DESIGNS], *design;
    const char *reason;
    choice best = {.cost = impossible};
    char wanted[TW_DESIGN_NAME];
    wanted_design(plan, "reorder", wanted);
    size_t count = tw_designs("reorder", plan->device->backend->name, designs, MAX_DESIGNS);
    for (size_t i = 0; i < count; i++) {
        if (*wanted && strcmp(designs[i]->name, wanted) != 0) continue;
        design = tw_design_on(designs[i], plan->device);
        if (design->yardstick || !tw_design_accepts(design, problem, from, to, plan->device, &reason)) continue;
        const double predicted = design->cost ? design->cost(problem, plan->device) : 1;
        const double measured = measured_seconds(plan, design, problem);
        const double cost = isnan(measured) ? predicted : measured;
        if (cost < best.cost) best = (choice){design, from, to, predicted, cost, measured};
    }
    return best;
}

static double reorder_cost(const tw_plan *plan, int value, tw_type from, tw_type to)
{
    const tw_reorder params = reorder_params(&plan->graph->values[value].shape);
    tw_problem problem;
    tw_problem_init(&problem, &tw_op_reorder, &params, plan->desc.precision);
    return best_reorder(plan, &problem, from, to).cost;
}

static tw_status add_reorder(tw_plan *plan, int value, tw_type to, tw_error *error)
{
    const tw_instance *from = tw_plan_any_instance(plan, value);
    const tw_shape *shape = &plan->graph->values[value].shape;
    tw_reorder *params = malloc(sizeof *params);
    tw_placed_step *step = add_step(plan);
    if (!params || !step) {
        free(params);
        return tw_no_memory(error, sizeof *params, "a reorder");
    }
    *params = reorder_params(shape);
    step->own_params = params;
    tw_problem_init(&step->problem, &tw_op_reorder, params, plan->desc.precision);
    choice best = best_reorder(plan, &step->problem, from->type, to);
    const char *reason;
    if (!best.design || !tw_design_accepts(best.design, &step->problem, from->type, to, plan->device, &reason)) {
        free(params);
        return tw_fail(error, TW_UNAVAILABLE, "%s: no reorder from %s %s to %s %s", plan->graph->values[value].name,
                       tw_dtype_name(from->type.dtype), tw_layout_name(from->type.layout), tw_dtype_name(to.dtype),
                       tw_layout_name(to.layout));
    }
    int in = from->buffer, out = add_buffer(plan, tw_type_bytes(shape, to), -1);
    step->design = best.design;
    step->predicted = best.own;
    step->measured = best.measured;
    step->name = plan->graph->values[value].name;
    step->value = value;
    step->in[0].buffer = in;
    step->out = out;
    if (out < 0 || !add_instance(plan, value, to, out)) {
        free(params);
        return tw_no_memory(error, sizeof *params, "a reorder");
    }
    plan->n_steps++;
    return TW_OK;
}

/* ---- names ---- */

/* Every name in desc.designs must be known. */
static tw_status check_names(const tw_plan *plan, tw_error *error)
{
    const char *at = plan->desc.designs, *device = plan->device->backend->name;
    while (at && *at) {
        char item[128], *name;
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof item)
            return tw_fail(error, TW_INVALID, "designs \"%s\": expected NAME or OP=NAME, separated by commas",
                           plan->desc.designs);
        snprintf(item, sizeof item, "%.*s", (int)length, at);
        at += length + (at[length] == ',');
        if ((name = strchr(item, '=')))
            *name++ = 0;
        else
            name = item;
        if (name != item && !tw_op_find(item))
            return tw_fail(error, TW_INVALID, "unknown operator \"%s\" in designs \"%s\"", item, plan->desc.designs);
        if (strcmp(name, "auto") == 0) continue;
        if (name != item && !tw_design_find(item, device, name))
            return tw_fail(error, TW_INVALID, "%s has no design \"%s\" on %s", item, name, device);
        if (name == item && !tw_design_known(device, name))
            return tw_fail(error, TW_INVALID, "unknown design \"%s\" on %s", name, device);
    }
    return TW_OK;
}

/* ---- choosing ---- */

static tw_type operand_type(const tw_node *node, int operand, const choice *best)
{
    return node->op->n_in && node->op->roles[operand] == TW_ROLE_LIKE_OUTPUT ? best->out : best->in;
}

static double input_cost(const tw_plan *plan, const tw_node *node, const choice *c)
{
    double cost = 0;
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] < 0 || plan->graph->values[node->in[i]].kind == TW_VALUE_PARAMETER) continue;
        const tw_type to = operand_type(node, i, c);
        if (tw_plan_instance(plan, node->in[i], to)) continue;
        cost += reorder_cost(plan, node->in[i], tw_plan_any_instance(plan, node->in[i])->type, to);
    }
    return cost;
}

static bool is_output(const tw_plan *plan, int value)
{
    return plan->last_reader[value] == plan->graph->n_nodes;
}

/* A graph's outputs are plain float32: what a node writes otherwise is reordered later. */
static double output_cost(const tw_plan *plan, int value, tw_type type)
{
    const tw_shape *shape = &plan->graph->values[value].shape;
    if (!is_output(plan, value) ||
        (type.dtype == end_type.dtype && tw_layouts_coincide(shape, type.layout, end_type.layout)))
        return 0;
    return reorder_cost(plan, value, type, end_type);
}

/* False where the design refuses. A choice's cost is predicted unless it was measured. */
static bool consider_types(const tw_plan *plan, const tw_node *node, tw_problem *problem, choice *c, choice *best)
{
    const char *reason;
    if (!tw_design_accepts(c->design, problem, c->in, c->out, plan->device, &reason)) return false;
    c->own = !isnan(c->measured) ? c->measured : c->design->cost ? c->design->cost(problem, plan->device) : 1;
    c->cost = c->own + input_cost(plan, node, c) + output_cost(plan, node->out, c->out);
    if (!best->design || c->cost < best->cost) *best = *c;
    return true;
}

/* All pairs of layouts; in a half precision float32 too at either end, for designs that only know that: the reorder that
 * it takes is in the cost, and a step of its own. */
static void consider(const tw_plan *plan, const tw_node *node, tw_problem *problem, const tw_design *design,
                     choice *best, choices *all)
{
    const tw_dtype narrow = tw_precision_dtype(plan->desc.precision);
    for (int i = 0; i < TW_LAYOUT_PAIRS; i++)
        for (int wide = 0; wide < (narrow == TW_F32 ? 1 : 4); wide++) {
            choice tried = {.design = design,
                            .in = {wide & 1 ? TW_F32 : narrow, tw_layout_pairs[i][0]},
                            .out = {wide & 2 ? TW_F32 : narrow, tw_layout_pairs[i][1]},
                            .measured = NAN};
            if (consider_types(plan, node, problem, &tried, best) && all) all->items[all->count++] = tried;
        }
}

/* Does consider() try these? Designs need not refuse what it does not, and a tuning may hold anything. */
static bool is_tried(const tw_plan *plan, tw_type in, tw_type out)
{
    const tw_dtype narrow = tw_precision_dtype(plan->desc.precision);
    if ((in.dtype != narrow && in.dtype != TW_F32) || (out.dtype != narrow && out.dtype != TW_F32)) return false;
    for (int i = 0; i < TW_LAYOUT_PAIRS; i++)
        if (in.layout == tw_layout_pairs[i][0] && out.layout == tw_layout_pairs[i][1]) return true;
    return false;
}

/* The best of what was measured of this problem; `best` stays where nothing was, or nothing that reorders lead to. */
static void consider_measured(const tw_plan *plan, const tw_node *node, tw_problem *problem, choice *best)
{
    char name[192];
    size_t count = 0;
    choice measured = {0};
    if (!tw_tuning_name(node->op, node->params, name)) return;
    const tw_measurement *items = tw_tuning_find(tuning_of(plan), name, &count);
    for (size_t i = 0; i < count; i++) {
        const tw_design *design = tw_design_find(node->op->name, plan->device->backend->name, items[i].design);
        if (!design || design->yardstick || design->joins || design->follows ||
            !is_tried(plan, items[i].in, items[i].out))
            continue;
        choice c = {.design = tw_design_on(design, plan->device),
                    .in = items[i].in,
                    .out = items[i].out,
                    .measured = items[i].seconds};
        consider_types(plan, node, problem, &c, &measured);
    }
    if (measured.design && measured.cost < impossible) *best = measured;
}

/* Wider than it must be: float32 where the design knows the precision's own type, and neither the input is there in
 * float32 already nor the output leaves the graph. */
static bool is_needlessly_wide(const tw_plan *plan, const tw_node *node, const choice *c, const choices *all)
{
    const tw_dtype narrow = tw_precision_dtype(plan->desc.precision);
    const bool wide_in = c->in.dtype != narrow && tw_plan_any_instance(plan, node->in[0])->type.dtype == narrow;
    const bool wide_out = c->out.dtype != narrow && !is_output(plan, node->out);
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].design == c->design &&
            ((wide_in && all->items[i].in.dtype == narrow) || (wide_out && all->items[i].out.dtype == narrow)))
            return true;
    return false;
}

/* All that auto may take: no yardsticks, those that join only among neighbours, those that follow only later, in
 * pairs. */
static void consider_all(const tw_plan *plan, const tw_node *node, tw_problem *problem, choice *best, choices *all)
{
    const tw_design *designs[MAX_DESIGNS];
    size_t count = tw_designs(node->op->name, plan->device->backend->name, designs, MAX_DESIGNS);
    const bool among_neighbours = plan->neighbours[node - plan->graph->nodes];
    for (size_t i = 0; i < count; i++)
        if (!designs[i]->yardstick && !designs[i]->follows && (among_neighbours || !designs[i]->joins))
            consider(plan, node, problem, tw_design_on(designs[i], plan->device), best, all);
}

/* For tune: the trial-th by predicted cost without reorders, which depend on the neighbours. Left out is what is predicted
 * to take more than LEFT_OUT times as long as the best. */
static tw_status consider_trial(tw_plan *plan, const tw_node *node, tw_problem *problem, choice *best, tw_error *error)
{
    enum { LEFT_OUT = 8 };
    choices *all = calloc(2, sizeof *all), *sorted = all + 1;
    choice ignored = {0};
    if (!all) return tw_no_memory(error, 2 * sizeof *all, "trials");
    consider_all(plan, node, problem, &ignored, all);
    for (size_t i = 0; i < all->count; i++) {
        const choice *c = &all->items[i];
        if (c->design->joins || c->cost >= impossible || is_needlessly_wide(plan, node, c, all)) continue;
        size_t at = sorted->count++;
        for (; at > 0 && sorted->items[at - 1].own > c->own; at--) sorted->items[at] = sorted->items[at - 1];
        sorted->items[at] = *c;
    }
    size_t count = sorted->count;
    while (count > 1 && sorted->items[count - 1].own > LEFT_OUT * sorted->items[0].own) count--;
    if (plan->trials < (int)count) plan->trials = (int)count;
    if (plan->desc.tuning->trial <= (int)count) *best = sorted->items[plan->desc.tuning->trial - 1];
    free(all);
    return TW_OK;
}

static tw_status choose(tw_plan *plan, const tw_node *node, tw_placed_step *step, choice *best, tw_error *error)
{
    const char *device = plan->device->backend->name, *reason = "";
    char wanted[TW_DESIGN_NAME];
    wanted_design(plan, node->op->name, wanted);
    tw_problem_init(&step->problem, node->op, node->params, plan->desc.precision);
    *best = (choice){0};
    if (*wanted) {
        const tw_design *design = tw_design_on(tw_design_find(node->op->name, device, wanted), plan->device);
        consider(plan, node, &step->problem, design, best, NULL);
        if (best->design) return TW_OK;
        char descriptor[160], why[512];
        tw_design_fit(design, &step->problem, plan->device, &reason);
        node->op->print(node->params, descriptor, sizeof descriptor);
        snprintf(why, sizeof why, "%s: design %s refuses %s:%s: %s", node->name, wanted, node->op->name, descriptor,
                 reason);
        if (!plan->desc.fallback) return tw_fail(error, TW_UNAVAILABLE, "%s: %s", plan->graph->name, why);
        step->note = tw_strdup(why);
    }
    consider_all(plan, node, &step->problem, best, NULL);
    tw_status status = TW_OK;
    /* Steps of one launch cannot be measured one by one. */
    if (best->design && !best->design->joins && plan->desc.tuning) {
        if (plan->desc.tuning->trial)
            status = consider_trial(plan, node, &step->problem, best, error);
        else
            consider_measured(plan, node, &step->problem, best);
    }
    if (best->design) return status;
    return tw_fail(error, TW_UNAVAILABLE, "%s: %s: no design of %s on %s accepts it in %s", plan->graph->name,
                   node->name, node->op->name, device, tw_precision_name(plan->desc.precision));
}

/* A reshape costs nothing: its result is its input's plain memory. */
static tw_status add_view(tw_plan *plan, const tw_node *node, tw_error *error)
{
    const tw_type plain = {tw_plan_any_instance(plan, node->in[0])->type.dtype, TW_PLAIN};
    if (!tw_plan_instance(plan, node->in[0], plain)) {
        tw_status status = add_reorder(plan, node->in[0], plain, error);
        if (status != TW_OK) return status;
    }
    int buffer = tw_plan_instance(plan, node->in[0], plain)->buffer;
    return add_instance(plan, node->out, plain, buffer) ? TW_OK : tw_no_memory(error, 0, "a view");
}

static tw_status reorder_inputs(tw_plan *plan, const tw_node *node, const choice *best, tw_error *error)
{
    tw_status status = TW_OK;
    for (int i = 0; status == TW_OK && i < node->n_in; i++) {
        if (node->in[i] < 0 || plan->graph->values[node->in[i]].kind == TW_VALUE_PARAMETER) continue;
        tw_type type = operand_type(node, i, best);
        if (!tw_plan_instance(plan, node->in[i], type)) status = add_reorder(plan, node->in[i], type, error);
    }
    return status;
}

/* No node after this one, and no output, needs what lies in the buffer. */
static bool dies_here(const tw_plan *plan, int buffer, int index)
{
    const tw_buffer *b = &plan->buffers[buffer];
    return !plan->desc.keep_values && b->input < 0 && b->last_reader <= index;
}

/* Where a step's result goes: over its first input where the design can do that and nobody else reads it. */
static int output_buffer(tw_plan *plan, const tw_placed_step *step, size_t bytes)
{
    int first = step->in[0].buffer;
    bool over = step->design->in_place && first >= 0 && plan->buffers[first].bytes == bytes &&
                memcmp(&step->problem.in[0], &step->problem.out, sizeof(tw_type)) == 0 &&
                dies_here(plan, first, step->node);
    return over ? first : add_buffer(plan, bytes, -1);
}

/* What the step's design wants besides its operands. */
static void ask_design(const tw_plan *plan, tw_placed_step *step)
{
    const tw_design *design = step->design;
    step->workspace_bytes = design->workspace ? design->workspace(&step->problem, plan->device) : 0;
    step->packed_bytes = design->packed_bytes ? design->packed_bytes(&step->problem, plan->device) : 0;
}

static tw_status add_node_step(tw_plan *plan, int index, tw_error *error)
{
    const tw_node *node = &plan->graph->nodes[index];
    tw_placed_step scratch = {0};
    choice best;
    tw_status status = choose(plan, node, &scratch, &best, error);
    if (status == TW_OK) status = reorder_inputs(plan, node, &best, error);
    tw_placed_step *step = status == TW_OK ? add_step(plan) : NULL;
    if (!step) {
        free(scratch.note);
        return status == TW_OK ? tw_no_memory(error, sizeof scratch, "a step") : status;
    }
    const char *reason;
    step->note = scratch.note;
    step->design = best.design;
    step->name = node->name;
    step->node = index;
    step->value = node->out;
    tw_problem_init(&step->problem, node->op, node->params, plan->desc.precision);
    tw_design_accepts(best.design, &step->problem, best.in, best.out, plan->device, &reason);
    step->predicted = best.design->cost ? best.design->cost(&step->problem, plan->device) : 0;
    step->measured = best.measured;
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] < 0 || plan->graph->values[node->in[i]].kind == TW_VALUE_PARAMETER) continue;
        step->in[i].buffer = tw_plan_instance(plan, node->in[i], operand_type(node, i, &best))->buffer;
    }
    ask_design(plan, step);
    step->out = output_buffer(plan, step, tw_type_bytes(&plan->graph->values[node->out].shape, best.out));
    if (step->workspace_bytes) step->workspace = add_buffer(plan, step->workspace_bytes, -1);
    plan->n_steps++;
    if (step->out < 0 || (step->workspace_bytes && step->workspace < 0) ||
        !add_instance(plan, node->out, best.out, step->out))
        return tw_no_memory(error, sizeof *step, "a step");
    return TW_OK;
}

/* Buffers live until their last reader; the graph's outputs, and all values where they are kept, until the end. */
static void extend_lifetimes(tw_plan *plan)
{
    int end = (int)plan->n_steps;
    for (size_t i = 0; i < plan->n_steps; i++)
        for (int j = 0; j < plan->steps[i].problem.n_in; j++) {
            int buffer = plan->steps[i].in[j].buffer;
            if (buffer >= 0 && plan->buffers[buffer].last < (int)i) plan->buffers[buffer].last = (int)i;
        }
    for (int i = 0; i < plan->graph->n_outputs; i++)
        plan->buffers[tw_plan_instance(plan, plan->graph->outputs[i], end_type)->buffer].last = end;
    for (size_t i = 0; plan->desc.keep_values && i < plan->n_instances; i++)
        plan->buffers[plan->instances[i].buffer].last = end;
}

/* Who reads each value last. */
static tw_status find_readers(tw_plan *plan, tw_error *error)
{
    const tw_graph *graph = plan->graph;
    size_t bytes = ((size_t)graph->n_values + 1) * sizeof(int);
    plan->first_instance = malloc(bytes);
    plan->last_reader = malloc(bytes);
    if (!plan->first_instance || !plan->last_reader) return tw_no_memory(error, 2 * bytes, "a plan");
    for (int i = 0; i < graph->n_values; i++) plan->first_instance[i] = plan->last_reader[i] = -1;
    for (int i = 0; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_in; j++)
            if (graph->nodes[i].in[j] >= 0) plan->last_reader[graph->nodes[i].in[j]] = i;
    for (int i = 0; i < graph->n_outputs; i++) plan->last_reader[graph->outputs[i]] = graph->n_nodes;
    return TW_OK;
}

/* ---- several steps in one launch ---- */

static bool is_view(const tw_node *node)
{
    return strcmp(node->op->name, "reshape") == 0;
}

/* Has auto a design for the node that joins others? */
static bool may_join(const tw_plan *plan, const tw_node *node)
{
    const tw_design *designs[MAX_DESIGNS];
    const tw_type plain = {tw_precision_dtype(plan->desc.precision), TW_PLAIN};
    const char *device = plan->device->backend->name, *reason;
    char wanted[TW_DESIGN_NAME];
    wanted_design(plan, node->op->name, wanted);
    size_t count = tw_designs(node->op->name, device, designs, MAX_DESIGNS);
    for (size_t i = 0; i < count; i++) {
        tw_problem problem;
        if (!designs[i]->joins || (*wanted && strcmp(wanted, designs[i]->name) != 0)) continue;
        tw_problem_init(&problem, node->op, node->params, plan->desc.precision);
        if (tw_design_accepts(designs[i], &problem, plain, plain, plan->device, &reason)) return true;
    }
    return false;
}

/* One launch for what were two or less is no gain, since such a launch takes longer: at least three, views not counted. */
static tw_status find_neighbours(tw_plan *plan, tw_error *error)
{
    enum { AT_LEAST = 3 };
    const tw_graph *graph = plan->graph;
    plan->neighbours = calloc((size_t)graph->n_nodes + 1, sizeof *plan->neighbours);
    if (!plan->neighbours) return tw_no_memory(error, (size_t)graph->n_nodes, "a plan");
    int first = 0, count = 0;
    for (int i = 0; i <= graph->n_nodes; i++) {
        if (i < graph->n_nodes && is_view(&graph->nodes[i])) continue;
        if (i < graph->n_nodes && may_join(plan, &graph->nodes[i])) {
            count++;
            continue;
        }
        for (int j = first; j < i; j++) plan->neighbours[j] = count >= AT_LEAST;
        first = i + 1;
        count = 0;
    }
    return TW_OK;
}

/* Only step i reads what the step before it writes, and only as its first input. */
static bool alone_reads_before(const tw_plan *plan, size_t i)
{
    const tw_placed_step *step = &plan->steps[i];
    const int between = plan->steps[i - 1].out;
    if (step->node < 0 || step->in[0].buffer != between || step->out == between) return false;
    for (int j = 1; j < step->problem.n_in; j++)
        if (step->in[j].buffer == between) return false;
    return plan->buffers[between].last == (int)i;
}

/* The design by which step i is launched as one with the step before it, or null: the one that the user named, or where
 * none is named the one by which both are predicted to take less. *problem and *seconds become the step's and the pair's. */
static const tw_design *find_follower(const tw_plan *plan, size_t i, tw_problem *problem, double *seconds)
{
    const tw_placed_step *before = &plan->steps[i - 1], *step = &plan->steps[i];
    const tw_design *designs[MAX_DESIGNS], *best = NULL;
    const char *op = step->problem.op->name, *reason;
    char wanted[TW_DESIGN_NAME];
    wanted_design(plan, op, wanted);
    size_t count = tw_designs(op, plan->device->backend->name, designs, MAX_DESIGNS);
    *seconds = before->predicted + step->predicted;
    for (size_t j = 0; j < count; j++) {
        const tw_design *design = tw_design_on(designs[j], plan->device);
        if (!design->follows || strcmp(design->follows, before->design->name) != 0) continue;
        if (*wanted && design != step->design) continue;
        tw_problem tried;
        tw_problem_init(&tried, step->problem.op, step->problem.params, plan->desc.precision);
        if (!tw_design_accepts(design, &tried, step->problem.in[0], step->problem.out, plan->device, &reason)) continue;
        const double both = design->pair_cost(&before->problem, &tried, plan->device);
        if (!isfinite(both) || (!*wanted && both >= *seconds)) continue;
        best = design;
        *problem = tried;
        *seconds = both;
    }
    return best;
}

/* Step i and the one before are one launch by this design; what is predicted of it is shared out among the two. */
static tw_status pair(tw_plan *plan, size_t i, const tw_design *design, double seconds, tw_error *error)
{
    tw_placed_step *before = &plan->steps[i - 1], *step = &plan->steps[i];
    const double own = step->predicted / (before->predicted + step->predicted);
    before->together = 2;
    before->predicted = seconds * (1 - own);
    before->measured = step->measured = NAN;
    step->predicted = seconds * own;
    if (step->design == design) return TW_OK;
    step->design = design;
    ask_design(plan, step);
    if (!step->workspace_bytes) {
        if (step->workspace >= 0) plan->buffers[step->workspace].bytes = 0;
        step->workspace = -1;
        return TW_OK;
    }
    if (step->workspace < 0 && (step->workspace = add_buffer(plan, 0, -1)) < 0)
        return tw_no_memory(error, sizeof(tw_buffer), "a workspace");
    tw_buffer *workspace = &plan->buffers[step->workspace];
    workspace->bytes = step->workspace_bytes;
    workspace->first = workspace->last = (int)i;
    return TW_OK;
}

/* While layers are measured each runs alone. */
static tw_status find_pairs(tw_plan *plan, tw_error *error)
{
    if (plan->desc.tuning && plan->desc.tuning->trial) return TW_OK;
    for (size_t i = 1; i < plan->n_steps; i++) {
        tw_problem problem;
        double seconds;
        if (plan->steps[i - 1].node < 0 || plan->steps[i - 1].design->joins || !alone_reads_before(plan, i)) continue;
        const tw_design *design = find_follower(plan, i, &problem, &seconds);
        if (!design) continue;
        plan->steps[i].problem = problem;
        tw_status status = pair(plan, i, design, seconds, error);
        if (status != TW_OK) return status;
        i++; /* a step is of one pair */
    }
    return TW_OK;
}

/* While one of the steps runs, so may the others: the buffers of all live as long as the launch. */
static void join(tw_plan *plan, size_t first, size_t count)
{
    const int end = (int)(first + count - 1);
    plan->steps[first].together = count;
    for (size_t i = first; i < first + count; i++) {
        tw_placed_step *step = &plan->steps[i];
        step->launch = first;
        step->internal = count > 1 && plan->buffers[step->out].last <= end;
    }
    for (size_t i = first; i < first + count; i++)
        for (int j = -2; j < plan->steps[i].problem.n_in; j++) {
            const tw_placed_step *step = &plan->steps[i];
            const int index = j == -2 ? step->out : j == -1 ? step->workspace : step->in[j].buffer;
            if (index < 0) continue;
            tw_buffer *buffer = &plan->buffers[index];
            if (buffer->first > (int)first) buffer->first = (int)first;
            if (buffer->last < end) buffer->last = end;
        }
}

static tw_status join_steps(tw_plan *plan, tw_error *error)
{
    const tw_backend *backend = plan->device->backend;
    const size_t count = plan->n_steps, bytes = (count + 1) * sizeof(void *);
    const tw_design **designs = malloc(bytes);
    const tw_problem **problems = malloc(bytes);
    for (size_t i = 0; designs && problems && i < count; i++) {
        designs[i] = plan->steps[i].design;
        problems[i] = &plan->steps[i].problem;
    }
    for (size_t i = 0; designs && problems && i < count; i += plan->steps[i].together) {
        size_t together = plan->steps[i].together; /* a pair */
        if (!together)
            together = backend->together ? backend->together(plan->device, designs + i, problems + i, count - i) : 1;
        join(plan, i, together);
    }
    const bool done = designs && problems;
    free(designs);
    free(problems);
    return done ? TW_OK : tw_no_memory(error, 2 * bytes, "a plan");
}

tw_status tw_plan_choose(tw_plan *plan, tw_error *error)
{
    tw_graph *graph = plan->graph;
    tw_status status = check_names(plan, error);
    if (status == TW_OK) status = find_readers(plan, error);
    if (status == TW_OK) status = find_neighbours(plan, error);
    for (int i = 0; status == TW_OK && i < graph->n_inputs; i++) {
        size_t bytes = tw_type_bytes(&graph->values[graph->inputs[i]].shape, end_type);
        int buffer = add_buffer(plan, bytes, i);
        if (buffer < 0 || !add_instance(plan, graph->inputs[i], end_type, buffer))
            status = tw_no_memory(error, bytes, "inputs");
    }
    for (int i = 0; status == TW_OK && i < graph->n_nodes; i++)
        status = is_view(&graph->nodes[i]) ? add_view(plan, &graph->nodes[i], error) : add_node_step(plan, i, error);
    for (int i = 0; status == TW_OK && i < graph->n_outputs; i++)
        if (!tw_plan_instance(plan, graph->outputs[i], end_type))
            status = add_reorder(plan, graph->outputs[i], end_type, error);
    if (status == TW_OK) extend_lifetimes(plan);
    if (status == TW_OK) status = find_pairs(plan, error);
    return status == TW_OK ? join_steps(plan, error) : status;
}
