/* Every design in the registry against the reference: fixed telling shapes and random ones (odd, prime, degenerate),
 * in every pair of layouts that it accepts, for every instruction set of this processor, on one thread and several.
 * Outputs, workspace and packed weights start as NaN, with guards behind each; two runs must agree to the bit, and so
 * must thread counts unless the design's record says otherwise. A case is all problems by one design on one
 * instruction set. TEST_PERCENT in the environment takes fewer random problems, for sanitizers and emulators. */
#include "bench/layer.h"
#include "core/status.h"
#include "ops/activation/activation.h"
#include "ops/add/add.h"
#include "ops/batchnorm/batchnorm.h"
#include "ops/concat/concat.h"
#include "ops/conv2d/conv2d.h"
#include "ops/linear/linear.h"
#include "ops/lrn/lrn.h"
#include "ops/pool/pool.h"
#include "ops/reorder/reorder.h"
#include "ops/softmax/softmax.h"
#include "test.h"

#include <math.h>

typedef union params {
    tw_conv2d conv2d;
    tw_linear linear;
    tw_pool pool;
    tw_clip clip;
    tw_add add;
    tw_concat concat;
    tw_softmax softmax;
    tw_batchnorm batchnorm;
    tw_lrn lrn;
    tw_reorder reorder;
} params;

static unsigned long long state = 1;

/* In [low, high]. */
static int pick(int low, int high)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((state >> 33) % (unsigned)(high - low + 1));
}

static int one_of(const int *values, int count)
{
    return values[pick(0, count - 1)];
}

static int channels(void)
{
    static const int values[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 24, 31, 32, 40, 48, 64};
    return one_of(values, sizeof values / sizeof *values);
}

static int side(void)
{
    static const int values[] = {1, 2, 3, 5, 7, 8, 11, 13, 14, 15, 17, 19, 28};
    return one_of(values, sizeof values / sizeof *values);
}

static tw_shape image(int rank, int n, int c, int h, int w)
{
    return rank == 2 ? (tw_shape){2, {n, c}} : (tw_shape){4, {n, c, h, w}};
}

static tw_shape random_image(int rank)
{
    return image(rank, pick(1, 3), channels(), side(), side());
}

static const tw_shape absent = {.rank = -1};

/* ---- one random problem of each operator; false where its own rules refuse it ---- */

static bool make_conv2d(params *p)
{
    static const int kernels[] = {1, 1, 2, 3, 3, 3, 4, 5, 7};
    tw_conv2d *c = &p->conv2d;
    int kind = pick(0, 5), ic = channels(), oc = channels(), g = 1;
    if (kind == 0) g = oc = ic; /* depthwise */
    if (kind == 1) {            /* groups */
        g = pick(2, 4);
        ic = g * pick(1, 20);
        oc = g * pick(1, 20);
    }
    if (kind == 2) { /* groups of whole blocks */
        g = 2;
        ic = 2 * 16 * pick(1, 2);
        oc = 2 * 16 * pick(1, 3);
    }
    *c = (tw_conv2d){.groups = g,
                     .oc = oc,
                     .kh = one_of(kernels, 9),
                     .kw = one_of(kernels, 9),
                     .sh = pick(1, 3),
                     .sw = pick(1, 3),
                     .dilh = 1,
                     .dilw = 1,
                     .pt = pick(0, 3),
                     .pl = pick(0, 3),
                     .pb = pick(0, 3),
                     .pr = pick(0, 3),
                     .activation = pick(0, 2),
                     .has_bias = pick(0, 1)};
    if (pick(0, 2) == 0) c->kw = c->kh = 3;
    if (pick(0, 1) == 0) c->sh = c->sw = 1;
    if (pick(0, 4) == 0) c->dilh = pick(1, 3);
    if (pick(0, 4) == 0) c->dilw = pick(1, 3);
    tw_shape in[4] = {image(4, pick(1, 3), ic, side(), side()), {4, {oc, ic / g, c->kh, c->kw}}, {1, {oc}}, absent};
    if (!c->has_bias) in[2] = absent;
    tw_shape out;
    extern const tw_op tw_op_conv2d;
    if (tw_op_conv2d.infer(c, in, 4, &out, NULL) != TW_OK) return false;
    c->has_residual = pick(0, 3) == 0;
    return true;
}

