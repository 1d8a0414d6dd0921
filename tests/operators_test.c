/* What the check of every design (ops_test.c) leaves out: NaN and infinities, results written over their input,
 * unaligned buffers, how exact the exponential is, PyTorch's rules for the sizes of pooling, and what is refused, with
 * which words. Designs are tried on every instruction set of this processor. */
#include "design_run.h"
#include "test.h"

#include <math.h>

static const char *const isas[] = {"portable", "neon", "avx2", "avx512"};

/* Calls body with a device of each instruction set that is there. */
static void on_each_isa(void (*body)(tw_device *device))
{
    int count = 0;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        tw_device *device;
        tw_error error;
        setenv("TILEWISE_ISA", isas[i], 1);
        if (tw_device_open("cpu", &(tw_device_desc){.threads = 1}, &device, &error) != TW_OK) continue;
        body(device);
        tw_device_release(device);
        count++;
    }
    CHECK(count > 0);
}

typedef union any_params {
    long long align;
    char bytes[256];
} any_params;

static const tw_op *parse(const char *op, const char *problem, any_params *params)
{
    tw_error error;
    memset(params, 0, sizeof *params);
    const tw_op *found = tw_op_find(op);
    if (found->parse(problem, params, &error) == TW_OK) return found;
    test_fail(__FILE__, __LINE__, "%s:%s: %s", op, problem, error.message);
    return NULL;
}

static size_t operand_count(const tw_op *op, const any_params *params, int index, tw_layout layout)
{
    tw_shape shape;
    op->operand_shape(params, index, &shape);
    return tw_layout_count(&shape, layout);
}

static float random_float(void)
{
    static unsigned long long state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(state >> 40) / (1 << 23) - 1);
}

static float *random_floats(size_t count)
{
    float *data = malloc((count ? count : 1) * sizeof *data);
    if (!data) abort();
    for (size_t i = 0; i < count; i++) data[i] = random_float();
    return data;
}

/* The same tensor in another layout, by reorder's reference. */
static float *reordered(tw_device *device, const tw_shape *shape, const float *x, tw_layout from, tw_layout to)
{
    any_params params;
    char problem[64];
    tw_error error;
    if (shape->rank == 4)
        snprintf(problem, sizeof problem, "%dx%dx%dx%d", (int)shape->dims[0], (int)shape->dims[1], (int)shape->dims[2],
                 (int)shape->dims[3]);
    else
        snprintf(problem, sizeof problem, "%dx%d", (int)shape->dims[0], (int)shape->dims[1]);
    design_run run = {device, parse("reorder", problem, &params), &params, "reference", from, to};
    float *y = malloc(tw_layout_count(shape, to) * sizeof *y);
    if (!y) abort();
    if (design_run_once(&run, (const void *[]){x}, y, &error) != TW_OK)
        test_fail(__FILE__, __LINE__, "%s", error.message);
    return y;
}

static bool close_or_both_nan(float a, float b)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b || fabsf(a - b) <= 1e-5f * (1 + fabsf(b));
}

