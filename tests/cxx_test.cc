/* The public header, compiled as C++: a graph of one fully connected layer, run from two threads that share its plan. */
#include "tilewise.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

extern "C" {
#include "test.h"
}

namespace
{

tw_shape shape_of(int64_t rows, int64_t columns)
{
    tw_shape shape = {};
    shape.rank = 2;
    shape.dims[0] = rows;
    shape.dims[1] = columns;
    return shape;
}

/* Two linear features of three numbers, then relu. */
tw_graph *build(tw_error *error)
{
    tw_graph *graph = nullptr;
    if (tw_graph_create("tiny", &graph, error) != TW_OK) return nullptr;
    tw_shape shape = shape_of(1, 3);
    tw_linear_desc desc = {};
    desc.name = "fc";
    desc.out_features = 2;
    desc.bias = true;
    tw_value y = tw_graph_linear(graph, tw_graph_input(graph, "x", &shape), &desc);
    tw_graph_output(graph, tw_graph_relu(graph, y, "relu"));
    return graph;
}

/* Runs the plan on (1, 2, 3); empty on failure. */
std::vector<float> execute(tw_plan *plan)
{
    std::vector<float> x = {1, 2, 3}, y(2, -1.0f);
    tw_tensor in = {TW_F32, shape_of(1, 3), x.data()}, out = {TW_F32, shape_of(1, 2), y.data()};
    tw_run *run = nullptr;
    tw_error error;
    bool done = tw_run_create(plan, &run, &error) == TW_OK && tw_run_execute(run, &in, &out, &error) == TW_OK;
    tw_run_release(run);
    return done ? y : std::vector<float>();
}

void runs_a_graph()
{
    tw_error error = {};
    tw_graph *graph = build(&error);
    CHECK_MSG(graph, "%s", error.message);
    tw_init_desc init = {};
    init.seed = 7;
    CHECK_MSG(tw_graph_init(graph, &init, &error) == TW_OK, "%s", error.message);

    tw_device *device = nullptr;
    CHECK_MSG(tw_device_open("cpu", nullptr, &device, &error) == TW_OK, "%s", error.message);
    tw_plan *plan = nullptr;
    CHECK_MSG(tw_plan_create(graph, device, nullptr, &plan, &error) == TW_OK, "%s", error.message);

    std::vector<float> first, second;
    std::thread other([&] { second = execute(plan); });
    first = execute(plan);
    other.join();

    tw_tensor weight = {}, bias = {};
    CHECK_STR(tw_graph_parameter(graph, 0, &weight), "fc.weight");
    CHECK_STR(tw_graph_parameter(graph, 1, &bias), "fc.bias");
    CHECK(first.size() == 2 && second == first);
    for (int o = 0; o < 2; o++) {
        const float *w = static_cast<const float *>(weight.data) + 3 * o;
        float expected = std::fmax(0.0f, w[0] + 2 * w[1] + 3 * w[2] + static_cast<const float *>(bias.data)[o]);
        CHECK_MSG(std::fabs(first[o] - expected) <= 1e-5f, "y[%d] is %g, expected %g", o, first[o], expected);
    }
    tw_plan_release(plan);
    tw_device_release(device);
    tw_graph_release(graph);
}

void reports_errors()
{
    tw_error error = {};
    tw_device *device = nullptr;
    CHECK(tw_device_open("abacus", nullptr, &device, &error) == TW_INVALID);
    CHECK(device == nullptr && error.status == TW_INVALID);
    CHECK_CONTAINS(error.message, "abacus");
    CHECK_STR(tw_version(), TW_VERSION);
}

const test_case cases[] = {
    {"C++ runs a graph", runs_a_graph},
    {"C++ reports errors", reports_errors},
};

} // namespace

int main(int argc, char **argv)
{
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