static bool make_linear(params *p)
{
    static const int features[] = {1, 2, 3, 7, 15, 16, 17, 31, 64, 84, 120, 255, 400};
    tw_linear *l = &p->linear;
    *l = (tw_linear){.oc = one_of(features, 13), .activation = pick(0, 2), .has_bias = pick(0, 1)};
    int ic = one_of(features, 13);
    tw_shape in[3] = {{2, {pick(1, 3) == 1 ? pick(5, 33) : pick(1, 4), ic}}, {2, {l->oc, ic}}, {1, {l->oc}}}, out;
    if (!l->has_bias) in[2] = absent;
    extern const tw_op tw_op_linear;
    return tw_op_linear.infer(l, in, 3, &out, NULL) == TW_OK;
}

static bool make_pool(params *p)
{
    tw_pool *q = &p->pool;
    *q = (tw_pool){.kind = pick(0, 2),
                   .kh = pick(1, 4),
                   .kw = pick(1, 4),
                   .sh = pick(1, 3),
                   .sw = pick(1, 3),
                   .dilh = 1,
                   .dilw = 1,
                   .ceil_mode = pick(0, 1),
                   .count_include_pad = pick(0, 1)};
    if (pick(0, 1)) q->kw = q->kh, q->sw = q->sh;
    q->pt = q->pb = pick(0, q->kh / 2);
    q->pl = q->pr = pick(0, q->kw / 2);
    if (pick(0, 3) == 0) q->pb = pick(0, q->kh / 2), q->pr = pick(0, q->kw / 2);
    if (q->kind == TW_POOL_MAX && pick(0, 3) == 0) q->dilh = q->dilw = 2;
    if (q->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        *q = (tw_pool){.kind = TW_POOL_ADAPTIVE_AVERAGE, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dilh = 1, .dilw = 1};
        q->oh = pick(0, 1) ? 1 : pick(1, 9);
        q->ow = q->oh == 1 ? 1 : pick(1, 9);
    } else if (q->kind != TW_POOL_AVERAGE)
        q->count_include_pad = 0;
    tw_shape in = random_image(4), out;
    extern const tw_op tw_op_pool;
    return tw_op_pool.infer(q, &in, 1, &out, NULL) == TW_OK;
}

static bool make_relu(params *p)
{
    p->clip = (tw_clip){.low = 0, .high = INFINITY};
    tw_shape in = random_image(pick(1, 2) * 2), out;
    extern const tw_op tw_op_relu;
    return tw_op_relu.infer(p, &in, 1, &out, NULL) == TW_OK;
}

static bool make_clip(params *p)
{
    static const float lows[] = {0, -0.5f, 0.25f, -INFINITY};
    p->clip = (tw_clip){.low = lows[pick(0, 3)], .high = pick(0, 1) ? 6 : 0.5f};
    tw_shape in = random_image(pick(1, 2) * 2), out;
    extern const tw_op tw_op_clip;
    return tw_op_clip.infer(p, &in, 1, &out, NULL) == TW_OK;
}

static bool make_add(params *p)
{
    p->add = (tw_add){.activation = pick(0, 2)};
    tw_shape in[2] = {random_image(pick(1, 2) * 2)}, out;
    in[1] = in[0];
    extern const tw_op tw_op_add;
    return tw_op_add.infer(p, in, 2, &out, NULL) == TW_OK;
}

static bool make_concat(params *p)
{
    tw_shape in[TW_CONCAT_MAX], out;
    int count = pick(1, 5), whole = pick(0, 1);
    in[0] = random_image(pick(1, 2) * 2);
    for (int i = 0; i < count; i++) {
        in[i] = in[0];
        in[i].dims[1] = whole && i < count - 1 ? 16 * pick(1, 3) : channels();
    }
    p->concat = (tw_concat){.count = count};
    extern const tw_op tw_op_concat;
    return tw_op_concat.infer(p, in, count, &out, NULL) == TW_OK;
}

static bool make_softmax(params *p)
{
    p->softmax = (tw_softmax){0};
    tw_shape in = random_image(pick(1, 2) * 2), out;
    extern const tw_op tw_op_softmax;
    return tw_op_softmax.infer(p, &in, 1, &out, NULL) == TW_OK;
}

static bool make_batchnorm(params *p)
{
    p->batchnorm = (tw_batchnorm){.epsilon = pick(0, 1) ? 1e-5f : 1e-3f};
    tw_shape in[5] = {random_image(pick(1, 2) * 2)}, out;
    for (int i = 1; i < 5; i++) in[i] = (tw_shape){1, {in[0].dims[1]}};
    extern const tw_op tw_op_batchnorm;
    return tw_op_batchnorm.infer(p, in, 5, &out, NULL) == TW_OK;
}

