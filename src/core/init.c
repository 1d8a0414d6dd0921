/* Random parameters for a graph.
 *
 * Element i of a parameter is word i % 4 of Philox at counter (i / 4, seed) under the hash of the parameter's name: it
 * depends on nothing else, so neither order nor threads can change it. Nor can the machine: beyond IEEE's exactly
 * rounded operations nothing is used, and where a product feeds a sum fma() is written out, since compilers contract
 * the two on some machines and not on others. */
#include "core/graph.h"
#include "core/philox.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a parameter's elements are drawn from: center + spread * v, with v uniform in (-1, 1) or standard normal. */
typedef struct law {
    double center, spread; /* the center is 0 unless the spread is 0 or 1/2: see sample() */
    bool normal;
} law;

/* ln p by exact steps: p = m * 2^e with m near 1, and ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172. */
static double natural_log(double p)
{
    int e;
    double m = frexp(p, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, series = 1.0 / 15;
    for (int k = 13; k >= 1; k -= 2) series = fma(series, s2, 1.0 / k);
    return fma(e, 0.69314718055994531, 2 * s * series);
}

/* The standard normal's quantile for p = 1/2 + q, by rational approximation to 1e-7 (Wichura 1988, AS 241, PPND7).
 * The 32 bits behind q keep p within 2^-33 of 0 and 1: the outermost of its three regions is never reached. */
static double normal_quantile(double q)
{
    if (fabs(q) <= 0.425) {
        double r = fma(-q, q, 0.180625);
        double above = fma(fma(fma(59.109374720, r, 159.29113202), r, 50.434271938), r, 3.3871327179);
        double below = fma(fma(fma(67.187563600, r, 78.757757664), r, 17.895169469), r, 1.0);
        return q * above / below;
    }
    double r = sqrt(-natural_log(0.5 - fabs(q))) - 1.6;
    double above = fma(fma(fma(0.17023821103, r, 1.3067284816), r, 2.7568153900), r, 1.4234372777);
    double below = fma(fma(0.12021132975, r, 0.73700164250), r, 1.0);
    return copysign(above / below, q);
}

static float sample(uint32_t word, const law *l)
{
    double q = ((double)word + 0.5) * 0x1p-32 - 0.5; /* exact, in (-1/2, 1/2) */
    if (l->normal) return (float)(l->spread * normal_quantile(q));
    /* Either the product or the sum is exact, so contraction changes nothing. */
    return (float)(l->center + l->spread * (2 * q));
}

/* FNV-1a, 64 bits. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

static void fill(float *data, size_t count, const law *l, uint64_t seed, uint64_t key)
{
    for (size_t i = 0; i < count; i += 4) {
        tw_philox block = tw_philox_at(i / 4, seed, key);
        for (size_t j = 0; j < 4 && i + j < count; j++) data[i + j] = sample(block.word[j], l);
    }
}

/* How many inputs an output of this weight sums over, and how many outputs an input reaches; with groups, as PyTorch
 * counts them. Weights are [out][in / groups][kh][kw] or [out][in]. */
typedef struct fans {
    double in, out;
} fans;

static fans count_fans(const tw_shape *weight)
{
    double field = 1;
    for (int i = 2; i < weight->rank; i++) field *= (double)weight->dims[i];
    return (fans){(double)weight->dims[1] * field, (double)weight->dims[0] * field};
}

static law weight_law(const fans *f, const tw_init_desc *desc)
{
    /* The variance that each scheme asks for; uniform in +-b has b * b / 3. */
    double variance = desc->scheme == TW_INIT_XAVIER    ? 2 / (f->in + f->out)
                      : desc->scheme == TW_INIT_KAIMING ? 2 / f->in
                                                        : 1 / (3 * f->in); /* gain^2 = 2 / (1 + a^2), a^2 = 5 */
    bool normal = desc->distribution == TW_NORMAL;
    return (law){.spread = sqrt(normal ? variance : 3 * variance), .normal = normal};
}

static law batchnorm_law(int operand, bool random)
{
    bool scales = operand == 1 || operand == 4; /* weight and variance; the others shift */
    if (!random) return (law){.center = scales ? 1 : 0};
    return scales ? (law){.center = 1, .spread = 0.5} : (law){.spread = 0.2};
}

/* For operand `operand` of a node with parameters. */
static law choose_law(const tw_graph *graph, const tw_node *node, int operand, const tw_init_desc *desc)
{
    if (strcmp(node->op->name, "batchnorm") == 0) return batchnorm_law(operand, desc->random_statistics);
    fans f = count_fans(&graph->values[node->in[1]].shape);
    if (operand == 1) return weight_law(&f, desc);
    return (law){.spread = desc->scheme == TW_INIT_PYTORCH ? 1 / sqrt(f.in) : 0};
}

static tw_status check_desc(const tw_init_desc *desc, tw_error *error)
{
    if ((unsigned)desc->scheme > TW_INIT_XAVIER)
        return tw_fail(error, TW_INVALID, "no initialisation scheme %d", (int)desc->scheme);
    if ((unsigned)desc->distribution > TW_NORMAL)
        return tw_fail(error, TW_INVALID, "no distribution %d", (int)desc->distribution);
    return TW_OK;
}

tw_status tw_graph_init(tw_graph *graph, const tw_init_desc *desc, tw_error *error)
{
    static const tw_init_desc defaults = {0};
    if (!desc) desc = &defaults;
    tw_status status = tw_graph_check(graph, error);
    if (status == TW_OK) status = check_desc(desc, error);
    if (status != TW_OK) return status;

    law *laws = calloc((size_t)graph->n_values + 1, sizeof *laws); /* of each value */
    if (!laws) return tw_no_memory(error, (size_t)graph->n_values * sizeof *laws, "initialisation");
    for (int n = 0; n < graph->n_nodes; n++) {
        const tw_node *node = &graph->nodes[n];
        for (int i = 1; i < node->n_in; i++)
            if (node->in[i] >= 0 && graph->values[node->in[i]].kind == TW_VALUE_PARAMETER)
                laws[node->in[i]] = choose_law(graph, node, i, desc);
    }
    for (int i = 0; status == TW_OK && i < graph->n_parameters; i++) {
        const tw_graph_value *value = &graph->values[graph->parameters[i]];
        float *data = NULL;
        status = tw_graph_own_parameter(graph, (size_t)i, &data, error);
        if (status == TW_OK)
            fill(data, tw_layout_count(&value->shape, TW_PLAIN), &laws[graph->parameters[i]], desc->seed,
                 hash_name(value->name));
    }
    free(laws);
    return status;
}
