#include "bench/layer.h"
#include "core/half.h"
#include "core/status.h"
#include "devices/cpu/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, GUARD_BYTE = 0xa5, POISON_BYTE = 0xff /* all ones is a NaN */ };

struct tw_layer {
    tw_device *device;
    const tw_op *op;
    void *params;
    tw_precision precision;
    int n_in;
    tw_shape shapes[TW_MAX_OPERANDS], out_shape;
    float *operands[TW_MAX_OPERANDS]; /* plain, in host memory; null where absent */
    float *reference;                 /* plain; null before the first check */
    bool forced;
    tw_type in, out; /* where forced */
};

/* A design set up on a layer: memory on the device and one step. */
typedef struct setup {
    const tw_design *design;
    tw_problem problem;
    tw_step step;
    tw_queue *queue;
    struct {
        void *memory;
        size_t bytes;
        uint64_t hash; /* of what must not change; 0: an output or workspace */
    } blocks[TW_MAX_OPERANDS + 3];
    int n_blocks;
    size_t out_bytes, workspace_bytes, packed_bytes;
} setup;

double tw_design_tolerance(const tw_design *design, tw_precision precision)
{
    if (precision == TW_PRECISION_TF32 || precision == TW_PRECISION_FP16) return 2e-3;
    if (precision == TW_PRECISION_BF16) return 1.6e-2;
    return design->tolerance > 0 ? design->tolerance : 1e-5;
}

/* ---- operands ---- */

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void fill(float *data, size_t count, float low, float high, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) data[i] = low + (high - low) * (float)(next(&seed) >> 40) * 0x1p-24f;
}

static bool is_parameter(const tw_op *op, int operand)
{
    return op->n_in && op->roles[operand] == TW_ROLE_PARAMETER;
}

static void fill_operand(tw_layer *layer, int i, uint64_t seed)
{
    const tw_shape *shape = &layer->shapes[i];
    size_t count = tw_layout_count(shape, TW_PLAIN);
    bool variance = strcmp(layer->op->name, "batchnorm") == 0 && i == 4;
    float range = 1;
    if (is_parameter(layer->op, i) && shape->rank > 1) range = sqrtf((float)shape->dims[0] / (float)count);
    fill(layer->operands[i], count, variance ? 0.5f : -range, variance ? 1.5f : range, seed);
    if (tw_precision_dtype(layer->precision) == TW_F32) return; /* tf32 too: rounding is then the design's own affair */
    for (size_t j = 0; j < count; j++) layer->operands[i][j] = tw_round_to(layer->precision, layer->operands[i][j]);
}

tw_status tw_layer_create(tw_device *device, const tw_layer_desc *desc, tw_layer **out, tw_error *error)
{
    const tw_op *op = desc->op;
    *out = NULL;
    tw_layer *layer = calloc(1, sizeof *layer);
    if (!layer) return tw_no_memory(error, sizeof *layer, "a layer");
    layer->device = device;
    tw_device_retain(device);
    layer->op = op;
    layer->precision = desc->precision;
    layer->params = malloc(op->params_size);
    tw_status status = layer->params ? TW_OK : tw_no_memory(error, op->params_size, "a layer");
    if (status == TW_OK) {
        memcpy(layer->params, desc->params, op->params_size);
        layer->n_in = op->operands(desc->params);
        op->operand_shape(desc->params, layer->n_in, &layer->out_shape);
    }
    for (int i = 0; status == TW_OK && i < layer->n_in; i++) {
        op->operand_shape(desc->params, i, &layer->shapes[i]);
        if (layer->shapes[i].rank < 0) continue;
        size_t count;
        status = tw_shape_count(&layer->shapes[i], TW_F32, &count, error);
        if (status != TW_OK) break;
        layer->operands[i] = tw_alloc(count * sizeof(float));
        if (!layer->operands[i])
            status = tw_no_memory(error, count * sizeof(float), "an operand");
        else
            fill_operand(layer, i, desc->seed * 31 + (uint64_t)i);
    }
    if (status != TW_OK)
        tw_layer_destroy(layer);
    else
        *out = layer;
    return status;
}

void tw_layer_destroy(tw_layer *layer)
{
    if (!layer) return;
    for (int i = 0; i < layer->n_in; i++) free(layer->operands[i]);
    free(layer->reference);
    free(layer->params);
    tw_device_release(layer->device);
    free(layer);
}

