/* A design is one way to do one operator on one device. Outside its file it is known by this record alone.
 * Registry, listing, tests, verify, bench and tune all iterate src/ops/designs.def. */
#ifndef TW_CORE_DESIGN_H
#define TW_CORE_DESIGN_H

#include "core/op.h"

/* Where steps run in order: a thread pool, a CUDA stream, a Metal encoder. */
typedef struct tw_queue tw_queue;

/* What is to be done: the operator's parameters and the type of each operand, in the operator's order. In fp16 and bf16
 * activations are of that type, except that either end may be float32, as a graph's own ends are. Parameters are always
 * float32; a design that wants them narrower packs them. */
typedef struct tw_problem {
    const tw_op *op;
    const void *params; /* e.g. tw_conv2d */
    tw_precision precision;
    tw_type in[TW_MAX_OPERANDS], out;
    int n_in;
} tw_problem;

/* One step of a plan: a problem with its buffers. All are placed; nothing is allocated or decided from here on.
 * `out` never overlaps an input, except where the design's record says `in_place`. Buffers of activations are 64-byte
 * aligned in a plan's arena; those of the caller and mapped parameters need not be. */
typedef struct tw_step {
    const tw_problem *problem;
    const char *name;                /* the layer's, for profilers; may be null */
    const void *in[TW_MAX_OPERANDS]; /* null where absent */
    void *out;
    const void *packed; /* the weights as pack() left them; null where nothing is packed */
    void *workspace;    /* at least workspace() bytes, 64-byte aligned, contents undefined */
    size_t together;    /* steps from this one on that are launched as one; 0 or 1: this alone */
    bool internal;      /* only steps launched together with this one read its result: it need not be written */
} tw_step;

enum {
    TW_IN_FP32 = 1 << TW_PRECISION_FP32,
    TW_IN_TF32 = 1 << TW_PRECISION_TF32,
    TW_IN_FP16 = 1 << TW_PRECISION_FP16,
    TW_IN_BF16 = 1 << TW_PRECISION_BF16,
    TW_IN_ALL = TW_IN_FP32 | TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16
};

typedef struct tw_design {
    const char *op;      /* "conv2d"   */
    const char *device;  /* "cpu"      */
    const char *name;    /* "winograd": the file is src/ops/conv2d/cpu_winograd.c */
    const char *summary; /* one line for `tilewise designs` */
    double tolerance;    /* in fp32: largest error against the reference, relative to the layer's scale; 0: 1e-5 */
    unsigned precisions; /* TW_IN_FP32 | ...; 0: fp32. tf32 is a permission: designs in fp32 serve it too */
    bool yardstick;      /* a vendor's library: never chosen by auto; shown in brackets */
    bool in_place;       /* out may be in[0] itself */
    bool joins;          /* for little work: neighbours in a plan that join are launched as one; auto takes it there */
    bool varies_with_threads; /* results may differ in the last bits between thread counts */

    /* Can it serve this problem here? If not, *reason is for a person: "needs a 3x3 kernel with stride 1". */
    bool (*supports)(const tw_problem *problem, const tw_device *device, const char **reason);

    /* Bytes; a null function means none. */
    size_t (*workspace)(const tw_problem *problem, const tw_device *device);
    size_t (*packed_bytes)(const tw_problem *problem, const tw_device *device);
    /* `in` holds the parameters (roles TW_ROLE_PARAMETER); activations are null. A design that packs reads its
     * weights from step->packed alone; a bias stays an operand. */
    void (*pack)(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed);

    /* Predicted seconds, from the device's peaks. `auto` takes the least; `tune` measures instead. */
    double (*cost)(const tw_problem *problem, const tw_device *device);

    /* Enqueue the step. Neither allocates nor blocks; fails only as the device fails. */
    tw_status (*run)(const tw_step *step, tw_queue *queue);

    /* All or none. A step may be launched as one with the step before it, of the design `follows`, whose result only
     * this one reads, as its first input, and which then is not written: what both take in one launch, infinite where
     * that cannot be, and how they are enqueued. auto takes such a design for pairs alone. */
    const char *follows;
    double (*pair_cost)(const tw_problem *before, const tw_problem *problem, const tw_device *device);
    tw_status (*run_pair)(const tw_step *steps, tw_queue *queue);
} tw_design;

/* The registry: designs.def in order; for an operator and a kind of device (metal-sim's are metal's), or all (null). Returns the count of matches and
 * writes up to `capacity` of them. */
size_t tw_designs(const char *op, const char *device, const tw_design **designs, size_t capacity);
const tw_design *tw_design_find(const char *op, const char *device, const char *name);
/* The device's own build of a design that the registry gave: on a CPU, the one for its instruction set. */
const tw_design *tw_design_on(const tw_design *design, const tw_device *device);
/* Is it the name of any operator's design on this kind of device? */
bool tw_design_known(const char *device, const char *name);

/* What "conv2d=winograd,naive" says of an operator: OP=NAME goes before a bare name, and a bare name that the operator
 * has on this kind of device ("all" and "auto" too) before one that it has not; of equals, the last. "auto" where
 * nothing is said (spec may be null). */
enum { TW_DESIGN_NAME = 64 };
void tw_design_wanted(const char *spec, const char *op, const char *device, char name[TW_DESIGN_NAME]);

/* The pairs of layouts, inputs' and output's, that are tried, blocked first. */
enum { TW_LAYOUT_PAIRS = 7 };
extern const tw_layout tw_layout_pairs[TW_LAYOUT_PAIRS][2];

/* By its record; tf32 is a permission. */
bool tw_design_has_precision(const tw_design *design, tw_precision precision);
/* Fills the problem's types for a design from those wanted for its inputs and its output, and asks for its precisions
 * and supports(). */
bool tw_design_accepts(const tw_design *design, tw_problem *problem, tw_type in, tw_type out, const tw_device *device,
                       const char **reason);
/* Sets op, params, n_in, presence and dtype of each operand; layouts plain. */
void tw_problem_init(tw_problem *problem, const tw_op *op, const void *params, tw_precision precision);
/* Tries all pairs of layouts in order, activations in the precision's own type or, as at a network's beginning, inputs in
 * float32; leaves in `problem` the first that the design accepts. */
bool tw_design_fit(const tw_design *design, tw_problem *problem, const tw_device *device, const char **reason);

/* Each operand once, channels as in the tensor, parameters as wide as the precision stores. */
double tw_problem_bytes(const tw_problem *problem);

#endif
