/* What pool means, whoever does it: its shapes, its work and its problem descriptor. The rules are PyTorch's, except
 * that padding may be anything less than the kernel, as in ONNX; with ceil_mode the last window must start inside the input or its left padding. */
#include "ops/pool/pool.h"
#include "core/status.h"
#include "ops/common/dims.h"

#include <limits.h>
#include <stdio.h>

/* One of the two directions, heights or widths. */
typedef struct side {
    int in, kernel, stride, before, after, dilation;
} side;

static side side_of(const tw_pool *p, int which)
{
    return which == 0 ? (side){p->ih, p->kh, p->sh, p->pt, p->pb, p->dilh}
                      : (side){p->iw, p->kw, p->sw, p->pl, p->pr, p->dilw};
}

static int64_t out_size(const side *s, bool ceil_mode)
{
    int64_t room = (int64_t)s->in + s->before + s->after - (int64_t)s->dilation * (s->kernel - 1) - 1;
    if (ceil_mode) room += s->stride - 1;
    if (room < 0) return 0;
    int64_t out = room / s->stride + 1;
    if (ceil_mode && (out - 1) * s->stride >= (int64_t)s->in + s->before) out--;
    return out;
}

static tw_status check_sides(const tw_pool *p, tw_error *error)
{
    for (int i = 0; i < 2; i++) {
        side s = side_of(p, i);
        const char *name = i == 0 ? "height" : "width";
        if (s.kernel < 1 || s.stride < 1 || s.dilation < 1 || s.before < 0 || s.after < 0)
            return tw_fail(
                error, TW_INVALID,
                "pool: %s: kernel %d, stride %d, dilation %d, padding %d and %d: expected at least 1, 1, 1, 0 "
                "and 0",
                name, s.kernel, s.stride, s.dilation, s.before, s.after);
        if (s.before >= s.kernel || s.after >= s.kernel)
            return tw_fail(error, TW_INVALID, "pool: %s: padding of %d and %d: expected less than the kernel of %d",
                           name, s.before, s.after, s.kernel);
        if (p->kind != TW_POOL_MAX && s.dilation != 1)
            return tw_fail(error, TW_INVALID, "pool: %s: dilation %d: expected 1 for averages", name, s.dilation);
        if ((int64_t)s.in + s.before + s.after + s.stride > INT_MAX / 2)
            return tw_fail(error, TW_INVALID, "pool: %s: input %d, padding and stride %d add up to more than %d", name,
                           s.in, s.stride, INT_MAX / 2);
    }
    return TW_OK;
}

/* Adaptive windows follow from the sizes alone: the rest is not used, and kept in one form. */
static void clear_window(tw_pool *p)
{
    p->kh = p->kw = p->sh = p->sw = 0;
    p->pt = p->pl = p->pb = p->pr = 0;
    p->dilh = p->dilw = 1;
    p->ceil_mode = p->count_include_pad = 0;
}

/* Fills oh and ow, or checks them where they are given (adaptive), and all else but the input's sizes. */
static tw_status finish(tw_pool *p, tw_error *error)
{
    if (p->kind < TW_POOL_MAX || p->kind > TW_POOL_ADAPTIVE_AVERAGE)
        return tw_fail(error, TW_INVALID, "pool: kind %d: expected 0 (max), 1 (average) or 2 (adaptive average)",
                       p->kind);
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        clear_window(p);
        if (p->oh < 1 || p->ow < 1)
            return tw_fail(error, TW_INVALID, "pool: an output of %dx%d: expected at least 1x1", p->oh, p->ow);
    } else {
        tw_status status = check_sides(p, error);
        if (status != TW_OK) return status;
        p->ceil_mode = p->ceil_mode != 0;
        p->count_include_pad = p->kind == TW_POOL_AVERAGE && p->count_include_pad;
        side rows = side_of(p, 0), columns = side_of(p, 1);
        int64_t oh = out_size(&rows, p->ceil_mode), ow = out_size(&columns, p->ceil_mode);
        if (oh < 1 || ow < 1) {
            char dilation[48];
            if (p->dilh == p->dilw)
                snprintf(dilation, sizeof dilation, "%d", p->dilh);
            else
                snprintf(dilation, sizeof dilation, "%dx%d", p->dilh, p->dilw);
            return tw_fail(error, TW_INVALID, "pool: window %dx%d with dilation %s does not fit the padded input %dx%d",
                           p->kh, p->kw, dilation, p->ih + p->pt + p->pb, p->iw + p->pl + p->pr);
        }
        p->oh = (int)oh; /* at most in + padding */
        p->ow = (int)ow;
    }
    tw_shape out = {4, {p->n, p->c, p->oh, p->ow}};
    tw_dims dims;
    tw_status status = tw_dims_from("pool", &out, &dims, error);
    if (status != TW_OK) tw_error_prefix(error, "pool's output");
    return status;
}