/* The vectorised design in a layout against the reference, on these inputs. */
static void compare(tw_device *device, const char *name, const char *problem, const float *const *inputs,
                    tw_layout layout)
{
    any_params params;
    tw_error error;
    const tw_op *op = parse(name, problem, &params);
    if (!op) return;
    int n_in = op->operands(&params);
    size_t count = operand_count(op, &params, n_in, TW_PLAIN);
    tw_shape shape;
    float *expected = random_floats(count), *laid[TW_MAX_OPERANDS] = {0};
    float *actual = random_floats(operand_count(op, &params, n_in, layout));
    for (int i = 0; i < n_in; i++) {
        op->operand_shape(&params, i, &shape);
        laid[i] = shape.rank == 1 ? NULL : reordered(device, &shape, inputs[i], TW_PLAIN, layout);
    }
    const void *plain[TW_MAX_OPERANDS], *in[TW_MAX_OPERANDS];
    for (int i = 0; i < n_in; i++) {
        plain[i] = inputs[i];
        in[i] = laid[i] ? laid[i] : inputs[i];
    }
    design_run reference = {device, op, &params, "reference", TW_PLAIN, TW_PLAIN};
    design_run vectorised = {device, op, &params, "vectorised", layout, layout};
    if (design_run_once(&reference, plain, expected, &error) != TW_OK ||
        design_run_once(&vectorised, in, actual, &error) != TW_OK) {
        test_fail(__FILE__, __LINE__, "%s:%s %s: %s", name, problem, tw_layout_name(layout), error.message);
    } else {
        op->operand_shape(&params, n_in, &shape);
        float *back = reordered(device, &shape, actual, layout, TW_PLAIN);
        for (size_t i = 0; i < count; i++)
            if (!close_or_both_nan(back[i], expected[i])) {
                test_fail(__FILE__, __LINE__, "%s:%s %s: element %zu is %g, expected %g", name, problem,
                          tw_layout_name(layout), i, (double)back[i], (double)expected[i]);
                break;
            }
        free(back);
    }
    for (int i = 0; i < n_in; i++) free(laid[i]);
    free(expected);
    free(actual);
}

/* ---- NaN and infinities ---- */

/* Puts NaN, infinity and -infinity here and there. */
static float *special_floats(size_t count)
{
    static const float specials[] = {NAN, INFINITY, -INFINITY, -NAN, 0.0f, -0.0f};
    float *data = random_floats(count);
    for (size_t i = 0; i < count; i += 7) data[i] = specials[i / 7 % (sizeof specials / sizeof *specials)];
    return data;
}

static void specials_on(tw_device *device)
{
    static const struct {
        const char *op, *problem;
        size_t count; /* of each activation */
        bool parameters;
    } cases[] = {
        {"pool", "mb2ic19ih9iw11kh2sh2", 2 * 19 * 99, false},
        {"pool", "mb1ic19ih11iw9kh3sh2ph1", 19 * 99, false},
        {"pool", "mb1ic19ih9iw11kh3ph1", 19 * 99, false},
        {"pool", "mb1ic19ih9iw11kh5kw4sh2ph2alg1", 19 * 99, false},
        {"pool", "mb1ic19ih9iw11oh1ow1alg3", 19 * 99, false},
        {"relu", "2x19x9x11", 2 * 19 * 99, false},
        {"clip", "2x19x9x11:0.25:0.5", 2 * 19 * 99, false},
        {"clip", "3x19:-1:-0.5", 3 * 19, false},
        {"add", "2x19x9x11", 2 * 19 * 99, false},
        {"add", "2x19x9x11:relu6", 2 * 19 * 99, false},
        {"softmax", "2x19x9x11", 2 * 19 * 99, false},
        {"softmax", "9x37", 9 * 37, false},
        {"batchnorm", "2x19x9x11:1e-3", 2 * 19 * 99, true},
        {"lrn", "1x19x9x11:5:1:0.75:1", 19 * 99, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *a = special_floats(cases[i].count), *b = special_floats(cases[i].count);
        float *parameters = random_floats(4 * 19);
        for (int c = 3 * 19; c < 4 * 19; c++) parameters[c] = fabsf(parameters[c]); /* variances */
        const float *inputs[5] = {a, b, NULL, NULL, NULL};
        for (int p = 0; cases[i].parameters && p < 4; p++) inputs[1 + p] = parameters + (size_t)p * 19;
        compare(device, cases[i].op, cases[i].problem, inputs, TW_PLAIN);
        compare(device, cases[i].op, cases[i].problem, inputs, TW_BLOCKED);
        free(a);
        free(b);
        free(parameters);
    }
}

static void nan_and_infinity(void)
{
    on_each_isa(specials_on);
}

/* One NaN in each place of a window in turn: the window's maximum is NaN, whatever stands around it. */
static void nan_in_max_pool_on(tw_device *device)
{
    for (int place = 0; place < 36; place++) {
        float x[16 * 36];
        for (int i = 0; i < 16 * 36; i++) x[i] = random_float();
        for (int c = 0; c < 16; c++) x[c * 36 + place] = NAN;
        const float *inputs[] = {x};
        static const char *const problems[] = {"mb1ic16ih6kh2sh2", "mb1ic16ih6kh3sh2ph1", "mb1ic16ih6kh3sh1",
                                               "mb1ic16ih6kh4sh2ph2", "mb1ic16ih6kh6"};
        for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
            compare(device, "pool", problems[i], inputs, TW_PLAIN);
            compare(device, "pool", problems[i], inputs, TW_BLOCKED);
        }
    }
}

