#include "bench/verify.h"
#include "core/status.h"

#include <math.h>
#include <string.h>

typedef struct problem_set {
    const char *op;
    const char *problems[24];
} problem_set;

static const problem_set sets[] = {
    {"conv2d",
     {"mb1ic3ih32oc16kh3ph1", "mb1ic64ih28oc64kh3ph1bias1act1", "mb1ic64ih14oc32kh3ph1bias1res1act1",
      "mb2ic17ih13iw19oc23kh3ph1", "mb1ic3ih35oc20kh7sh2ph3bias1", "mb1ic3ih67oc64kh11sh4ph2bias1act1",
      "mb1ic1ih1oc1kh1", "mb1ic96ih7oc24kh1bias1", "mb3ic31ih5oc7kh1act2", "mb1ic16ih2oc16kh5ph2",
      "mb1g32ic32ih14oc32kh3ph1bias1act2", "mb1g33ic33ih15oc33kh3sh2ph1", "mb1g24ic24ih9oc24kh5ph2",
      "mb1g16ic16ih12oc16oh6kh3sh2ph0", "mb1g4ic32ih11oc16kh3ph1", "mb1g3ic9ih8oc12kh1", "mb1ic8ih17oc12kh3ph2dh1",
      "mb1ic5ih9iw14oc6kh1kw5ph0pw2", "mb2ic128ih9oc70kh3ph1bias1"}},
    {"linear",
     {"mb1ic400oc120", "mb1ic1oc1", "mb128ic97oc101", "mb1ic2048oc1000", "mb7ic1000oc3act1", "mb16ic512oc256bias0",
      "mb2ic17oc33act2"}},
    {"pool",
     {"mb1ic64ih57kh3sh2", "mb1ic64ih56kh3sh2ph1", "mb2ic17ih13iw9kh2sh2", "mb1ic5ih1kh1", "mb1ic16ih14kh3sh2ceil1",
      "mb1ic19ih10kh3sh1ph1alg1", "mb1ic16ih9kh3sh2ph1alg2", "mb1ic1280ih7oh1alg3", "mb1ic7ih13iw11oh6ow6alg3",
      "mb1ic8ih15kh3sh1dh1"}},
    {"relu", {"1x64x56x56", "3x17x5x7", "1x1x1x1", "7x1000"}},
    {"clip", {"1x32x28x28", "2x19x3x11:-1:0.5", "5x33"}},
    {"add", {"1x64x28x28:relu", "2x17x7x5", "1x1x1x1:relu6", "3x100:relu"}},
    {"concat", {"1x64x14x14+64", "2x17x5x3+3+9", "1x1x1x1+1+1+1"}},
    {"softmax", {"1x1000", "7x10", "3x1", "2x21x4x5"}},
    {"batchnorm", {"1x64x28x28", "2x17x5x7:0.001", "4x33"}},
    {"lrn", {"1x96x13x13:5:0.0001:0.75:2", "2x7x3x5:3", "1x1x4x4:5"}},
    {"reorder", {"1x64x14x14", "2x17x5x7", "3x33"}},
};

const char *const *tw_verify_problems(const char *op, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (strcmp(sets[i].op, op) != 0) continue;
        while (*count < sizeof sets[i].problems / sizeof *sets[i].problems && sets[i].problems[*count]) ++*count;
        return sets[i].problems;
    }
    return NULL;
}

static double error_between(double value, double wanted)
{
    if (!isfinite(wanted)) return INFINITY; /* nothing can be said of a network that leaves its numbers */
    if (value == wanted) return 0;
    double error = fabs(value - wanted);
    return isnan(error) ? INFINITY : error;
}

tw_difference tw_compare(const float *values, const float *reference, size_t count)
{
    double worst = 0, sum = 0, scale = 0;
    for (size_t i = 0; i < count; i++) {
        double error = error_between(values[i], reference[i]);
        if (error > worst) worst = error;
        if (isfinite(reference[i]) && fabs((double)reference[i]) > scale) scale = fabs((double)reference[i]);
        sum += error;
    }
    return (tw_difference){worst, count ? sum / (double)count : 0, worst == 0 ? 0 : worst / scale};
}

tw_status tw_verify_step(const tw_network *network, const tw_network *reference, size_t step, tw_difference *difference,
                         tw_error *error)
{
    tw_step_info info;
    tw_tensor value = {0}, wanted = {0};
    size_t count;
    tw_plan_step(network->plan, step, &info);
    tw_status status = tw_run_value(network->run, info.output, &value, error);
    if (status == TW_OK) status = tw_run_value(reference->run, info.output, &wanted, error);
    if (status == TW_OK) status = tw_shape_count(&wanted.shape, TW_F32, &count, error);
    if (status == TW_OK) *difference = tw_compare(value.data, wanted.data, count);
    tw_tensor_free(&value);
    tw_tensor_free(&wanted);
    return status;
}
