/* What an operator means, whoever does it: its parameters, its operands' shapes, its work and its bytes.
 *
 * Each operator's room has one tw_op record in NAME.c, listed in src/ops/ops.def. Parameters are a struct of 32-bit
 * ints and floats that C, CUDA and Metal include; all of the operands' shapes follow from it. */
#ifndef TW_CORE_OP_H
#define TW_CORE_OP_H

#include "tilewise.h"

#define TW_MAX_OPERANDS 16

/* How the elements of an activation lie. A plan chooses; parameters and tensors at the ends are always TW_PLAIN. */
typedef enum tw_layout {
    TW_PLAIN,   /* row-major: [n][c][h][w] or [n][features] */
    TW_NHWC,    /* [n][h][w][c] */
    TW_BLOCKED, /* [n][ceil(c / 16)][h][w][16]; the channels beyond c are always zero */
    TW_LAYOUTS
} tw_layout;
enum { TW_BLOCK = 16 };

const char *tw_layout_name(tw_layout layout);

typedef struct tw_type {
    tw_dtype dtype; /* TW_ABSENT for an optional operand that is not there */
    tw_layout layout;
} tw_type;

/* What activations are stored as in a precision. tf32 is a way of multiplying: it stores float32. */
static inline tw_dtype tw_precision_dtype(tw_precision precision)
{
    return precision == TW_PRECISION_FP16 ? TW_F16 : precision == TW_PRECISION_BF16 ? TW_BF16 : TW_F32;
}
const char *tw_precision_name(tw_precision precision);

/* What an operand is, which decides its layout. */
typedef enum tw_role {
    TW_ROLE_NONE,
    TW_ROLE_ACTIVATION,  /* input: in the layout that the problem's inputs share */
    TW_ROLE_LIKE_OUTPUT, /* input in the output's layout and shape: a residual */
    TW_ROLE_PARAMETER    /* always plain */
} tw_role;

typedef struct tw_op {
    const char *name;   /* "conv2d" */
    size_t params_size; /* of its struct */
    int n_in;           /* operands; absent ones included; 0: as many as params say (concat), all activations */
    tw_role roles[5];

    /* Fills what follows from the inputs' shapes (sizes, n, output sizes) and gives the output's shape. `in[i].rank`
     * is -1 for an absent operand. Checks everything: overflow, sizes below one, disagreement. */
    tw_status (*infer)(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error);

    /* The number of operands, and the shape of operand i (rank -1: absent); index n_in is the output. From params alone. */
    int (*operands)(const void *params);
    void (*operand_shape)(const void *params, int index, tw_shape *shape);

    double (*flops)(const void *params);

    /* Problem descriptors, as benchdnn's without the operator: "mb1ic64ih56oc64oh56kh3ph1". parse() checks all and
     * fills all. print() writes what parse() reads. */
    tw_status (*parse)(const char *text, void *params, tw_error *error);
    void (*print)(const void *params, char *text, size_t size);
} tw_op;

/* Every operator, in ops.def's order. */
size_t tw_op_count(void);
const tw_op *tw_op_at(size_t index);
const tw_op *tw_op_find(const char *name);

/* Bytes of all operands, each once: what must move at least. */
double tw_op_bytes(const tw_op *op, const void *params, size_t element);

/* Elements in a layout, and their bytes in a type; overflow has been excluded by infer(). */
size_t tw_layout_count(const tw_shape *shape, tw_layout layout);
size_t tw_type_bytes(const tw_shape *shape, tw_type type);

/* Channels and pixels of a shape seen as [n][c][pixels]; rank 2 has one pixel. */
typedef struct tw_view {
    int n, c, pixels;
} tw_view;
tw_view tw_shape_view(const tw_shape *shape);

/* Descriptor scanning: reads "key" + number pairs in any order ("mb1ic64..."), an optional n"name" at the end ignored.
 * keys[i] names values[i]; values arrive with their defaults. A key that is unknown or given twice, a missing number,
 * or one out of int's range fails, naming the place. seen (may be null) has bit i set where keys[i] was given. */
tw_status tw_desc_scan(const char *text, const char *const *keys, int *values, int count, uint64_t *seen,
                       tw_error *error);
/* Reads "1x64x112x112" into a shape. */
tw_status tw_desc_dims(const char *text, tw_shape *shape, tw_error *error);

#endif