static void nan_in_max_pool(void)
{
    on_each_isa(nan_in_max_pool_on);
}

/* ---- buffers ---- */

/* Over its own input, and 4 bytes off any alignment: to the bit what separate, aligned buffers give. */
static void placement_on(tw_device *device)
{
    static const struct {
        const char *op, *problem;
    } cases[] = {{"relu", "2x19x5x7"},  {"clip", "2x19x5x7:-0.5:0.25"},    {"add", "2x19x5x7:relu"},
                 {"softmax", "3x37"},   {"softmax", "2x19x5x7"},           {"batchnorm", "2x19x5x7"},
                 {"batchnorm", "3x37"}, {"reorder", "2x19x5x7"},           {"concat", "2x19x5x7+3"},
                 {"lrn", "2x19x5x7"},   {"pool", "mb2ic19ih5iw7kh3sh2ph1"}};
    enum { MOST = 4096 };
    static const char *const designs[] = {"vectorised", "reference"};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const char *name = cases[i / 2].op, *problem = cases[i / 2].problem, *design = designs[i % 2];
        any_params params;
        tw_error error;
        const tw_op *op = parse(name, problem, &params);
        if (!op) return;
        tw_layout out = strcmp(name, "reorder") == 0 ? TW_BLOCKED : TW_PLAIN;
        design_run run = {device, op, &params, design, TW_PLAIN, out};
        size_t count = operand_count(op, &params, op->operands(&params), out);
        float *x = random_floats(5 * MOST), *expected = random_floats(MOST), *actual = random_floats(MOST + 1);
        for (size_t k = 4 * MOST; k < 5 * MOST; k++) x[k] = fabsf(x[k]); /* variances */
        const void *in[5] = {x, x + MOST, x + 2 * MOST, x + 3 * MOST, x + 4 * MOST};
        tw_status status = design_run_once(&run, in, expected, &error);
        float *shifted = random_floats(5 * MOST + 1);
        memcpy(shifted + 1, x, 5 * MOST * sizeof *x);
        const void *in_shifted[5];
        for (size_t k = 0; k < 5; k++) in_shifted[k] = shifted + 1 + k * MOST;
        if (status == TW_OK) status = design_run_once(&run, in_shifted, actual + 1, &error);
        if (status != TW_OK || memcmp(actual + 1, expected, count * sizeof *expected) != 0)
            test_fail(__FILE__, __LINE__, "%s:%s %s: unaligned buffers: %s", name, problem, design,
                      status == TW_OK ? "another result" : error.message);
        if (status == TW_OK && tw_design_find(name, "cpu", design)->in_place) {
            status = design_run_once(&run, in, x, &error);
            if (status != TW_OK || memcmp(x, expected, count * sizeof *expected) != 0)
                test_fail(__FILE__, __LINE__, "%s:%s %s: over its input: another result", name, problem, design);
        }
        free(x);
        free(expected);
        free(actual);
        free(shifted);
    }
}

static void placement(void)
{
    on_each_isa(placement_on);
}

/* ---- softmax ---- */

/* The error of y in units of its last place, down to the least denormal. */
static double ulps(float y, double exact)
{
    int exponent;
    frexp(exact, &exponent);
    double unit = ldexp(1, exponent - 24 > -149 ? exponent - 24 : -149);
    return fabs((double)y - exact) / unit;
}