static bool make_lrn(params *p)
{
    p->lrn = (tw_lrn){.size = pick(1, 7),
                      .alpha = pick(0, 1) ? 1e-4f : 1.0f,
                      .beta = pick(0, 1) ? 0.75f : 0.5f,
                      .k = (float)pick(1, 2)};
    tw_shape in = random_image(4), out;
    extern const tw_op tw_op_lrn;
    return tw_op_lrn.infer(p, &in, 1, &out, NULL) == TW_OK;
}

static bool make_reorder(params *p)
{
    p->reorder = (tw_reorder){0};
    tw_shape in = random_image(pick(1, 2) * 2), out;
    extern const tw_op tw_op_reorder;
    return tw_op_reorder.infer(p, &in, 1, &out, NULL) == TW_OK;
}

/* `telling`: problems that random ones would rarely meet, by descriptor. */
static const struct subject {
    const char *op;
    bool (*make)(params *p);
    int problems;
    const char *telling[16];
} subjects[] = {
    {"conv2d",
     make_conv2d,
     100,
     {"mb1ic3ih32oc16kh3ph1", "mb1ic64ih28oc64kh3ph1", "mb1ic3ih35oc20kh7sh2ph3", "mb2ic1ih1oc1kh1",
      "mb1ic48ih7oc96kh1", "mb1g33ic33ih15oc33kh3sh2ph1", "mb1ic16ih2oc16kh5ph2", "mb1ic128ih9oc70kh3ph1",
      "mb1ic3ih67oc64kh11sh4ph2", "mb1g32ic32ih19oc32kh5ph2", "mb2ic1ih32oc6kh5", "mb1ic3ih21oc11kh3",
      "mb1ic6ih14iw37oc11kh5sh2sw1ph2"}},
    {"linear",
     make_linear,
     60,
     {"mb1ic400oc120", "mb1ic1oc1", "mb128ic97oc101", "mb1ic2048oc1000", "mb7ic1000oc3", "mb8ic1096oc2145bias1",
      "mb3ic2099oc33"}},
    {"pool",
     make_pool,
     100,
     {"mb1ic64ih57kh3sh2", "mb1ic5ih1kh1", "mb2ic6ih28kh2sh2", "mb1ic3ih9iw75kh2sh2alg1", "mb2ic37ih7oh1alg3"}},
    {"relu", make_relu, 30, {0}},
    {"clip", make_clip, 40, {0}},
    {"add", make_add, 30, {0}},
    {"concat", make_concat, 40, {"2x5x6x6+8"}},
    {"softmax",
     make_softmax,
     40,
     {"3x77", "2x1000", "140x1000", "140x257", "2x2056", "3x4099", "1x21841", "1x32768", "2x21x33x35"}},
    {"batchnorm", make_batchnorm, 40, {"2x5x6x6:1e-05", "3x40x27x29:1e-05", "5x64x28x28:1e-05", "300x512:1e-05"}},
    {"lrn",
     make_lrn,
     40,
     {"2x9x6x6:5:1:0.75:1", "2x96x27x27:5:1:0.75:2", "9x64x28x28:3:1:0.5:1", "3x40x16x16:7:1:1:1"}},
    {"reorder", make_reorder, 60, {0}},
};

/* ---- the check of one problem by one design ---- */

enum { THREADS = 3, ISAS = 4, DESIGNS = 32 };

typedef struct subject_device {
    const char *isa;
    tw_device *by_threads[THREADS]; /* 1, 2 and 3 threads */
    int threads;                    /* how many of these to try */
    tw_precision precision;
} subject_device;

/* One design on one instruction set: a case, to which each problem adds. */
typedef struct verdict {
    int ran;
    bool failed;
} verdict;

typedef struct contest {
    subject_device *devices; /* [n_devices] */
    int n_devices;
    const tw_design *designs[DESIGNS];
    int n_designs, n_problems;
    verdict verdicts[ISAS][DESIGNS];
} contest;

static bool report(const char *where, const tw_layer_result *r)
{
    if (r->correct) return true;
    test_fail(__FILE__, __LINE__, "%s: error %.3g of the scale, tolerance %.3g%s%s", where, r->max_rel_err,
              r->tolerance, r->fault ? "; " : "", r->fault ? r->fault : "");
    return false;
}

