#include "bench/evaluate.h"
#include "core/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 5 };

tw_status tw_score_create(size_t labels, size_t classes, size_t worst, tw_score *score, tw_error *error)
{
    size_t cells;
    *score = (tw_score){.labels = labels, .classes = classes, .worst_max = worst};
    if (!tw_checked_mul(labels, classes, &cells))
        return tw_fail(error, TW_INVALID, "a confusion matrix of %zu by %zu is too large", labels, classes);
    score->confusion = calloc(cells + 1, sizeof *score->confusion);
    score->worst = calloc(worst + 1, sizeof *score->worst);
    if (score->confusion && score->worst) return TW_OK;
    tw_score_free(score);
    return tw_no_memory(error, cells * sizeof *score->confusion, "a confusion matrix");
}

void tw_score_free(tw_score *score)
{
    free(score->confusion);
    free(score->worst);
    *score = (tw_score){0};
}

/* 1 / sum of exp(x - max): what softmax makes of the largest. */
static double largest_probability(const float *x, size_t count, float max)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += exp((double)x[i] - max);
    return 1 / sum;
}

static bool is_worse(const tw_mistake *a, const tw_mistake *b)
{
    return a->probability > b->probability || (a->probability == b->probability && a->index < b->index);
}

/* Into its place in the list, the last of which falls out when it is full. */
static void keep_worst(tw_score *score, const tw_mistake *mistake)
{
    size_t at = score->worst_count;
    while (at > 0 && is_worse(mistake, &score->worst[at - 1])) at--;
    if (at == score->worst_max) return;
    if (score->worst_count < score->worst_max) score->worst_count++;
    memmove(&score->worst[at + 1], &score->worst[at], (score->worst_count - 1 - at) * sizeof *mistake);
    score->worst[at] = *mistake;
}

bool tw_score_add(tw_score *score, const tw_answer *answer)
{
    const float *x = answer->outputs, right = x[answer->label];
    float nothing = 0; /* becomes NaN where an output is not finite */
    size_t larger = 0, predicted = 0;
    for (size_t i = 0; i < score->classes; i++) {
        nothing += 0 * x[i];
        larger += x[i] > right || (x[i] == right && i < (size_t)answer->label);
        if (x[i] > x[predicted]) predicted = i;
    }
    if (nothing != 0) return false;
    score->images++;
    score->top1 += larger == 0;
    score->top5 += larger < TOP;
    score->confusion[(size_t)answer->label * score->classes + predicted]++;
    if (larger == 0) return true;
    double p = answer->probabilities ? x[predicted] : largest_probability(x, score->classes, x[predicted]);
    keep_worst(score, &(tw_mistake){answer->index, answer->label, (int)predicted, p});
    return true;
}

tw_class_score tw_score_class(const tw_score *score, size_t label)
{
    tw_class_score result = {.mistaken_for = -1};
    const uint32_t *row = score->confusion + label * score->classes;
    for (size_t i = 0; i < score->classes; i++) {
        result.images += row[i];
        if (i == label) {
            result.correct = row[i];
        } else if (row[i] > result.mistaken) {
            result.mistaken = row[i];
            result.mistaken_for = (int)i;
        }
    }
    return result;
}
