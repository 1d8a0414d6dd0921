/* The registry: every design of every operator, in designs.def's order. */
#include "core/design.h"
#include "devices/cpu/cpu.h"
#include "devices/device.h"

#include <stdio.h>
#include <string.h>

/* A CPU design is compiled once for each instruction set: one entry, several records. */
enum { MAX_VARIANTS = 3 };
typedef struct entry {
    const tw_design *variants[MAX_VARIANTS]; /* the first is the one that lists show */
    tw_isa isa[MAX_VARIANTS];
} entry;

#define DESIGN(op, device, name) DECLARE_##device(op, name)
#if defined(__x86_64__)
#define DECLARE_cpu(op, name)                                                                                          \
    extern const tw_design tw_##op##_cpu_##name##_portable, tw_##op##_cpu_##name##_avx2, tw_##op##_cpu_##name##_avx512;
#define ENTRY_cpu(op, name)                                                                                            \
    {{&tw_##op##_cpu_##name##_portable, &tw_##op##_cpu_##name##_avx2, &tw_##op##_cpu_##name##_avx512},                 \
     {TW_ISA_PORTABLE, TW_ISA_AVX2, TW_ISA_AVX512}},
#elif defined(__aarch64__)
#define DECLARE_cpu(op, name) extern const tw_design tw_##op##_cpu_##name##_neon;
#define ENTRY_cpu(op, name) {{&tw_##op##_cpu_##name##_neon}, {TW_ISA_NEON}},
#else
#define DECLARE_cpu(op, name) extern const tw_design tw_##op##_cpu_##name##_portable;
#define ENTRY_cpu(op, name) {{&tw_##op##_cpu_##name##_portable}, {TW_ISA_PORTABLE}},
#endif
#define DECLARE_cuda(op, name) extern const tw_design tw_##op##_cuda_##name;
#define ENTRY_cuda(op, name) {{&tw_##op##_cuda_##name}, {TW_ISA_PORTABLE}},
#define DECLARE_metal(op, name) extern const tw_design tw_##op##_metal_##name;
#define ENTRY_metal(op, name) {{&tw_##op##_metal_##name}, {TW_ISA_PORTABLE}},
#include "ops/designs.def"
#undef DESIGN

static const entry entries[] = {
#define DESIGN(op, device, name) ENTRY_##device(op, name)
#include "ops/designs.def"
#undef DESIGN
};

static const size_t entry_count = sizeof entries / sizeof *entries;

const tw_design *tw_design_on(const tw_design *design, const tw_device *device)
{
    if (strcmp(design->device, "cpu") != 0) return design;
    tw_isa isa = tw_cpu_of(device)->isa;
    for (size_t i = 0; i < entry_count; i++)
        for (int v = 0; entries[i].variants[0] == design && v < MAX_VARIANTS; v++)
            if (entries[i].variants[v] && entries[i].isa[v] == isa) return entries[i].variants[v];
    return design;
}

/* What the designs for a kind of device say: "metal" for metal-sim. */
static const char *records_of(const char *device)
{
    size_t count;
    const tw_backend *const *backends = tw_backends(&count);
    for (size_t i = 0; device && i < count; i++)
        if (backends[i]->records && strcmp(backends[i]->name, device) == 0) return backends[i]->records;
    return device;
}

size_t tw_designs(const char *op, const char *device, const tw_design **designs, size_t capacity)
{
    size_t count = 0;
    device = records_of(device);
    for (size_t i = 0; i < entry_count; i++) {
        if (op && strcmp(entries[i].variants[0]->op, op) != 0) continue;
        if (device && strcmp(entries[i].variants[0]->device, device) != 0) continue;
        if (count < capacity) designs[count] = entries[i].variants[0];
        count++;
    }
    return count;
}

const tw_design *tw_design_find(const char *op, const char *device, const char *name)
{
    device = records_of(device);
    for (size_t i = 0; i < entry_count; i++) {
        const tw_design *d = entries[i].variants[0];
        if (strcmp(d->op, op) == 0 && strcmp(d->device, device) == 0 && strcmp(d->name, name) == 0) return d;
    }
    return NULL;
}

bool tw_design_known(const char *device, const char *name)
{
    device = records_of(device);
    for (size_t i = 0; i < entry_count; i++)
        if (strcmp(entries[i].variants[0]->device, device) == 0 && strcmp(entries[i].variants[0]->name, name) == 0)
            return true;
    return false;
}

void tw_design_wanted(const char *spec, const char *op, const char *device, char name[TW_DESIGN_NAME])
{
    enum { NONE, BARE, BARE_OF_OP, EXACT } best = NONE;
    snprintf(name, TW_DESIGN_NAME, "auto");
    for (const char *at = spec; at && *at;) {
        size_t length = strcspn(at, ",");
        const char *equals = memchr(at, '=', length), *start = equals ? equals + 1 : at;
        bool same = equals && strlen(op) == (size_t)(equals - at) && strncmp(at, op, (size_t)(equals - at)) == 0;
        char item[TW_DESIGN_NAME];
        snprintf(item, sizeof item, "%.*s", (int)(at + length - start), start);
        bool every = strcmp(item, "auto") == 0 || strcmp(item, "all") == 0 || tw_design_find(op, device, item);
        int kind = same ? EXACT : equals ? NONE : every ? BARE_OF_OP : BARE;
        if (kind != NONE && kind >= (int)best) {
            memcpy(name, item, sizeof item);
            best = kind;
        }
        at += length + (at[length] == ',');
    }
}

static tw_role role_of(const tw_op *op, int operand)
{
    return op->n_in == 0 ? TW_ROLE_ACTIVATION : op->roles[operand];
}

void tw_problem_init(tw_problem *problem, const tw_op *op, const void *params, tw_precision precision)
{
    memset(problem, 0, sizeof *problem);
    problem->op = op;
    problem->params = params;
    problem->precision = precision;
    problem->n_in = op->operands(params);
    tw_dtype dtype = tw_precision_dtype(precision);
    for (int i = 0; i < problem->n_in; i++) {
        tw_shape shape;
        op->operand_shape(params, i, &shape);
        tw_dtype present = role_of(op, i) == TW_ROLE_PARAMETER ? TW_F32 : dtype;
        problem->in[i] = (tw_type){shape.rank < 0 ? TW_ABSENT : present, TW_PLAIN};
    }
    problem->out = (tw_type){dtype, TW_PLAIN};
}

bool tw_design_has_precision(const tw_design *design, tw_precision precision)
{
    unsigned in = design->precisions ? design->precisions : TW_IN_FP32;
    return in & 1u << precision || (precision == TW_PRECISION_TF32 && in & TW_IN_FP32);
}

bool tw_design_accepts(const tw_design *design, tw_problem *problem, tw_type in, tw_type out, const tw_device *device,
                       const char **reason)
{
    for (int i = 0; i < problem->n_in; i++) {
        tw_role role = role_of(problem->op, i);
        if (problem->in[i].dtype == TW_ABSENT || role == TW_ROLE_PARAMETER) continue;
        problem->in[i] = role == TW_ROLE_LIKE_OUTPUT ? out : in;
    }
    problem->out = out;
    *reason = "does not compute in this precision";
    return tw_design_has_precision(design, problem->precision) && design->supports(problem, device, reason);
}

const tw_layout tw_layout_pairs[TW_LAYOUT_PAIRS][2] = {
    {TW_BLOCKED, TW_BLOCKED}, {TW_PLAIN, TW_BLOCKED}, {TW_NHWC, TW_NHWC},   {TW_PLAIN, TW_NHWC},
    {TW_BLOCKED, TW_PLAIN},   {TW_NHWC, TW_PLAIN},    {TW_PLAIN, TW_PLAIN},
};

bool tw_design_fit(const tw_design *design, tw_problem *problem, const tw_device *device, const char **reason)
{
    const char *reasons[TW_LAYOUT_PAIRS];
    for (int i = 0; i < TW_LAYOUT_PAIRS; i++) {
        tw_dtype own = tw_precision_dtype(problem->precision);
        tw_type in = {own, tw_layout_pairs[i][0]}, out = {own, tw_layout_pairs[i][1]}, wide = {TW_F32, in.layout};
        reasons[i] = "no reason given";
        if (tw_design_accepts(design, problem, in, out, device, &reasons[i]) ||
            tw_design_accepts(design, problem, wide, out, device, &reasons[i]))
            return true;
    }
    /* Most pairs fail for their layouts; the reason that the fewest gave is the one that counts. */
    int fewest = TW_LAYOUT_PAIRS + 1;
    for (int i = 0; i < TW_LAYOUT_PAIRS; i++) {
        int same = 0;
        for (int j = 0; j < TW_LAYOUT_PAIRS; j++) same += strcmp(reasons[i], reasons[j]) == 0;
        if (same < fewest) {
            fewest = same;
            *reason = reasons[i];
        }
    }
    return false;
}

double tw_problem_bytes(const tw_problem *problem)
{
    double bytes = 0;
    for (int i = 0; i <= problem->n_in; i++) {
        tw_shape shape;
        problem->op->operand_shape(problem->params, i, &shape);
        if (shape.rank < 0) continue;
        bool parameter = i < problem->n_in && role_of(problem->op, i) == TW_ROLE_PARAMETER;
        tw_dtype dtype = parameter            ? tw_precision_dtype(problem->precision)
                         : i == problem->n_in ? problem->out.dtype
                                              : problem->in[i].dtype;
        bytes += (double)tw_layout_count(&shape, TW_PLAIN) * (double)tw_dtype_bytes(dtype);
    }
    return bytes;
}