void tw_layer_use(tw_layer *layer, tw_device *device)
{
    tw_device_retain(device);
    tw_device_release(layer->device);
    layer->device = device;
}

void tw_layer_force_types(tw_layer *layer, tw_type in, tw_type out)
{
    layer->forced = true;
    layer->in = in;
    layer->out = out;
}

/* `design` is the device's own. */
static bool fits(const tw_layer *layer, const tw_design *design, tw_problem *problem, const char **reason)
{
    tw_problem_init(problem, layer->op, layer->params, layer->precision);
    return layer->forced ? tw_design_accepts(design, problem, layer->in, layer->out, layer->device, reason)
                         : tw_design_fit(design, problem, layer->device, reason);
}

/* ---- layouts, one element at a time ---- */

static size_t place_of(size_t index, const tw_view *v, tw_layout layout)
{
    size_t pixels = (size_t)v->pixels, channels = (size_t)v->c;
    size_t n = index / (channels * pixels), c = index / pixels % channels, p = index % pixels;
    if (layout == TW_BLOCKED)
        return ((n * ((channels + TW_BLOCK - 1) / TW_BLOCK) + c / TW_BLOCK) * pixels + p) * TW_BLOCK + c % TW_BLOCK;
    if (layout == TW_NHWC) return (n * pixels + p) * channels + c;
    return index;
}

/* ---- setting up ---- */

/* Never 0. */
static uint64_t hash_bytes(const void *bytes, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return hash | 1;
}

/* Device memory of `bytes` and a guard behind it, holding `host` or poison. */
static void *place(setup *s, tw_device *device, const void *host, size_t bytes, tw_error *error)
{
    void *memory;
    char *image = tw_alloc(bytes + GUARD);
    if (!image) {
        tw_no_memory(error, bytes, "an operand");
        return NULL;
    }
    if (host)
        memcpy(image, host, bytes);
    else
        memset(image, POISON_BYTE, bytes);
    memset(image + bytes, GUARD_BYTE, GUARD);
    if (device->backend->alloc(device, bytes + GUARD, &memory, error) != TW_OK) {
        free(image);
        return NULL;
    }
    s->blocks[s->n_blocks].memory = memory;
    s->blocks[s->n_blocks].bytes = bytes;
    s->blocks[s->n_blocks++].hash = host ? hash_bytes(host, bytes) : 0;
    tw_status status = device->backend->upload(s->queue, memory, image, bytes + GUARD, error);
    free(image);
    return status == TW_OK ? memory : NULL;
}

static void *place_operand(setup *s, const tw_layer *layer, int i, tw_error *error)
{
    tw_type type = s->problem.in[i];
    size_t count = tw_layout_count(&layer->shapes[i], TW_PLAIN);
    size_t bytes = tw_type_bytes(&layer->shapes[i], type);
    if (type.layout == TW_PLAIN && type.dtype == TW_F32)
        return place(s, layer->device, layer->operands[i], bytes, error);
    tw_view view = tw_shape_view(&layer->shapes[i]);
    void *arranged = tw_alloc_zero(bytes);
    if (!arranged) {
        tw_no_memory(error, bytes, "an operand");
        return NULL;
    }
    for (size_t j = 0; j < count; j++)
        tw_write_element(arranged, type.dtype, place_of(j, &view, type.layout), layer->operands[i][j]);
    void *memory = place(s, layer->device, arranged, bytes, error);
    free(arranged);
    return memory;
}

static void tear_down(setup *s, tw_device *device)
{
    for (int i = 0; i < s->n_blocks; i++) device->backend->free(device, s->blocks[i].memory);
    if (s->queue) device->backend->queue_destroy(s->queue);
}

