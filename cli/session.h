/* What most subcommands begin with: a device, a network on it, results to fill. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "bench/network.h"
#include "model.h"
#include "options.h"

/* Where and how a network runs: one point of a sweep. */
typedef struct cli_setting {
    tw_device *device;
    int precision, batch;
    const char *design;
} cli_setting;

tw_status cli_device_open(const cli_options *options, const char *name, int threads, tw_device **device,
                          tw_error *error);
tw_row_key cli_row_key(const tw_device_info *device, const char *model, int batch, int precision);

/* Plans the network, by what tune measured unless --no-tune is given, and says on standard error where a fallback was
 * taken and how many steps were chosen by measurement. */
tw_status cli_network_open(const cli_options *options, const cli_model *model, const cli_setting *setting,
                           tw_network *network, tw_error *error);
/* The same with other wishes than the setting's: values kept, no fusion. The graph is the model's. */
tw_status cli_network_open_with(const cli_options *options, const cli_model *model, const tw_network_desc *desc,
                                tw_network *network, tw_error *error);

/* Says on standard error which layers the device launches as one. */
void cli_tell_launches(const tw_plan *plan, const char *model);

/* Are the outputs probabilities already? */
bool cli_ends_in_softmax(const tw_plan *plan);

tw_status cli_results_open(const cli_options *options, tw_columns columns, tw_results **results, tw_error *error);
/* Writes them, releases them, and gives the exit code: `code` unless writing fails. A reader that went away, as head
 * does, is no news. */
int cli_results_close(tw_results *results, int code);
/* Another table (or Markdown) below the results, under a title; nothing where there are no rows, which it releases. */
int cli_print_table(const cli_options *options, const char *title, tw_columns columns, cJSON *rows);
bool cli_colour(void);
/* A table or Markdown: for people. There a vendor's library, a yardstick, stands in brackets. */
bool cli_is_text(const cli_options *options);
void cli_bracket_design(cJSON *row, const char *design);

#endif