/* softmax of (0, x): below -17.4 the sum is 1 to the bit, and what comes out is the exponential itself. */
static void exponential_on(tw_device *device)
{
    enum { ROWS = 1 << 16, ROUNDS = 16 };
    any_params params;
    char problem[32];
    tw_error error;
    snprintf(problem, sizeof problem, "%dx2", ROWS);
    design_run run = {device, parse("softmax", problem, &params), &params, "vectorised", TW_PLAIN, TW_PLAIN};
    float *x = random_floats(2 * ROWS), *y = random_floats(2 * ROWS);
    double worst = 0, worst_softmax = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double low = round % 2 ? -105 : -17.4, high = round % 2 ? -17.4 : 0;
        for (int i = 0; i < ROWS; i++) {
            x[2 * i] = 0;
            x[2 * i + 1] = (float)(low + (high - low) * fabs((double)random_float()));
        }
        tw_status status = design_run_once(&run, (const void *[]){x}, y, &error);
        if (status != TW_OK) test_fail(__FILE__, __LINE__, "%s", error.message);
        for (int i = 0; i < ROWS && status == TW_OK; i++) {
            double e = exp((double)x[2 * i + 1]), error_here = ulps(y[2 * i + 1], round % 2 ? e : e / (1 + e));
            double *most = round % 2 ? &worst : &worst_softmax;
            if (!(error_here <= *most)) *most = error_here;
        }
    }
    if (!(worst < 1.25)) test_fail(__FILE__, __LINE__, "the exponential is off by %g ulp", worst);
    if (!(worst_softmax < 3.5)) test_fail(__FILE__, __LINE__, "softmax is off by %g ulp", worst_softmax);
    free(x);
    free(y);
}

static void softmax_exponential(void)
{
    on_each_isa(exponential_on);
}

/* Large inputs, many channels: exponentials must not overflow, nor their sum drift. */
static void stable_on(tw_device *device)
{
    enum { CHANNELS = 1000003 };
    any_params params;
    char problem[32];
    tw_error error;
    snprintf(problem, sizeof problem, "1x%d", CHANNELS);
    design_run run = {device, parse("softmax", problem, &params), &params, "vectorised", TW_PLAIN, TW_PLAIN};
    float *x = random_floats(CHANNELS);
    x[0] = 1e6f;
    for (int i = 1; i < CHANNELS; i++) x[i] = 1e6f - 1;
    if (design_run_once(&run, (const void *[]){x}, x, &error) != TW_OK)
        test_fail(__FILE__, __LINE__, "%s", error.message);
    double expected = exp(-1) / (1 + (CHANNELS - 1) * exp(-1));
    for (int i = 1; i < CHANNELS; i++)
        if (!(fabs((double)x[i] / expected - 1) < 3e-7)) {
            test_fail(__FILE__, __LINE__, "channel %d has %.9g, expected %.9g", i, (double)x[i], expected);
            break;
        }
    free(x);
}

static void softmax_is_stable(void)
{
    on_each_isa(stable_on);
}

/* ---- sizes and refusals ---- */