/* The packed weights; false on failure. */
static bool set_up_packed(setup *s, const tw_layer *layer, tw_error *error)
{
    const void *parameters[TW_MAX_OPERANDS] = {0};
    for (int i = 0; i < layer->n_in; i++)
        if (is_parameter(layer->op, i)) parameters[i] = layer->operands[i];
    char *host = tw_alloc(s->packed_bytes + GUARD);
    if (!host) {
        tw_no_memory(error, s->packed_bytes, "packed weights");
        return false;
    }
    memset(host, POISON_BYTE, s->packed_bytes);
    memset(host + s->packed_bytes, GUARD_BYTE, GUARD);
    s->design->pack(&s->problem, layer->device, parameters, host);
    bool whole = true;
    for (int i = 0; i < GUARD; i++) whole = whole && (unsigned char)host[s->packed_bytes + (size_t)i] == GUARD_BYTE;
    if (!whole) tw_fail(error, TW_FAILED, "%s: pack() wrote beyond its bytes", s->design->name);
    s->step.packed = whole ? place(s, layer->device, host, s->packed_bytes, error) : NULL;
    free(host);
    return s->step.packed != NULL;
}

static tw_status set_up(const tw_layer *layer, const tw_design *design, setup *s, tw_error *error)
{
    tw_device *device = layer->device;
    const char *reason = "";
    *s = (setup){.design = tw_design_on(design, device)};
    if (!fits(layer, s->design, &s->problem, &reason))
        return tw_fail(error, TW_UNAVAILABLE, "%s refuses: %s", design->name, reason);
    tw_status status = device->backend->queue_create(device, &s->queue, error);
    if (status != TW_OK) return status;
    tw_error inner = {TW_FAILED, "out of memory"};
    bool fine = true;
    s->step.problem = &s->problem;
    s->out_bytes = tw_type_bytes(&layer->out_shape, s->problem.out);
    s->workspace_bytes = s->design->workspace ? s->design->workspace(&s->problem, device) : 0;
    s->packed_bytes = s->design->packed_bytes ? s->design->packed_bytes(&s->problem, device) : 0;
    if (s->packed_bytes) fine = set_up_packed(s, layer, &inner);
    for (int i = 0; fine && i < layer->n_in; i++) {
        /* A design that packs must not need the weights themselves. */
        if (!layer->operands[i] || (s->packed_bytes && is_parameter(layer->op, i) && i == 1)) continue;
        s->step.in[i] = place_operand(s, layer, i, &inner);
        fine = s->step.in[i] != NULL;
    }
    if (fine) fine = (s->step.out = place(s, device, NULL, s->out_bytes, &inner)) != NULL;
    if (fine && s->workspace_bytes)
        fine = (s->step.workspace = place(s, device, NULL, s->workspace_bytes, &inner)) != NULL;
    if (fine) return TW_OK;
    tear_down(s, device);
    if (error) *error = inner;
    return inner.status;
}

static tw_status run_once(const tw_layer *layer, const setup *s, tw_error *error)
{
    const tw_design *const designs[] = {s->design};
    return layer->device->backend->run_steps(s->queue, designs, &s->step, 1, NULL, error);
}

/* ---- checking ---- */

/* What a run did to memory that is not its own; null: nothing. */
static const char *find_fault(const tw_layer *layer, const setup *s)
{
    for (int i = 0; i < s->n_blocks; i++) {
        size_t bytes = s->blocks[i].bytes;
        bool constant = s->blocks[i].hash != 0, whole = true;
        unsigned char *image = tw_alloc(bytes + GUARD);
        tw_error ignored;
        if (!image || layer->device->backend->download(s->queue, image, s->blocks[i].memory, bytes + GUARD, &ignored)) {
            free(image);
            return "cannot be checked: no memory";
        }
        for (int g = 0; g < GUARD; g++) whole = whole && image[bytes + (size_t)g] == GUARD_BYTE;
        bool same = !constant || hash_bytes(image, bytes) == s->blocks[i].hash;
        free(image);
        if (!whole && constant) return "wrote behind an operand or its packed weights";
        if (!whole)
            return s->blocks[i].memory == s->step.out ? "wrote beyond its output" : "wrote beyond its workspace";
        if (!same) return "changed an operand or its packed weights";
    }
    return NULL;
}

/* Above so many operations the machine's threads share the images. */
static const double few_flops = 1e8;

/* The reference of one image at a time, which is the same whoever computes it. */
typedef struct images {
    const tw_layer *layer;
    const tw_design *design;
    tw_problem problem; /* of one */
    tw_queue *queue;
    float *out;
    bool *failed; /* atomic */
} images;

