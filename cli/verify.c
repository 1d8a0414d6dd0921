/* tilewise verify: every design against the reference, which sums in double; for operators and for whole networks. */
#include "verify.h"
#include "cli.h"
#include "core/op.h"
#include "session.h"
#include "suggest.h"

#include <string.h>

enum { MAX_NAMES = 512 };

static const tw_column operator_columns[] = {
    {"op", "operator", TW_COLUMN_TEXT},
    {"device", "device", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},
    {"status", "status", TW_COLUMN_TEXT},
    {"passed", "passed", TW_COLUMN_COUNT},
    {"incorrect", "incorrect", TW_COLUMN_COUNT},
    {"not_supported", "refused", TW_COLUMN_COUNT},
    {"max_rel_err", "worst error", TW_COLUMN_ERROR},
    {"tolerance", "tolerance", TW_COLUMN_ERROR},
};
static const tw_column network_columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},
    {"op", "op", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},
    {"status", "status", TW_COLUMN_TEXT},
    {"max_abs_err", "max error", TW_COLUMN_ERROR},
    {"mean_abs_err", "mean error", TW_COLUMN_ERROR},
    {"max_rel_err", "max of scale", TW_COLUMN_ERROR},
    {"tolerance", "tolerance", TW_COLUMN_ERROR},
};

cJSON *verify_row(const tw_bench_row *row, double mean_abs_err, double tolerance)
{
    cJSON *json = tw_bench_row_json(row);
    tw_row_text(json, "direction", "forward");
    tw_row_number(json, "mean_abs_err", mean_abs_err);
    tw_row_number(json, "tolerance", tolerance);
    return json;
}

/* An operator's name or a network's; anything else is unknown, unless it is a file that the model's reader refuses. */
static tw_status check_name(const char *name, tw_error *error)
{
    const char *names[MAX_NAMES];
    size_t count = 0;
    tw_preprocess known;
    if (strchr(name, '.') || tw_zoo_preprocess(name, NULL, &known, NULL) == TW_OK) return TW_OK;
    for (size_t i = 0; i < tw_op_count() && count < MAX_NAMES; i++) names[count++] = tw_op_at(i)->name;
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return TW_OK;
    for (size_t i = 0; i < tw_zoo_count() && count < MAX_NAMES; i++) names[count++] = tw_zoo_name(i);
    return cli_unknown("operator or network", name, (cli_names){names, count}, error);
}

static int run(const cli_options *options)
{
    tw_error error;
    tw_results *results;
    const char *name = options->argument_count ? options->arguments[0] : NULL;
    if (name && check_name(name, &error) != TW_OK) return cli_fail(&error);
    bool network = name && !tw_op_find(name);
    tw_columns columns = network ? TW_COLUMNS(network_columns) : TW_COLUMNS(operator_columns);
    if (cli_results_open(options, columns, &results, &error) != TW_OK) return cli_fail(&error);
    int code = network ? verify_network(options, name, results) : verify_operators(options, name, results);
    if (code == EXIT_DONE || code == EXIT_MISMATCH) return cli_results_close(results, code);
    tw_results_destroy(results);
    return code;
}

const cli_command cli_verify = {
    .name = "verify",
    .summary = "check designs against the reference in double precision",
    .usage = "[OP|MODEL] [OPTION...]",
    .text =
        "For an operator (or all): every design on a set of problems, outputs poisoned with NaN and guarded. For a\n"
        "network: the output of every layer against a run of the reference alone, unfused. Errors are relative to the\n"
        "layer's scale, the largest magnitude of its reference. The exit status is 1 where one is too large.",
    .examples = "  tilewise verify\n"
                "  tilewise verify conv2d --design winograd -o json\n"
                "  tilewise verify resnet18 --threads 2",
    .options = CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) |
               CLI_BIT(CLI_NO_TUNE) | CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) |
               CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_SEED) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) |
               CLI_BIT(CLI_HELP),
    .lists = CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_DESIGN),
    .max_arguments = 1,
    .takes_model = true,
    .run = run,
};