/* In one pair of layouts, on all thread counts. True where it ran. */
static bool check_layouts(const subject_device *device, tw_layer *layer, const tw_design *design, const char *where)
{
    uint64_t hash = 0;
    tw_layer_result r;
    tw_error error;
    for (int t = 0; t < device->threads; t++) {
        tw_layer_use(layer, device->by_threads[t]);
        if (tw_layer_check(layer, design, &r, &error) != TW_OK) {
            test_fail(__FILE__, __LINE__, "%s: %s", where, error.message);
            return true;
        }
        if (!r.supported) {
            if (!r.reason || !*r.reason) test_fail(__FILE__, __LINE__, "%s: refused without a reason", where);
            return false;
        }
        if (!report(where, &r)) return true;
        if (t == 0)
            hash = r.hash;
        else if (hash != r.hash && !design->varies_with_threads)
            test_fail(__FILE__, __LINE__, "%s: another result on %d threads than on one", where, t + 1);
    }
    hash = r.hash;
    if (tw_layer_check(layer, design, &r, &error) != TW_OK || r.hash != hash)
        test_fail(__FILE__, __LINE__, "%s: another result the second time", where);
    return true;
}

/* In one pair of element types, all pairs of layouts. */
static int check_dtypes(const subject_device *device, tw_layer *layer, const tw_design *design, const char *problem,
                        const tw_dtype dtypes[2])
{
    int ran = 0;
    char where[256];
    for (int i = 0; i < TW_LAYOUTS * TW_LAYOUTS; i++) {
        tw_type in = {dtypes[0], (tw_layout)(i / TW_LAYOUTS)}, out = {dtypes[1], (tw_layout)(i % TW_LAYOUTS)};
        tw_layer_force_types(layer, in, out);
        snprintf(where, sizeof where, "%s %s %s to %s %s", problem, tw_dtype_name(in.dtype), tw_layout_name(in.layout),
                 tw_dtype_name(out.dtype), tw_layout_name(out.layout));
        ran += check_layouts(device, layer, design, where);
    }
    return ran;
}

/* float32 may stand at either end of a layer in fp16 and bf16, as at a network's ends. */
static int check_design(const subject_device *device, tw_layer *layer, const tw_design *design, const char *problem)
{
    const tw_dtype own = tw_precision_dtype(device->precision);
    const tw_dtype pairs[4][2] = {{own, own}, {TW_F32, own}, {own, TW_F32}, {TW_F32, TW_F32}};
    int ran = 0;
    for (int i = 0; i < (own == TW_F32 ? 1 : 4); i++) ran += check_dtypes(device, layer, design, problem, pairs[i]);
    return ran;
}

static void name_case(const subject_device *device, const tw_design *design, char name[128])
{
    snprintf(name, 128, "%s %s %s", design->op, design->name, device->isa);
}

/* One problem by every design on every instruction set: its operands and its reference are made once. */
static void check_problem(contest *c, const tw_op *op, const void *p)
{
    tw_layer *layer;
    tw_error error;
    char name[128], problem[160];
    op->print(p, problem, sizeof problem);
    const tw_layer_desc desc = {op, p, c->devices[0].precision, 7};
    if (tw_layer_create(c->devices[0].by_threads[0], &desc, &layer, &error) != TW_OK) {
        test_begin(problem);
        test_fail(__FILE__, __LINE__, "%s", error.message);
        test_end();
        return;
    }
    int rare = c->n_problems++ % 8 == 0; /* more threads than cores wait for each other: 3 of them now and then */
    for (int i = 0; i < c->n_devices; i++)
        for (int d = 0; d < c->n_designs; d++) {
            c->devices[i].threads = rare ? THREADS : THREADS - 1;
            name_case(&c->devices[i], c->designs[d], name);
            test_begin(name);
            c->verdicts[i][d].ran += check_design(&c->devices[i], layer, c->designs[d], problem);
            c->verdicts[i][d].failed |= test_failed();
        }
    tw_layer_destroy(layer);
}

static void conclude(const contest *c)
{
    char name[128];
    for (int i = 0; i < c->n_devices; i++)
        for (int d = 0; d < c->n_designs; d++) {
            const verdict *v = &c->verdicts[i][d];
            name_case(&c->devices[i], c->designs[d], name);
            test_begin(name);
            if (v->ran == 0 && c->designs[d]->yardstick)
                test_skip("the library is not on this machine");
            else if (v->ran == 0 && !tw_design_has_precision(c->designs[d], c->devices[i].precision))
                test_skip("not in %s", tw_precision_name(c->devices[i].precision));
            else if (v->ran == 0)
                test_fail(__FILE__, __LINE__, "accepts none of the problems");
            if (v->failed)
                test_count(TEST_FAILED);
            else
                test_end();
        }
}

