/* Names for a graph's values in a file: parameters are called as in the file that they came from. */
#ifndef TW_ONNX_EXPORT_NAMES_H
#define TW_ONNX_EXPORT_NAMES_H

#include "core/graph.h"
#include "core/status.h"

/* A value's name is its own, but a parameter's is its alias where nothing else has that name. */
typedef struct tw_export_names {
    const char **of;    /* by value */
    const char **taken; /* every name and alias of the graph, sorted */
    size_t count;       /* of `taken` */
} tw_export_names;

tw_status tw_export_names_create(const tw_graph *graph, tw_export_names *names, tw_error *error);
void tw_export_names_free(tw_export_names *names);
bool tw_export_names_has(const tw_export_names *names, const char *name);

#endif
