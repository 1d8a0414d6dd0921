/* The options of all subcommands: each has one meaning, one check and one line of help. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "bench/results.h"
#include "bench/timing.h"

enum { CLI_MAX_LIST = 64 };

typedef enum cli_option {
    CLI_DEVICE,
    CLI_FAMILY,
    CLI_DESIGN,
    CLI_FALLBACK,
    CLI_NO_TUNE,
    CLI_PRECISION,
    CLI_THREADS,
    CLI_BATCH,
    CLI_SEED,
    CLI_WEIGHTS,
    CLI_IMAGE_SIZE,
    CLI_RESIZE,
    CLI_CROP,
    CLI_INTERPOLATION,
    CLI_MEAN,
    CLI_STD,
    CLI_LABELS,
    CLI_TOP,
    CLI_LAYERS,
    CLI_INPUT,
    CLI_OUTPUT,
    CLI_DUMP_LAYERS,
    CLI_LAYER,
    CLI_SHAPES,
    CLI_IMAGE,
    CLI_ITERATIONS,
    CLI_WARM_UP,
    CLI_DURATION,
    CLI_PERCENTILE,
    CLI_DUMP_PROFILE,
    CLI_TRACE,
    CLI_MEASURE,
    CLI_DATA,
    CLI_SPLIT,
    CLI_LIMIT,
    CLI_WORST,
    CLI_CONFUSION,
    CLI_RECURSIVE,
    CLI_FILES_FROM,
    CLI_NULL,
    CLI_FORMAT,
    CLI_HELP,
    CLI_OPTIONS
} cli_option;

#define CLI_BIT(option) ((uint64_t)1 << (option))
/* How photographs become input, where a command takes photographs. */
#define CLI_PREPROCESSING                                                                                              \
    (CLI_BIT(CLI_RESIZE) | CLI_BIT(CLI_CROP) | CLI_BIT(CLI_INTERPOLATION) | CLI_BIT(CLI_MEAN) | CLI_BIT(CLI_STD))

typedef struct cli_texts {
    const char *items[CLI_MAX_LIST];
    int count;
} cli_texts;
typedef struct cli_integers {
    int items[CLI_MAX_LIST];
    int count;
} cli_integers;
typedef struct cli_numbers {
    double items[CLI_MAX_LIST];
    int count;
} cli_numbers;

/* Every list has at least one element: the default, where the option was not given. */
typedef struct cli_options {
    uint64_t given;          /* CLI_BIT(...) of those on the command line */
    cli_texts devices;       /* cpu */
    const char *family;      /* of metal-sim and metal-cuda; null: apple7 */
    cli_texts designs;       /* auto */
    cli_integers precisions; /* tw_precision: fp32 */
    cli_integers threads;    /* 0: one a core */
    cli_integers batches;    /* 1 */
    cli_numbers percentiles; /* none beyond those that every row has */
    bool fallback;
    uint64_t seed; /* 1 */
    const char *weights, *labels, *layer, *shapes, *image, *input, *output, *dump_layers, *trace;
    const char *data, *confusion, *files_from;
    tw_split split;
    int image_size, top;      /* 0: the network's own; 5 */
    int limit, worst;         /* 0: all; 10 */
    tw_preprocess preprocess; /* those parts of it that were given */
    tw_timing_desc timing;
    tw_format format;
    bool help; /* --help was given; nothing else was checked */

    char *const *arguments; /* those that are no options */
    int argument_count;
    char *command_line; /* as typed; cli_options_free() releases it and the lists' texts */
    char *copies[CLI_OPTIONS];
} cli_options;

struct cli_command;

/* argv[0] is the subcommand. */
tw_status cli_options_parse(const struct cli_command *command, int argc, char **argv, cli_options *options,
                            tw_error *error);
void cli_options_free(cli_options *options);
bool cli_given(const cli_options *options, cli_option option);

/* The lines of help for the options in a set. */
void cli_options_help(uint64_t set, uint64_t lists);

const char *cli_precision_name(int precision);

#endif