/* What PyTorch makes of them. */
static void pool_sizes(void)
{
    static const struct {
        const char *problem;
        int oh, ow;
    } cases[] = {
        {"mb1ic1ih112kh3sh2ph1", 56, 56},
        {"mb1ic1ih112kh3sh2", 55, 55},
        {"mb1ic1ih112kh3sh2ceil1", 56, 56},
        {"mb1ic1ih55kh3sh2ceil1", 27, 27},
        {"mb1ic1ih5kh2sh2ph1ceil1", 3, 3}, /* a fourth window would start in the padding behind */
        {"mb1ic1ih1kh2sh2ceil1", 1, 1},    /* larger than the input */
        {"mb1ic1ih10iw7kh3kw2sh2sw3dh1", 3, 2},
        {"mb1ic1ih112oh56kh3sh2ph0", 56, 56}, /* benchdnn: the output decides the padding behind */
        {"mb1ic1ih13iw9oh6ow4alg3", 6, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        any_params params;
        tw_shape shape;
        const tw_op *op = parse("pool", cases[i].problem, &params);
        if (!op) continue;
        op->operand_shape(&params, 1, &shape);
        if (shape.dims[2] != cases[i].oh || shape.dims[3] != cases[i].ow)
            test_fail(__FILE__, __LINE__, "pool:%s: output %dx%d, expected %dx%d", cases[i].problem, (int)shape.dims[2],
                      (int)shape.dims[3], cases[i].oh, cases[i].ow);
    }
}

static void refused_problems(void)
{
    static const struct {
        const char *op, *problem, *message;
    } cases[] = {
        {"pool", "mb1ic1ih2kh3", "pool: window 3x3 with dilation 1 does not fit the padded input 2x2"},
        {"pool", "mb1ic1ih5kh3dh2dw1", "pool: window 3x3 with dilation 3x2 does not fit the padded input 5x5"},
        {"pool", "mb1ic1ih9kh3ph3", "less than the kernel of 3"},
        {"pool", "mb1ic1ih9kh3dh1alg1", "expected 1 for averages"},
        {"pool", "mb1ic1ih9kh3sh0", "stride 0"},
        {"pool", "mb1ic1ih9", "kh is missing"},
        {"pool", "mb1ih9kh3", "ic is missing"},
        {"pool", "mb1ic1ih9oh9kh3", "the output is 7x7, not 9x9"},
        {"pool", "mb1ic1ih9kh3alg4", "alg is 4"},
        {"pool", "mb1ic1ih9oh1kh3alg3", "kh means nothing with alg3"},
        {"pool", "mb1ic1ih9oh0alg3", "oh is 0"},
        {"pool", "mb1ic1ih9kh2147483647dh2147483646", "does not fit"},
        {"pool", "mb2147483000ic2147483000ih30000iw30000kh1", "overflows"},
        {"relu", "1x3x3", "relu: the input has 3 dimensions: expected 2 or 4"},
        {"relu", "1x3:6", "unexpected \":6\""},
        {"relu", "1x3x50000x50000", "a plane of 50000x50000 is too large"},
        {"relu", "", "expected a positive integer"},
        {"clip", "1x3:6:0", "clip: bounds 6 to 0: expected low <= high"},
        {"clip", "1x3:nan:0", "clip: bounds nan to 0"},
        {"clip", "1x3:a", "expected a number after \":\" at \":a\""},
        {"clip", "1x3:0:6:7", "unexpected \":7\""},
        {"add", "1x3:relu7", "unexpected \":relu7\""},
        {"concat", "1x3+0", "at \"+0\""},
        {"concat", "1x3+x", "at \"+x\""},
        {"concat", "1x1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1", "more than 16 inputs"},
        {"concat", "1x2147483000+2147483000", "concat's output"},
        {"softmax", "1x0", "expected a positive integer"},
        {"batchnorm", "1x3:-1", "batchnorm: epsilon -1"},
        {"lrn", "1x3", "lrn: the input has 2 dimensions: expected 4"},
        {"lrn", "1x3x2x2:0", "a window of 0 channels"},
        {"lrn", "1x3x2x2:1.5", "a window of 1.5 channels"},
        {"lrn", "1x3x2x2:5:inf", "expected finite numbers"},
        {"reorder", "1x3x2", "expected 2 or 4"},
        {"reshape", "1x6:1x4", "6 elements behind the batch do not fill a shape of 4"},
        {"reshape", "1x6:1x4x-1", "a multiple of 4"},
        {"reshape", "1x6:2x3", "the batch goes from 1 to 2: it must stay"},
        {"reshape", "1x6:1x-1x-1", "at \"-1\""},
        {"reshape", "1x6", "expected INPUT:OUTPUT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        any_params params = {0};
        tw_error error = {0};
        const tw_op *op = tw_op_find(cases[i].op);
        if (op->parse(cases[i].problem, &params, &error) != TW_INVALID)
            test_fail(__FILE__, __LINE__, "%s:%s was accepted", cases[i].op, cases[i].problem);
        else if (!strstr(error.message, cases[i].message))
            test_fail(__FILE__, __LINE__, "%s:%s: \"%s\" does not contain \"%s\"", cases[i].op, cases[i].problem,
                      error.message, cases[i].message);
    }
}

/* Shapes that only a graph can bring. */
static void refused_shapes(void)
{
    tw_error error;
    tw_shape out;
    any_params params = {0};
    tw_shape differ[] = {{4, {1, 8, 4, 4}}, {4, {1, 8, 4, 5}}};
    CHECK(tw_op_find("add")->infer(&params, differ, 2, &out, &error) == TW_INVALID);
    CHECK_STR(error.message, "add: inputs of 1x8x4x4 and 1x8x4x5: expected one shape");
    CHECK(tw_op_find("concat")->infer(&params, differ, 2, &out, &error) == TW_INVALID);
    CHECK_STR(error.message, "concat: inputs of 1x8x4x4 and 1x8x4x5: expected to differ in channels only");
    CHECK(tw_op_find("concat")->infer(&params, differ, 0, &out, &error) == TW_INVALID);
    tw_shape norm[] = {{4, {1, 8, 4, 4}}, {1, {8}}, {1, {8}}, {1, {7}}, {1, {8}}};
    CHECK(tw_op_find("batchnorm")->infer(&params, norm, 5, &out, &error) == TW_INVALID);
    CHECK_STR(error.message, "batchnorm: the running mean must have 8 elements in one dimension");
    tw_shape negative = {4, {1, -8, 4, 4}}, huge = {4, {INT64_MAX, 8, 4, 4}};
    CHECK(tw_op_find("relu")->infer(&params, &negative, 1, &out, &error) == TW_INVALID);
    CHECK(tw_op_find("relu")->infer(&params, &huge, 1, &out, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "relu: dimension 0 of the input is 9223372036854775807");
}

/* What print() writes, parse() reads: those that ops_test.c does not make. */
static void descriptors(void)
{
    static const char *const cases[][2] = {
        {"pool", "mb1ic64ih112oh56kh3sh2ph1"},
        {"pool", "mb2ic3ih9iw8oh5ow4kh2sh2alg2ceil1"},
        {"pool", "mb1ic3ih112oh56kh3sh2pb1pr1"},
        {"pool", "mb1ic3ih9oh7ow8kh3kw2alg1"},
        {"pool", "mb1ic3ih9iw7oh2ow2alg3"},
        {"relu", "1x64x112x112"},
        {"clip", "1x64x112x112:-inf:6"},
        {"add", "1x64x56x56:relu6"},
        {"concat", "1x64x55x55+64+1"},
        {"softmax", "8x1000"},
        {"batchnorm", "1x64x112x112:0.00100000005"},
        {"lrn", "1x96x27x27:5:9.99999975e-05:0.75:2"},
        {"reorder", "1x3x224x224"},
        {"reshape", "1x256x6x6:1x-1"},
        {"reshape", "2x256x6x6:2x36x256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        any_params params;
        char text[160], cut[8];
        const tw_op *op = parse(cases[i][0], cases[i][1], &params);
        if (!op) continue;
        op->print(&params, text, sizeof text);
        CHECK_STR(text, cases[i][1]);
        op->print(&params, cut, sizeof cut); /* a short buffer is not overrun */
        CHECK(strncmp(cut, text, sizeof cut - 1) == 0);
    }
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"NaN and infinities as the reference", nan_and_infinity},
        {"NaN anywhere in a window is its maximum", nan_in_max_pool},
        {"unaligned buffers and results over their input", placement},
        {"softmax's exponential to 1.25 ulp", softmax_exponential},
        {"softmax of large inputs and many channels", softmax_is_stable},
        {"pool sizes as PyTorch's", pool_sizes},
        {"problems refused with a reason", refused_problems},
        {"shapes refused with a reason", refused_shapes},
        {"descriptors", descriptors},
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
