#include "onnx/export_names.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Where `name` stands among the sorted names; null: nowhere. */
static const char *const *find(const tw_export_names *names, const char *name)
{
    return bsearch(&name, names->taken, names->count, sizeof *names->taken, compare);
}

bool tw_export_names_has(const tw_export_names *names, const char *name)
{
    return find(names, name);
}

static bool is_unique(const tw_export_names *names, const char *name)
{
    const char *const *at = find(names, name);
    size_t index = (size_t)(at - names->taken);
    return !(index > 0 && strcmp(at[-1], name) == 0) && !(index + 1 < names->count && strcmp(at[1], name) == 0);
}

static bool has_alias(const tw_graph_value *value)
{
    return value->alias && *value->alias && strcmp(value->alias, value->name) != 0;
}

tw_status tw_export_names_create(const tw_graph *graph, tw_export_names *names, tw_error *error)
{
    size_t values = (size_t)graph->n_values;
    *names = (tw_export_names){calloc(values + 1, sizeof *names->of), calloc(2 * values + 1, sizeof *names->taken), 0};
    if (!names->of || !names->taken) {
        tw_export_names_free(names);
        return tw_no_memory(error, 3 * values * sizeof *names->of, "names");
    }
    for (size_t i = 0; i < values; i++) {
        names->taken[names->count++] = graph->values[i].name;
        if (has_alias(&graph->values[i])) names->taken[names->count++] = graph->values[i].alias;
    }
    qsort(names->taken, names->count, sizeof *names->taken, compare);
    for (size_t i = 0; i < values; i++) {
        const tw_graph_value *value = &graph->values[i];
        names->of[i] = has_alias(value) && is_unique(names, value->alias) ? value->alias : value->name;
    }
    return TW_OK;
}

void tw_export_names_free(tw_export_names *names)
{
    free(names->of);
    free(names->taken);
    *names = (tw_export_names){0};
}
