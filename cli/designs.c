/* tilewise designs: every design of every operator. */
#include "cli.h"
#include "core/design.h"
#include "session.h"
#include "suggest.h"

#include <string.h>

enum { MAX_DESIGNS = 1024, MAX_OPS = 256 };

static const tw_column columns[] = {
    {"op", "operator", TW_COLUMN_TEXT},
    {"device", "device", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},
    {"summary", "summary", TW_COLUMN_TEXT},
};

static tw_status check_op(const char *op, tw_error *error)
{
    const char *names[MAX_OPS];
    size_t count = tw_op_count() < MAX_OPS ? tw_op_count() : MAX_OPS;
    if (tw_op_find(op)) return TW_OK;
    for (size_t i = 0; i < count; i++) names[i] = tw_op_at(i)->name;
    return cli_unknown("operator", op, (cli_names){names, count}, error);
}

static void add(const cli_options *options, tw_results *results, const tw_design *design)
{
    const tw_row_key key = {.device = design->device};
    cJSON *row = tw_row_create(&key);
    tw_row_text(row, "op", design->op);
    tw_row_text(row, "design", design->name);
    tw_row_text(row, "summary", design->summary);
    cJSON_AddBoolToObject(row, "yardstick", design->yardstick);
    tw_row_number(row, "tolerance", design->tolerance > 0 ? design->tolerance : 1e-5);
    if (design->yardstick && cli_is_text(options)) cli_bracket_design(row, design->name);
    tw_results_add(results, row);
}

static int run(const cli_options *options)
{
    const char *op = options->argument_count ? options->arguments[0] : NULL;
    tw_error error;
    tw_results *results;
    if (op && check_op(op, &error) != TW_OK) return cli_fail(&error);
    if (cli_results_open(options, TW_COLUMNS(columns), &results, &error) != TW_OK) return cli_fail(&error);
    const tw_design *designs[MAX_DESIGNS];
    size_t count = tw_designs(op, NULL, designs, MAX_DESIGNS);
    for (size_t i = 0; i < count && i < MAX_DESIGNS; i++) add(options, results, designs[i]);
    return cli_results_close(results, EXIT_DONE);
}

const cli_command cli_designs = {
    .name = "designs",
    .summary = "list every design of every operator on every device",
    .usage = "[OP]",
    .text =
        "A design is one way to do one operator on one device. Those in brackets are a vendor's library, a yardstick\n"
        "that is never chosen by itself. The order is preference where predicted times tie.",
    .examples = "  tilewise designs\n"
                "  tilewise designs conv2d",
    .options = CLI_BIT(CLI_FORMAT) | CLI_BIT(CLI_HELP),
    .max_arguments = 1,
    .run = run,
};
