/* tw_onnx_read(): opens the model, reads it with a batch and, where that fails and all sizes are fixed, once more
 * without one, names what is not supported, and binds the weights. */
#include "onnx/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST = 7, NEWEST = 22 };

/* ---- what is not supported ---- */

/* Appends to a text, of which what does not fit is dropped whole. False where it was. */
__attribute__((format(printf, 4, 5))) static bool append(char *text, size_t size, size_t *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text + *at, size - *at, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= size - *at) {
        text[*at] = 0;
        return false;
    }
    *at += (size_t)length;
    return true;
}

/* Is the refusal of one of these kinds, each given by its first refusal? */
static bool is_known(const tw_onnx_import *import, const size_t *kinds, size_t count, size_t index)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(import->refusals[kinds[i]].what, import->refusals[index].what) == 0) return true;
    return false;
}

/* `Resize ("up1", "up2" and 7 more)` */
static bool append_group(const tw_onnx_import *import, size_t first, char *text, size_t size, size_t *at)
{
    enum { NAMED = 4 };
    const char *what = import->refusals[first].what;
    size_t count = 0, start = *at;
    bool fits = append(text, size, at, "%s (", what);
    for (size_t i = first; fits && i < import->n_refusals; i++) {
        if (strcmp(import->refusals[i].what, what) != 0) continue;
        if (count++ < NAMED)
            fits = append(text, size, at, "%s\"%.100s\"", count > 1 ? ", " : "", import->refusals[i].node);
    }
    if (fits && count > NAMED) fits = append(text, size, at, " and %zu more", count - NAMED);
    fits = fits && append(text, size, at, ")");
    if (!fits) {
        *at = start;
        text[start] = 0;
    }
    return fits;
}

static tw_status list_refusals(tw_onnx_import *import)
{
    enum { ROOM = 760, WORDS = 64 }; /* the file's name goes before; more kinds than WORDS are only counted */
    char text[ROOM];
    size_t firsts[WORDS + 1], at = 0, kinds = 0, named = 0;
    *text = 0;
    for (size_t i = 0; i < import->n_refusals && kinds <= WORDS; i++) {
        if (is_known(import, firsts, kinds, i)) continue;
        firsts[kinds++] = i;
        size_t before = at;
        if (named + 1 == kinds && (kinds == 1 || append(text, ROOM, &at, ", "))) {
            if (append_group(import, i, text, ROOM, &at))
                named++;
            else
                text[at = before] = 0;
        }
    }
    char rest[64] = "";
    if (kinds > named)
        snprintf(rest, sizeof rest, ", and %s%zu other kinds", kinds > WORDS ? "more than " : "", kinds - named);
    return tw_fail(&import->error, TW_INVALID, "%zu %s not supported: %s%s", import->n_refusals,
                   import->n_refusals == 1 ? "operator is" : "operators are", text, rest);
}

/* ---- the model ---- */

static tw_status find_opset(const Onnx__ModelProto *model, int *opset, tw_error *error)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (set->domain && *set->domain && strcmp(set->domain, "ai.onnx") != 0) continue;
        if (set->version < OLDEST || set->version > NEWEST)
            return tw_fail(error, TW_INVALID, "operator set %lld, expected %d to %d", (long long)set->version, OLDEST,
                           NEWEST);
        *opset = (int)set->version;
        return TW_OK;
    }
    return tw_fail(error, TW_INVALID, "the model does not say which version of ONNX's operator set it uses");
}

/* "resnet18" of "dir/resnet18.onnx" */
static void stem_of(const char *path, char *stem, size_t size)
{
    const char *slash = strrchr(path, '/');
    snprintf(stem, size, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem) *dot = 0;
}

static tw_status bind_weights(tw_onnx_import *import)
{
    tw_weights *weights;
    tw_weights_source source = {import->tensors, import->n_tensors, import->owner, tw_onnx_owner_release};
    tw_status status = tw_weights_create(&source, &weights, &import->error);
    if (status != TW_OK) return status;
    import->owner = NULL; /* the weights' now */
    status = tw_graph_bind(import->graph, weights, &import->error);
    tw_weights_release(weights);
    return status;
}

/* Reads the model one way; on success the graph is the caller's. */
static tw_status read_one_way(tw_onnx_import *import, const char *path, size_t limit)
{
    char stem[256];
    stem_of(path, stem, sizeof stem);
    tw_status status = tw_onnx_owner_create(path, limit, &import->owner, &import->error);
    if (status != TW_OK) return status; /* its error names the file */
    const Onnx__ModelProto *model = tw_onnx_model_proto(import->owner->model);
    import->proto = model->graph;
    status = find_opset(model, &import->opset, &import->error);
    const char *name = model->graph->name && *model->graph->name ? model->graph->name : stem;
    if (status == TW_OK) status = tw_graph_create(name, &import->graph, &import->error);
    if (status == TW_OK) status = tw_onnx_walk(import);
    if (import->n_refusals && status != TW_OUT_OF_MEMORY) status = list_refusals(import);
    if (status == TW_OK) status = bind_weights(import);
    if (status != TW_OK) tw_error_prefix(&import->error, "%s", path);
    return status;
}

/* All but the error. */
static void release(tw_onnx_import *import)
{
    tw_graph_release(import->graph);
    tw_onnx_owner_release(import->owner);
    tw_names_free(&import->values_by_name);
    tw_names_free(&import->used_names);
    free(import->tensors);
    free(import->refusals);
    *import = (tw_onnx_import){.error = import->error};
}

tw_status tw_onnx_read(const char *path, const tw_onnx_desc *desc, tw_graph **graph, tw_error *error)
{
    size_t limit = desc && desc->max_bytes ? desc->max_bytes : (size_t)4 << 30;
    *graph = NULL;
    tw_onnx_import first = {.batched = true}, second = {0}, *good = &first;
    tw_status status = read_one_way(&first, path, limit);
    if (status == TW_INVALID && first.fixed) {
        good = &second;
        release(&first); /* the limit is for both */
        status = read_one_way(&second, path, limit) == TW_OK ? TW_OK : status;
    }
    if (status == TW_OK) {
        *graph = good->graph;
        good->graph = NULL;
    } else if (error) {
        *error = first.error;
    }
    release(&first);
    release(&second);
    return status;
}
