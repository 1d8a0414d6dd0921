/* How one device does a graph: a flat list of steps with every buffer placed. */
#ifndef TW_CORE_PLAN_H
#define TW_CORE_PLAN_H

#include "core/graph.h"
#include "core/tuning.h"
#include "devices/device.h"

/* Memory of a run's arena, or a caller's input. Lifetimes are step numbers, both ends included. */
typedef struct tw_buffer {
    size_t bytes, offset;
    int first, last;
    int input;       /* the graph's input whose memory it is, or -1 */
    int last_reader; /* the last node that reads a value in it; the count of nodes for an output's */
} tw_buffer;

/* A value in one type. */
typedef struct tw_instance {
    int value;
    tw_type type;
    int buffer;
    int next; /* of the same value, or -1 */
} tw_instance;

typedef struct tw_operand {
    int buffer;          /* or -1: */
    const void *pointer; /* a parameter on the device, or null where absent */
} tw_operand;

typedef struct tw_placed_step {
    const char *name; /* the node's, or the value's that a reorder serves */
    const tw_design *design;
    tw_problem problem;
    int node;         /* or -1: a reorder */
    void *own_params; /* of a reorder */
    int value;        /* computed */
    char *note;       /* why another design than the wanted one was taken */
    double predicted;
    double measured; /* NaN: chosen by prediction */
    tw_operand in[TW_MAX_OPERANDS];
    int out, workspace; /* buffers; workspace may be -1 */
    size_t workspace_bytes, packed_bytes;
    const void *packed;
    size_t launch;   /* the first of the steps that are launched as one with this */
    size_t together; /* of the first: how many; of others 0 */
    bool internal;   /* as in tw_step */
} tw_placed_step;

struct tw_plan {
    tw_graph *graph; /* the plan's own, after the passes */
    tw_device *device;
    tw_plan_desc desc;
    tw_placed_step *steps;
    size_t n_steps, steps_capacity;
    tw_instance *instances;
    size_t n_instances, instances_capacity;
    int *first_instance; /* of each value, or -1 */
    int *last_reader;    /* of each value: see tw_buffer */
    int trials;          /* how many there are: see tw_tuning.trial */
    bool *neighbours;    /* of each node: several that follow one another have designs that join */
    tw_buffer *buffers;
    size_t n_buffers, buffers_capacity;
    size_t arena_bytes, values_bytes;
    char *packed; /* one block for all steps */
    size_t packed_bytes;
    void **uploads; /* parameters' copies, on a device with memory of its own */
    size_t n_uploads;
    int references; /* atomic */
};

void tw_plan_retain(tw_plan *plan);

/* choose.c: fills the plan's steps, instances and buffers. */
tw_status tw_plan_choose(tw_plan *plan, tw_error *error);
/* memory.c: places all buffers in one arena, by size, each in the lowest gap free during its lifetime. */
tw_status tw_plan_place(tw_plan *plan, tw_error *error);
/* pack.c: weights as the chosen designs want them. */
tw_status tw_plan_pack(tw_plan *plan, tw_error *error);

/* Are the caller's inputs read where they lie, or copied into the arena? */
bool tw_plan_reads_callers_inputs(const tw_plan *plan);
const tw_instance *tw_plan_instance(const tw_plan *plan, int value, tw_type type);
const tw_instance *tw_plan_any_instance(const tw_plan *plan, int value);
/* The memory is the same in either layout: one pixel, whole blocks. */
bool tw_layouts_coincide(const tw_shape *shape, tw_layout a, tw_layout b);

#endif
