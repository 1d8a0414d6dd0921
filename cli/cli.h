/* What the subcommands share with main: their record, the exit codes, and how they speak.
 *
 * Results go to standard output; everything else, one line at a time, to standard error. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "options.h"

enum {
    EXIT_DONE = 0,
    EXIT_MISMATCH = 1,    /* a check failed */
    EXIT_BAD_INPUT = 2,   /* usage, files, unknown names */
    EXIT_UNAVAILABLE = 3, /* a known device, design or precision that is not here or does not apply */
    EXIT_BROKEN = 4       /* disk, memory, driver */
};

typedef struct cli_command {
    const char *name, *summary;
    const char *usage; /* what follows the name */
    const char *text;  /* paragraphs of the help; may be null */
    const char *examples;
    uint64_t options; /* CLI_BIT(...) of those it takes */
    uint64_t lists;   /* of those, the ones that take a comma list, which it sweeps */
    int min_arguments, max_arguments;
    bool takes_model; /* the help lists the zoo */
    int (*run)(const cli_options *options);
} cli_command;

/* Prints the error and gives the exit code that its status asks for. */
int cli_fail(const tw_error *error);
int cli_exit_code(tw_status status);
/* "tilewise: ..." on standard error. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *format, ...);
/* The worse of two exit codes: broken, then a mismatch, bad input, unavailable, done. */
int cli_worse(int a, int b);

#endif