/* All problems of one operator. */
static void check_subject(contest *c, const struct subject *subject)
{
    const tw_op *op = tw_op_find(subject->op);
    const char *percent = getenv("TEST_PERCENT");
    int problems = percent ? (subject->problems * atoi(percent) + 99) / 100 : subject->problems;
    params p;
    state = 20261122;
    for (int i = 0; subject->telling[i]; i++) {
        tw_error error;
        if (op->parse(subject->telling[i], &p, &error) == TW_OK) {
            check_problem(c, op, &p);
            continue;
        }
        test_begin(subject->telling[i]);
        test_fail(__FILE__, __LINE__, "%s", error.message);
        test_end();
    }
    for (int made = 0, tries = 0; made < problems && tries < 100 * problems; tries++) {
        memset(&p, 0, sizeof p);
        if (!subject->make(&p)) continue;
        made++;
        check_problem(c, op, &p);
    }
    conclude(c);
}

/* Descriptors: what print() writes, parse() reads. */
static void check_descriptors(const struct subject *subject)
{
    const tw_op *op = tw_op_find(subject->op);
    char name[64];
    snprintf(name, sizeof name, "%s descriptors", subject->op);
    test_begin(name);
    state = 42;
    for (int i = 0; i < 300; i++) {
        params p, q;
        char text[160], again[160];
        tw_error error;
        memset(&p, 0, sizeof p);
        memset(&q, 0, sizeof q);
        if (!subject->make(&p)) continue;
        op->print(&p, text, sizeof text);
        if (op->parse(text, &q, &error) != TW_OK) {
            test_fail(__FILE__, __LINE__, "%s: %s", text, error.message);
            continue;
        }
        op->print(&q, again, sizeof again);
        if (memcmp(&p, &q, op->params_size) != 0) test_fail(__FILE__, __LINE__, "%s came back as %s", text, again);
    }
    test_end();
}

static bool open_devices(const char *kind, const char *isa, subject_device *device)
{
    device->isa = isa;
    for (int t = 0; t < THREADS; t++) {
        tw_error error;
        if (tw_device_open(kind, &(tw_device_desc){.threads = t + 1}, &device->by_threads[t], &error) != TW_OK) {
            while (t-- > 0) tw_device_release(device->by_threads[t]);
            test_begin(isa);
            test_skip("%s", error.message);
            test_end();
            return false;
        }
    }
    return true;
}

/* Every instruction set of the CPU, or the one device of another kind. */
static int open_all(const char *kind, subject_device devices[ISAS])
{
    static const char *const isas[ISAS] = {"portable", "neon", "avx2", "avx512"};
    if (strcmp(kind, "cpu") != 0) return open_devices(kind, kind, &devices[0]);
    int count = 0;
    for (int i = 0; i < ISAS; i++) {
        setenv("TILEWISE_ISA", isas[i], 1);
        count += open_devices(kind, isas[i], &devices[count]);
    }
    unsetenv("TILEWISE_ISA"); /* the reference is computed on a device of its own */
    return count;
}

static tw_precision read_precision(const char *name)
{
    for (int p = TW_PRECISION_FP32; name && p <= TW_PRECISION_BF16; p++)
        if (strcmp(name, tw_precision_name((tw_precision)p)) == 0) return (tw_precision)p;
    return TW_PRECISION_FP32;
}

/* ops_test [operator [design]], on the device that TEST_DEVICE names, else on the CPU, in TEST_PRECISION, else fp32. */
int main(int argc, char **argv)
{
    const char *kind = getenv("TEST_DEVICE") ? getenv("TEST_DEVICE") : "cpu";
    subject_device devices[ISAS];
    int n_devices = open_all(kind, devices);
    if (n_devices == 0) return test_finish();
    for (int i = 0; i < n_devices; i++) devices[i].precision = read_precision(getenv("TEST_PRECISION"));
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        if (argc > 1 && strcmp(argv[1], subjects[i].op) != 0) continue;
        check_descriptors(&subjects[i]);
        contest c = {.devices = devices, .n_devices = n_devices};
        const tw_design *designs[DESIGNS];
        size_t count = tw_designs(subjects[i].op, kind, designs, DESIGNS);
        if (count == 0) continue;
        for (size_t d = 0; d < count; d++)
            if (argc < 3 || strcmp(argv[2], designs[d]->name) == 0) c.designs[c.n_designs++] = designs[d];
        check_subject(&c, &subjects[i]);
    }
    for (int i = 0; i < n_devices; i++)
        for (int t = 0; t < THREADS; t++) tw_device_release(devices[i].by_threads[t]);
    return test_finish();
}
