/* What conv2d means, whoever does it: its shapes, its work and its problem descriptor. The only place for these
 * formulas. */
#include "ops/conv2d/conv2d.h"
#include "core/op.h"
#include "core/status.h"

#include <limits.h>
#include <stdio.h>

static int64_t out_size(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_both)
{
    int64_t room = in + pad_both - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static bool fits_int(int64_t size)
{
    return size >= 1 && size <= INT_MAX;
}

/* Everything but oh and ow, which follow and are set here. */
static tw_status complete(tw_conv2d *p, tw_error *error)
{
    const int positive[] = {p->n, p->groups, p->ic, p->ih, p->iw, p->oc, p->kh, p->kw, p->sh, p->sw, p->dilh, p->dilw};
    static const char *const names[] = {"batch",
                                        "groups",
                                        "input channels",
                                        "input height",
                                        "input width",
                                        "output channels",
                                        "kernel height",
                                        "kernel width",
                                        "vertical stride",
                                        "horizontal stride",
                                        "vertical dilation",
                                        "horizontal dilation"};
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        if (positive[i] < 1)
            return tw_fail(error, TW_INVALID, "conv2d: %s is %d, expected at least 1", names[i], positive[i]);
    if (p->pt < 0 || p->pl < 0 || p->pb < 0 || p->pr < 0)
        return tw_fail(error, TW_INVALID, "conv2d: negative padding %d, %d, %d, %d", p->pt, p->pl, p->pb, p->pr);
    if (p->ic % p->groups || p->oc % p->groups)
        return tw_fail(error, TW_INVALID, "conv2d: %d groups do not divide %d input and %d output channels", p->groups,
                       p->ic, p->oc);
    if (p->activation < TW_ACT_NONE || p->activation > TW_ACT_RELU6)
        return tw_fail(error, TW_INVALID, "conv2d: activation %d, expected 0 (none), 1 (relu) or 2 (relu6)",
                       p->activation);
    if (p->has_bias < 0 || p->has_bias > 1 || p->has_residual < 0 || p->has_residual > 1)
        return tw_fail(error, TW_INVALID, "conv2d: bias %d, residual %d, expected 0 or 1", p->has_bias,
                       p->has_residual);
    int64_t oh = out_size(p->ih, p->kh, p->sh, p->dilh, (int64_t)p->pt + p->pb);
    int64_t ow = out_size(p->iw, p->kw, p->sw, p->dilw, (int64_t)p->pl + p->pr);
    if (!fits_int(oh) || !fits_int(ow))
        return tw_fail(error, TW_INVALID,
                       "conv2d: kernel %dx%d with dilation %dx%d does not fit the padded input %lldx%lld", p->kh, p->kw,
                       p->dilh, p->dilw, (long long)p->ih + p->pt + p->pb, (long long)p->iw + p->pl + p->pr);
    /* Designs compute coordinates and offsets within a plane as ints. */
    const int64_t reach[] = {(int64_t)p->ih + p->pt + p->pb + p->sh + (p->kh - 1) * (int64_t)p->dilh,
                             (int64_t)p->iw + p->pl + p->pr + p->sw + (p->kw - 1) * (int64_t)p->dilw};
    if (reach[0] > INT_MAX / 2 || reach[1] > INT_MAX / 2 || (int64_t)p->ih * p->iw > INT_MAX || oh * ow > INT_MAX ||
        (int64_t)p->kh * p->kw > INT_MAX / (p->ic / p->groups))
        return tw_fail(error, TW_INVALID, "conv2d: input %dx%d with this padding, stride and kernel is too large",
                       p->ih, p->iw);
    p->oh = (int)oh;
    p->ow = (int)ow;
    const tw_shape shapes[] = {{4, {p->n, p->ic + (int64_t)TW_BLOCK, p->ih, p->iw}},
                               {4, {p->oc + (int64_t)TW_BLOCK, p->ic / p->groups + (int64_t)TW_BLOCK, p->kh, p->kw}},
                               {4, {p->n, p->oc + (int64_t)TW_BLOCK, p->oh, p->ow}}};
    for (int i = 0; i < 3; i++) {
        size_t count; /* as float64 and with whole blocks, so that any type and layout fits */
        tw_status status = tw_shape_count(&shapes[i], TW_F64, &count, error);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_conv2d *p = params;
    if (n_in != 4) return tw_fail(error, TW_INVALID, "conv2d: %d operands, expected x, weight, bias, residual", n_in);
    const tw_shape *x = &in[0], *w = &in[1], *bias = &in[2], *residual = &in[3];
    if (x->rank != 4 || w->rank != 4)
        return tw_fail(error, TW_INVALID, "conv2d: input of rank %d and weight of rank %d, expected 4 and 4", x->rank,
                       w->rank);
    for (int i = 0; i < 4; i++)
        if (!fits_int(x->dims[i]) || !fits_int(w->dims[i]))
            return tw_fail(error, TW_INVALID,
                           "conv2d: dimension %d is %lld in the input and %lld in the weight, "
                           "expected 1 to %d",
                           i, (long long)x->dims[i], (long long)w->dims[i], INT_MAX);
    p->n = (int)x->dims[0];
    p->ic = (int)x->dims[1];
    p->ih = (int)x->dims[2];
    p->iw = (int)x->dims[3];
    p->oc = (int)w->dims[0];
    p->kh = (int)w->dims[2];
    p->kw = (int)w->dims[3];
    p->has_bias = bias->rank >= 0;
    p->has_residual = residual->rank >= 0;
    tw_status status = complete(p, error);
    if (status != TW_OK) return status;
    if (w->dims[1] != p->ic / p->groups)
        return tw_fail(error, TW_INVALID, "conv2d: the weight has %lld input channels a group, the input %d",
                       (long long)w->dims[1], p->ic / p->groups);
    if (p->has_bias && (bias->rank != 1 || bias->dims[0] != p->oc))
        return tw_fail(error, TW_INVALID, "conv2d: the bias must have %d elements in one dimension", p->oc);
    *out = (tw_shape){4, {p->n, p->oc, p->oh, p->ow}};
    for (int i = 0; p->has_residual && i < 4; i++)
        if (residual->rank != 4 || residual->dims[i] != out->dims[i])
            return tw_fail(error, TW_INVALID, "conv2d: the residual must have the output's shape %dx%dx%dx%d", p->n,
                           p->oc, p->oh, p->ow);
    return TW_OK;
}

static int operands(const void *params)
{
    (void)params;
    return 4;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    const tw_conv2d *p = params;
    *shape = (tw_shape){.rank = -1};
    if (index == 0) *shape = (tw_shape){4, {p->n, p->ic, p->ih, p->iw}};
    if (index == 1) *shape = (tw_shape){4, {p->oc, p->ic / p->groups, p->kh, p->kw}};
    if (index == 2 && p->has_bias) *shape = (tw_shape){1, {p->oc}};
    if ((index == 3 && p->has_residual) || index == 4) *shape = (tw_shape){4, {p->n, p->oc, p->oh, p->ow}};
}

/* Of the direct algorithm, 2 a multiply-add: the yardstick for every design, Winograd included. */
static double flops(const void *params)
{
    const tw_conv2d *p = params;
    return 2.0 * p->n * p->oc * p->oh * p->ow * (p->ic / p->groups) * p->kh * p->kw;
}

/* benchdnn's keys: a width that is not given is its height, dilation counts the gaps (0 is dense), and oh or ow, where
 * given, decide the padding below and on the right; without them it is as above and on the left. Ours: pb and pr,
 * act (0 none, 1 relu, 2 relu6), bias and res (0 or 1; absent: 0, as in benchdnn). */
enum { G, MB, IC, IH, IW, OC, OH, OW, KH, KW, SH, SW, PH, PW, PB, PR, DH, DW, ACT, BIAS, RES, KEYS };
static const char *const keys[KEYS] = {"g",  "mb", "ic", "ih", "iw", "oc", "oh", "ow",  "kh",   "kw", "sh",
                                       "sw", "ph", "pw", "pb", "pr", "dh", "dw", "act", "bias", "res"};

/* The far padding that makes the output `out` long. */
static int64_t far_padding(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, int64_t near)
{
    int64_t padding = (out - 1) * stride + dilation * (kernel - 1) + 1 - in - near;
    return padding < 0 ? 0 : padding;
}

static tw_status parse(const char *text, void *params, tw_error *error)
{
    static const int pairs[][2] = {{IH, IW}, {KH, KW}, {SH, SW}, {PH, PW}, {DH, DW}};
    int v[KEYS] = {[G] = 1, [MB] = 1, [SH] = 1, [SW] = 1};
    uint64_t seen;
    tw_status status = tw_desc_scan(text, keys, v, KEYS, &seen, error);
    if (status != TW_OK) return status;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int j = 0; j < 2; j++)
            if (!(seen >> pairs[i][j] & 1) && seen >> pairs[i][!j] & 1) v[pairs[i][j]] = v[pairs[i][!j]];
    static const int needed[] = {IC, IH, OC, KH};
    for (size_t i = 0; i < 4; i++)
        if (v[needed[i]] < 1)
            return tw_fail(error, TW_INVALID, "problem \"%s\": expected %s of at least 1", text, keys[needed[i]]);
    if (v[DH] < 0 || v[DW] < 0 || v[DH] == INT_MAX || v[DW] == INT_MAX)
        return tw_fail(error, TW_INVALID, "problem \"%s\": dilation %d, %d", text, v[DH], v[DW]);
    bool has_oh = seen >> OH & 1, has_ow = seen >> OW & 1;
    if (has_oh && !has_ow && !(seen >> IW & 1)) {
        v[OW] = v[OH];
        has_ow = true;
    }
    int64_t pb = seen >> PB & 1 ? v[PB] : has_oh ? far_padding(v[IH], v[OH], v[KH], v[SH], v[DH] + 1, v[PH]) : v[PH];
    int64_t pr = seen >> PR & 1 ? v[PR] : has_ow ? far_padding(v[IW], v[OW], v[KW], v[SW], v[DW] + 1, v[PW]) : v[PW];
    tw_conv2d p = {.n = v[MB],
                   .groups = v[G],
                   .ic = v[IC],
                   .ih = v[IH],
                   .iw = v[IW],
                   .oc = v[OC],
                   .kh = v[KH],
                   .kw = v[KW],
                   .sh = v[SH],
                   .sw = v[SW],
                   .pt = v[PH],
                   .pl = v[PW],
                   .pb = pb > INT_MAX ? -1 : (int)pb,
                   .pr = pr > INT_MAX ? -1 : (int)pr,
                   .dilh = v[DH] + 1,
                   .dilw = v[DW] + 1,
                   .activation = v[ACT],
                   .has_bias = v[BIAS],
                   .has_residual = v[RES]};
    status = complete(&p, error);
    if (status == TW_OK && ((has_oh && p.oh != v[OH]) || (has_ow && p.ow != v[OW])))
        status = tw_fail(error, TW_INVALID, "the output is %dx%d, not as given", p.oh, p.ow);
    if (status != TW_OK) {
        tw_error_prefix(error, "problem \"%s\"", text);
        return status;
    }
    *(tw_conv2d *)params = p;
    return TW_OK;
}

static void print(const void *params, char *text, size_t size)
{
    const tw_conv2d *p = params;
    /* In order; written where the value is not what parse() would supply. */
    const struct {
        int key, value;
        bool wanted;
    } fields[] = {
        {G, p->groups, p->groups != 1},
        {MB, p->n, true},
        {IC, p->ic, true},
        {IH, p->ih, true},
        {IW, p->iw, p->iw != p->ih},
        {OC, p->oc, true},
        {OH, p->oh, true},
        {OW, p->ow, p->ow != p->oh || p->iw != p->ih},
        {KH, p->kh, true},
        {KW, p->kw, p->kw != p->kh},
        {SH, p->sh, p->sh != 1 || p->sw != 1},
        {SW, p->sw, p->sw != p->sh},
        {PH, p->pt, p->pt != 0 || p->pl != 0},
        {PW, p->pl, p->pl != p->pt},
        {PB, p->pb, p->pb != far_padding(p->ih, p->oh, p->kh, p->sh, p->dilh, p->pt)},
        {PR, p->pr, p->pr != far_padding(p->iw, p->ow, p->kw, p->sw, p->dilw, p->pl)},
        {DH, p->dilh - 1, p->dilh != 1 || p->dilw != 1},
        {DW, p->dilw - 1, p->dilw != p->dilh},
        {ACT, p->activation, p->activation != 0},
        {BIAS, p->has_bias, p->has_bias != 0},
        {RES, p->has_residual, p->has_residual != 0},
    };
    size_t at = 0;
    if (size) *text = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields && at < size; i++)
        if (fields[i].wanted)
            at += (size_t)snprintf(text + at, size - at, "%s%d", keys[fields[i].key], fields[i].value);
}

const tw_op tw_op_conv2d = {
    .name = "conv2d",
    .params_size = sizeof(tw_conv2d),
    .n_in = 4,
    .roles = {TW_ROLE_ACTIVATION, TW_ROLE_PARAMETER, TW_ROLE_PARAMETER, TW_ROLE_LIKE_OUTPUT},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};
