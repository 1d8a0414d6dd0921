#include "layers.h"

static tw_status add_row(const tw_network *network, const tw_profile *profile, size_t index, tw_bench_row row,
                         cJSON *rows)
{
    tw_step_info step;
    tw_device_info device;
    tw_samples samples;
    tw_status status = tw_profile_step(profile, index, &samples, NULL);
    if (status != TW_OK) return status;
    tw_plan_step(network->plan, index, &step);
    tw_device_describe(network->device, &device);
    tw_bench_row_step(&row, &step);
    tw_bench_row_times(&row, &samples, &device);
    tw_samples_free(&samples);
    cJSON *json = tw_bench_row_json(&row);
    tw_row_number(json, "predicted_ms", 1e3 * step.predicted);
    tw_row_number(json, "tuned_ms", 1e3 * step.measured);
    cJSON_AddItemToArray(rows, json);
    return TW_OK;
}

static void add_shares(cJSON *rows)
{
    double sum = 0;
    cJSON *row;
    cJSON_ArrayForEach(row, rows) sum += cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(row, "median_ms"));
    cJSON_ArrayForEach(row, rows)
    {
        const double ms = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(row, "median_ms"));
        tw_row_number(row, "share_pct", sum > 0 ? 100 * ms / sum : 0);
    }
}

tw_status cli_layer_rows(const tw_network *network, const tw_profile *profile, const tw_row_key *key, cJSON **rows,
                         tw_error *error)
{
    tw_bench_row row;
    tw_bench_row_init(&row);
    row.key = *key;
    *rows = cJSON_CreateArray();
    tw_status status = TW_OK;
    for (size_t i = 0; i < profile->steps && status == TW_OK; i++) status = add_row(network, profile, i, row, *rows);
    if (status == TW_OK) {
        add_shares(*rows);
        return TW_OK;
    }
    cJSON_Delete(*rows);
    *rows = NULL;
    *error = (tw_error){status, "out of memory: rows of a profile"};
    return status;
}