static tw_status set_input(tw_pool *p, const tw_shape *shape, tw_error *error)
{
    tw_dims dims;
    tw_status status = tw_dims_from("pool", shape, &dims, error);
    if (status != TW_OK) return status;
    if (dims.rank != 4) return tw_fail(error, TW_INVALID, "pool: the input has %d dimensions: expected 4", dims.rank);
    p->n = dims.n;
    p->c = dims.c;
    p->ih = dims.h;
    p->iw = dims.w;
    return TW_OK;
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_pool *p = params;
    if (n_in != 1) return tw_fail(error, TW_INVALID, "pool: %d inputs: expected 1", n_in);
    tw_status status = set_input(p, &in[0], error);
    if (status == TW_OK) status = finish(p, error);
    if (status == TW_OK) *out = (tw_shape){4, {p->n, p->c, p->oh, p->ow}};
    return status;
}

static int operands(const void *params)
{
    (void)params;
    return 1;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    const tw_pool *p = params;
    *shape = index == 0 ? (tw_shape){4, {p->n, p->c, p->ih, p->iw}} : (tw_shape){4, {p->n, p->c, p->oh, p->ow}};
}

/* The sizes of all adaptive windows in one direction, added up. */
static double adaptive_span(int64_t in, int64_t out)
{
    double sum = 0;
    for (int64_t o = 0; o < out; o++) sum += (double)(((o + 1) * in + out - 1) / out - o * in / out);
    return sum;
}

/* Elements of all windows, those in the padding included. */
static double flops(const void *params)
{
    const tw_pool *p = params;
    double planes = (double)p->n * p->c;
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) return planes * adaptive_span(p->ih, p->oh) * adaptive_span(p->iw, p->ow);
    return planes * p->oh * p->ow * p->kh * p->kw;
}

/* ---- descriptors ---- */

/* benchdnn's keys, height before width, and ours: alg (0 max, 1 average without padding, 2 average with it, 3
 * adaptive), ceil, and pb and pr where padding is asymmetric. benchdnn's dilation 0 is dense. */
enum { MB, IC, IH, IW, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW, PB, PR, ALG, CEIL, KEYS };
static const char *const keys[KEYS] = {"mb", "ic", "ih", "iw", "oh", "ow", "kh", "kw",  "sh",
                                       "sw", "ph", "pw", "dh", "dw", "pb", "pr", "alg", "ceil"};

static bool given(uint64_t seen, int key)
{
    return seen >> key & 1;
}

/* An output size that does not follow from the padding decides the padding behind the input, as in benchdnn. */
static void fit_output(const side *s, bool ceil_mode, int out, int *after)
{
    if (out_size(s, ceil_mode) == out) return;
    int64_t wanted = (int64_t)(out - 1) * s->stride + (int64_t)s->dilation * (s->kernel - 1) + 1 - s->in - s->before;
    if (wanted >= 0 && wanted <= s->kernel / 2) *after = (int)wanted;
}

/* Where a width is not given, its height stands for it. */
static void copy_heights(int *values, uint64_t seen)
{
    static const int pairs[][2] = {{IH, IW}, {KH, KW}, {SH, SW}, {PH, PW}, {DH, DW}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!given(seen, pairs[i][1])) values[pairs[i][1]] = values[pairs[i][0]];
    if (!given(seen, PB)) values[PB] = values[PH];
    if (!given(seen, PR)) values[PR] = values[PW];
    const uint64_t widths = 1u << IW | 1u << OW | 1u << KW | 1u << SW | 1u << PW | 1u << DW | 1u << PR;
    if (!(seen & widths)) values[OW] = values[OH]; /* a square problem */
}

static tw_status check_values(const char *text, const int *values, uint64_t seen, tw_error *error)
{
    static const int least[KEYS] = {[MB] = 1, [IC] = 1, [IH] = 1, [IW] = 1};
    bool adaptive = values[ALG] == 3;
    for (int i = 0; i < KEYS; i++) {
        bool needed = i == IC || i == IH || (adaptive ? i == OH : i == KH);
        if (needed && !given(seen, i)) return tw_fail(error, TW_INVALID, "pool: \"%s\": %s is missing", text, keys[i]);
        if (adaptive && given(seen, i) && ((i >= KH && i <= PR) || i == CEIL))
            return tw_fail(error, TW_INVALID, "pool: \"%s\": %s means nothing with alg3", text, keys[i]);
        int lowest = i == OH || i == OW ? given(seen, i) : least[i];
        if (values[i] < lowest)
            return tw_fail(error, TW_INVALID, "pool: \"%s\": %s is %d: expected at least %d", text, keys[i], values[i],
                           lowest);
    }
    if (values[ALG] > 3)
        return tw_fail(error, TW_INVALID, "pool: \"%s\": alg is %d: expected 0 to 3", text, values[ALG]);
    if (values[CEIL] > 1)
        return tw_fail(error, TW_INVALID, "pool: \"%s\": ceil is %d: expected 0 or 1", text, values[CEIL]);
    if (values[DH] == INT_MAX || values[DW] == INT_MAX)
        return tw_fail(error, TW_INVALID, "pool: \"%s\": the dilation is too large", text);
    return TW_OK;
}

