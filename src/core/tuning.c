#include "core/tuning.h"
#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tw_tuning *tw_tuning_create(void)
{
    return calloc(1, sizeof(tw_tuning));
}

void tw_tuning_release(tw_tuning *tuning)
{
    if (!tuning) return;
    free(tuning->items);
    free(tuning);
}

size_t tw_tuning_count(const tw_tuning *tuning)
{
    return tuning->count;
}

bool tw_tuning_name(const tw_op *op, const void *params, char text[192])
{
    const size_t size = sizeof((tw_measurement *)NULL)->problem;
    int length = snprintf(text, size, "%s:", op->name);
    op->print(params, text + length, size - (size_t)length);
    return strlen(text) + 1 < size; /* a longer one may have been cut */
}

static int compare_types(tw_type a, tw_type b)
{
    return a.dtype != b.dtype ? (int)a.dtype - (int)b.dtype : (int)a.layout - (int)b.layout;
}

static int compare(const tw_measurement *a, const tw_measurement *b)
{
    int order = strcmp(a->problem, b->problem);
    if (!order) order = strcmp(a->design, b->design);
    if (!order) order = compare_types(a->in, b->in);
    return order ? order : compare_types(a->out, b->out);
}

bool tw_measurement_same(const tw_measurement *a, const tw_measurement *b)
{
    return compare(a, b) == 0;
}

/* The first of a problem, or where it would stand. */
static size_t lower_bound(const tw_tuning *tuning, const char *problem)
{
    size_t low = 0, high = tuning->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(tuning->items[middle].problem, problem) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const tw_measurement *tw_tuning_find(const tw_tuning *tuning, const char *problem, size_t *count)
{
    size_t first = lower_bound(tuning, problem), end = first;
    while (end < tuning->count && strcmp(tuning->items[end].problem, problem) == 0) end++;
    *count = end - first;
    return *count ? &tuning->items[first] : NULL;
}

static bool make_room(tw_tuning *tuning)
{
    if (tuning->count < tuning->capacity) return true;
    size_t wanted = tuning->capacity ? 2 * tuning->capacity : 64;
    tw_measurement *larger = realloc(tuning->items, wanted * sizeof *larger);
    if (!larger) return false;
    tuning->items = larger;
    tuning->capacity = wanted;
    return true;
}

tw_status tw_tuning_add(tw_tuning *tuning, const tw_measurement *item, tw_error *error)
{
    size_t at = lower_bound(tuning, item->problem);
    while (at < tuning->count && compare(&tuning->items[at], item) < 0) at++;
    const bool there = at < tuning->count && compare(&tuning->items[at], item) == 0;
    if (!there) {
        if (!make_room(tuning)) return tw_no_memory(error, sizeof *item, "a measurement");
        memmove(&tuning->items[at + 1], &tuning->items[at], (tuning->count - at) * sizeof *item);
        tuning->count++;
    }
    tuning->items[at] = *item;
    return TW_OK;
}

tw_status tw_tuning_append(tw_tuning *tuning, const tw_measurement *item, tw_error *error)
{
    if (!make_room(tuning)) return tw_no_memory(error, sizeof *item, "a measurement");
    tuning->items[tuning->count++] = *item;
    return TW_OK;
}

static int compare_items(const void *a, const void *b)
{
    const tw_measurement *x = a, *y = b;
    const int order = compare(x, y);
    return order ? order : (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

void tw_tuning_sort(tw_tuning *tuning)
{
    size_t kept = 0;
    if (tuning->count > 1) qsort(tuning->items, tuning->count, sizeof *tuning->items, compare_items);
    for (size_t i = 0; i < tuning->count; i++)
        if (kept == 0 || compare(&tuning->items[kept - 1], &tuning->items[i]) != 0)
            tuning->items[kept++] = tuning->items[i];
    tuning->count = kept;
}

void tw_tuning_filter(tw_tuning *tuning, bool (*keep)(const tw_measurement *item, const void *context),
                      const void *context)
{
    size_t kept = 0;
    for (size_t i = 0; i < tuning->count; i++)
        if (keep(&tuning->items[i], context)) tuning->items[kept++] = tuning->items[i];
    tuning->count = kept;
}

static bool is_unknown(const tw_measurement *item, const void *context)
{
    size_t count;
    return !tw_tuning_find(context, item->problem, &count);
}

tw_status tw_tuning_merge(tw_tuning *tuning, const tw_tuning *newer, tw_error *error)
{
    tw_status status = TW_OK;
    tw_tuning_filter(tuning, is_unknown, newer);
    for (size_t i = 0; i < newer->count && status == TW_OK; i++)
        status = tw_tuning_add(tuning, &newer->items[i], error);
    return status;
}