static void compute_images(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const images *all = context;
    const tw_layer *layer = all->layer;
    const size_t count = (size_t)layer->out_shape.dims[0], each = tw_layout_count(&layer->out_shape, TW_PLAIN) / count;
    for (size_t i = begin; i < end; i++) {
        tw_step step = {.problem = &all->problem, .out = all->out + i * each};
        for (int j = 0; j < layer->n_in; j++) {
            if (!layer->operands[j]) continue;
            const bool shared = is_parameter(layer->op, j);
            step.in[j] = layer->operands[j] + (shared ? 0 : i * (tw_layout_count(&layer->shapes[j], TW_PLAIN) / count));
        }
        if (all->design->run(&step, all->queue) != TW_OK) __atomic_store_n(all->failed, true, __ATOMIC_RELAXED);
    }
}

/* The layer's parameters for one of its images. */
static tw_status single_image(const tw_layer *layer, void *params, tw_error *error)
{
    tw_shape shapes[TW_MAX_OPERANDS], out;
    memcpy(params, layer->params, layer->op->params_size);
    memcpy(shapes, layer->shapes, sizeof shapes);
    for (int i = 0; i < layer->n_in; i++)
        if (layer->operands[i] && !is_parameter(layer->op, i)) shapes[i].dims[0] = 1;
    return layer->op->infer(params, shapes, layer->n_in, &out, error);
}

static tw_status compute_reference(const tw_layer *layer, tw_device *cpu, images *all, tw_error *error)
{
    const tw_type plain = {TW_F32, TW_PLAIN};
    const char *reason = "";
    bool failed = false;
    void *params = malloc(layer->op->params_size);
    tw_status status =
        params ? single_image(layer, params, error) : tw_no_memory(error, layer->op->params_size, "a layer");
    if (status == TW_OK) {
        tw_problem_init(&all->problem, layer->op, params, TW_PRECISION_FP32);
        if (!tw_design_accepts(all->design, &all->problem, plain, plain, cpu, &reason))
            status = tw_fail(error, TW_INVALID, "%s: the reference refuses: %s", layer->op->name, reason);
    }
    if (status == TW_OK) status = cpu->backend->queue_create(cpu, &all->queue, error);
    if (status == TW_OK) {
        all->failed = &failed;
        tw_parallel(all->queue, compute_images, all, (size_t)layer->out_shape.dims[0], 1);
        cpu->backend->queue_destroy(all->queue);
        if (failed) status = tw_fail(error, TW_FAILED, "%s: the reference failed", layer->op->name);
    }
    free(params);
    return status;
}

static tw_status make_reference(tw_layer *layer, tw_error *error)
{
    images all = {.layer = layer, .design = tw_design_find(layer->op->name, "cpu", "reference")};
    if (!all.design) return tw_fail(error, TW_INVALID, "%s has no reference", layer->op->name);
    const size_t bytes = tw_layout_count(&layer->out_shape, TW_PLAIN) * sizeof(float);
    const tw_device_desc desc = {.threads = layer->op->flops(layer->params) < few_flops ? 1 : 0};
    tw_device *cpu;
    tw_status status = tw_device_open("cpu", &desc, &cpu, error);
    if (status != TW_OK) return status;
    all.out = tw_alloc(bytes);
    if (all.out)
        memset(all.out, POISON_BYTE, bytes);
    else
        status = tw_no_memory(error, bytes, "the reference");
    if (status == TW_OK) status = compute_reference(layer, cpu, &all, error);
    tw_device_release(cpu);
    if (status != TW_OK)
        free(all.out);
    else
        layer->reference = all.out;
    return status;
}

static uint64_t hash_of(uint64_t hash, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (hash ^ bits) * 0x100000001b3u;
}

static void compare(const tw_layer *layer, const setup *s, const void *out, tw_layer_result *r)
{
    tw_view view = tw_shape_view(&layer->out_shape);
    tw_layout layout = s->problem.out.layout;
    tw_dtype dtype = s->problem.out.dtype;
    size_t count = tw_layout_count(&layer->out_shape, TW_PLAIN);
    double scale = 0, worst = 0, sum = 0;
    r->hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) {
        double wanted = layer->reference[i], error;
        double got = tw_read_element(out, dtype, place_of(i, &view, layout));
        error = fabs(got - wanted);
        if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
        if (fabs(wanted) > scale) scale = fabs(wanted);
        sum += error;
        r->hash = hash_of(r->hash, (float)got);
    }
    r->max_abs_err = worst;
    r->mean_abs_err = sum / (double)count;
    r->max_rel_err = worst == 0 ? 0 : worst / scale;
    if (layout != TW_BLOCKED || view.c % TW_BLOCK == 0) return;
    size_t blocks = ((size_t)view.c + TW_BLOCK - 1) / TW_BLOCK, pixels = (size_t)view.pixels;
    for (size_t n = 0; n < (size_t)view.n; n++)
        for (size_t p = 0; p < pixels; p++)
            for (int c = view.c % TW_BLOCK; c < TW_BLOCK; c++)
                if (tw_read_element(out, dtype, ((n * blocks + blocks - 1) * pixels + p) * TW_BLOCK + (size_t)c) != 0)
                    r->fault = "left something other than zero in the channels that pad the last block";
}