static tw_status parse(const char *text, void *params, tw_error *error)
{
    static const int kinds[] = {TW_POOL_MAX, TW_POOL_AVERAGE, TW_POOL_AVERAGE, TW_POOL_ADAPTIVE_AVERAGE};
    tw_pool *p = params;
    int v[KEYS] = {[MB] = 1, [SH] = 1};
    uint64_t seen = 0;
    tw_status status = tw_desc_scan(text, keys, v, KEYS, &seen, error);
    if (status != TW_OK) return status;
    copy_heights(v, seen);
    status = check_values(text, v, seen, error);
    if (status != TW_OK) return status;
    *p = (tw_pool){.kind = kinds[v[ALG]],
                   .n = v[MB],
                   .c = v[IC],
                   .ih = v[IH],
                   .iw = v[IW],
                   .oh = v[OH],
                   .ow = v[OW],
                   .kh = v[KH],
                   .kw = v[KW],
                   .sh = v[SH],
                   .sw = v[SW],
                   .pt = v[PH],
                   .pl = v[PW],
                   .pb = v[PB],
                   .pr = v[PR],
                   .dilh = v[DH] + 1,
                   .dilw = v[DW] + 1,
                   .ceil_mode = v[CEIL],
                   .count_include_pad = v[ALG] == 2};
    tw_shape shape = {4, {p->n, p->c, p->ih, p->iw}};
    status = set_input(p, &shape, error);
    if (status != TW_OK) return status;
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        if (!p->ow) p->ow = p->oh;
    } else {
        status = check_sides(p, error);
        if (status != TW_OK) return status;
        side rows = side_of(p, 0), columns = side_of(p, 1);
        if (v[OH] && !given(seen, PB)) fit_output(&rows, p->ceil_mode, v[OH], &p->pb);
        if (v[OW] && !given(seen, PR)) fit_output(&columns, p->ceil_mode, v[OW], &p->pr);
    }
    status = finish(p, error);
    if (status == TW_OK && ((v[OH] && v[OH] != p->oh) || (v[OW] && v[OW] != p->ow)))
        return tw_fail(error, TW_INVALID, "pool: \"%s\": the output is %dx%d, not %dx%d", text, p->oh, p->ow,
                       v[OH] ? v[OH] : p->oh, v[OW] ? v[OW] : p->ow);
    return status;
}

typedef struct writer {
    char *text;
    size_t size, at;
} writer;

static void put(writer *w, int key, int value)
{
    if (w->at >= w->size) return;
    int length = snprintf(w->text + w->at, w->size - w->at, "%s%d", keys[key], value);
    if (length > 0) w->at += (size_t)length;
}

/* What parse() would not supply by itself. */
static void print(const void *params, char *text, size_t size)
{
    const tw_pool *p = params;
    writer w = {text, size, 0};
    bool asymmetric = p->pb != p->pt || p->pr != p->pl;
    put(&w, MB, p->n);
    put(&w, IC, p->c);
    put(&w, IH, p->ih);
    if (p->iw != p->ih) put(&w, IW, p->iw);
    put(&w, OH, p->oh);
    if (p->ow != p->oh || p->iw != p->ih) put(&w, OW, p->ow);
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        put(&w, ALG, 3);
        return;
    }
    put(&w, KH, p->kh);
    if (p->kw != p->kh) put(&w, KW, p->kw);
    if (p->sh != 1) put(&w, SH, p->sh);
    if (p->sw != p->sh) put(&w, SW, p->sw);
    if (p->pt) put(&w, PH, p->pt);
    if (p->pl != p->pt) put(&w, PW, p->pl);
    if (p->dilh != 1) put(&w, DH, p->dilh - 1);
    if (p->dilw != p->dilh) put(&w, DW, p->dilw - 1);
    if (asymmetric) put(&w, PB, p->pb);
    if (asymmetric) put(&w, PR, p->pr);
    if (p->kind == TW_POOL_AVERAGE) put(&w, ALG, p->count_include_pad ? 2 : 1);
    if (p->ceil_mode) put(&w, CEIL, 1);
}

const tw_op tw_op_pool = {
    .name = "pool",
    .params_size = sizeof(tw_pool),
    .n_in = 1,
    .roles = {TW_ROLE_ACTIVATION},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};
