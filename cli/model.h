/* MODEL on the command line, its weights, and the names of its classes. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "options.h"

typedef struct cli_model {
    const char *name; /* as on the command line */
    tw_graph *graph;
    tw_preprocess preprocess; /* how photographs become its input; zero where the command takes none */
    size_t classes;
    bool random; /* seeded random weights, because none were given */
} cli_model;

/* Of a zoo network: what the user gave; else the data folder's, or, where they would do, seeded random ones. An ONNX
 * file has its own. */
typedef enum cli_weights {
    CLI_RANDOM_WEIGHTS, /* given, else random */
    CLI_REAL_WEIGHTS,   /* given, else the data folder's; the model takes photographs */
    CLI_KEPT_WEIGHTS    /* given, else the data folder's, but random where --seed is given: they will be written */
} cli_weights;

/* An ONNX file, or a network of the zoo. */
tw_status cli_model_open(const cli_options *options, const char *name, cli_weights weights, cli_model *model,
                         tw_error *error);
/* Of a command that has no other use for --seed than random weights: refused beside a file, which has its own. */
tw_status cli_seed_check(const cli_options *options, const char *name, tw_error *error);
void cli_model_close(cli_model *model);

/* Does a file's name end so? ".onnx" */
bool cli_has_ending(const char *path, const char *ending);

typedef struct cli_labels {
    char **items;
    size_t count;
} cli_labels;

/* --labels, else the data folder's for networks of 1000 classes, else class numbers. */
tw_status cli_labels_open(const cli_options *options, size_t classes, cli_labels *labels, tw_error *error);
/* More classes, whose names are their numbers. */
tw_status cli_labels_extend(cli_labels *labels, size_t classes, tw_error *error);
void cli_labels_close(cli_labels *labels);

#endif