tw_status tw_layer_check(tw_layer *layer, const tw_design *design, tw_layer_result *result, tw_error *error)
{
    setup s;
    tw_problem problem;
    *result = (tw_layer_result){0};
    if (!fits(layer, tw_design_on(design, layer->device), &problem, &result->reason)) return TW_OK;
    tw_status status = layer->reference ? TW_OK : make_reference(layer, error);
    if (status == TW_OK) status = set_up(layer, design, &s, error);
    if (status != TW_OK) return status;
    result->supported = true;
    result->workspace_bytes = s.workspace_bytes;
    result->packed_bytes = s.packed_bytes;
    result->in = s.problem.in[0];
    result->out = s.problem.out;
    result->tolerance = tw_design_tolerance(design, layer->precision);
    void *out = tw_alloc(s.out_bytes);
    status = out ? run_once(layer, &s, error) : tw_no_memory(error, s.out_bytes, "a result");
    if (status == TW_OK) status = layer->device->backend->download(s.queue, out, s.step.out, s.out_bytes, error);
    if (status == TW_OK) {
        compare(layer, &s, out, result);
        const char *fault = find_fault(layer, &s);
        if (fault) result->fault = fault;
        result->correct = result->max_rel_err <= result->tolerance && !result->fault;
    }
    free(out);
    tear_down(&s, layer->device);
    return status;
}

enum { IN_A_ROW = 20 };

typedef struct timed {
    const tw_layer *layer;
    const setup *s;
    tw_step steps[IN_A_ROW];
    const tw_design *designs[IN_A_ROW];
    tw_samples *device; /* null while it warms up */
} timed;

static tw_status iteration(void *context, tw_error *error)
{
    const timed *t = context;
    return run_once(t->layer, t->s, error);
}

static tw_status iteration_in_a_row(void *context, tw_error *error)
{
    const timed *t = context;
    const tw_backend *backend = t->layer->device->backend;
    tw_run_times times;
    tw_status status = backend->run_steps(t->s->queue, t->designs, t->steps, IN_A_ROW, NULL, error);
    if (status == TW_OK && t->device) status = backend->times(t->s->queue, &times, error);
    if (status == TW_OK && t->device) status = tw_samples_add(t->device, times.device / IN_A_ROW, error);
    return status;
}

static tw_status time_on_device(timed *t, const tw_timing_desc *how, tw_samples *samples, tw_error *error)
{
    const tw_timing_desc warm = {.iterations = 1, .warm_up_ms = how->warm_up_ms};
    const tw_timing_desc measured = {.iterations = how->iterations, .duration_s = how->duration_s};
    tw_samples host = {0};
    for (int i = 0; i < IN_A_ROW; i++) {
        t->steps[i] = t->s->step;
        t->designs[i] = t->s->design;
    }
    tw_status status = tw_time(&warm, iteration_in_a_row, t, &host, error);
    t->device = samples;
    if (status == TW_OK) status = tw_time(&measured, iteration_in_a_row, t, &host, error);
    tw_samples_free(&host);
    return status;
}

tw_status tw_layer_time(tw_layer *layer, const tw_design *design, const tw_timing_desc *how, tw_samples *samples,
                        tw_error *error)
{
    setup s;
    tw_status status = set_up(layer, design, &s, error);
    if (status != TW_OK) return status;
    timed t = {.layer = layer, .s = &s};
    status = layer->device->backend->times ? time_on_device(&t, how, samples, error)
                                           : tw_time(how, iteration, &t, samples, error);
    tear_down(&s, layer->device);
    return status;
}
