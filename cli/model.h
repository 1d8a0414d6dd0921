/* MODEL on the command line, its weights, and the names of its classes. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "options.h"

typedef struct cli_model {
    const char *name;
    tw_graph *graph;
    tw_preprocess preprocess; /* how photographs become its input */
    size_t classes;
    bool random; /* seeded random weights, because none were given */
} cli_model;

/* What the user gave, else the data folder's (CLI_REAL_WEIGHTS), else an error; or seeded random ones. */
typedef enum cli_weights { CLI_RANDOM_WEIGHTS, CLI_REAL_WEIGHTS } cli_weights;

tw_status cli_model_open(const cli_options *options, const char *name, cli_weights weights, cli_model *model,
                         tw_error *error);
void cli_model_close(cli_model *model);

typedef struct cli_labels {
    char **items;
    size_t count;
} cli_labels;

/* --labels, else the data folder's for networks of 1000 classes, else class numbers. */
tw_status cli_labels_open(const cli_options *options, size_t classes, cli_labels *labels, tw_error *error);
void cli_labels_close(cli_labels *labels);

#endif
