/* Executing a run allocates nothing, and creating one allocates what the plan says. malloc and its kin are interposed,
 * so this program is of no use under a sanitizer, which interposes them too. */
#include "test.h"
#include "tilewise.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED

int main(void)
{
    test_begin("allocations");
    test_skip("the sanitizer has the allocator");
    test_end();
    return test_finish();
}

#else

void *__libc_malloc(size_t size); /* glibc's own names for what is interposed here */
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static volatile size_t calls, bytes;

static void count(size_t size)
{
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&bytes, size, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
    count(size);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count(n * size);
    return __libc_calloc(n, size);
}

void *realloc(void *memory, size_t size)
{
    count(size);
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size)
{
    count(size);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    void *fresh = memalign(alignment, size);
    if (!fresh) return ENOMEM;
    *memory = fresh;
    return 0;
}

static void check_network(const char *name, int image_size)
{
    tw_error error;
    tw_graph *graph;
    tw_device *device;
    tw_plan *plan;
    tw_run *run;
    tw_shape shape;
    tw_tensor in, out;
    tw_plan_info info;
    CHECK_MSG(tw_zoo_create(name, &(tw_zoo_desc){.image_size = image_size}, &graph, &error) == TW_OK, "%s",
              error.message);
    CHECK(tw_graph_init(graph, &(tw_init_desc){.seed = 3}, &error) == TW_OK);
    CHECK(tw_device_open("cpu", &(tw_device_desc){.threads = 2}, &device, &error) == TW_OK);
    CHECK_MSG(tw_plan_create(graph, device, NULL, &plan, &error) == TW_OK, "%s", error.message);
    tw_plan_describe(plan, &info);

    size_t before = bytes;
    CHECK(tw_run_create(plan, &run, &error) == TW_OK);
    size_t taken = bytes - before;
    CHECK_MSG(taken >= info.arena_bytes && taken <= info.arena_bytes + (256u << 10),
              "a run took %zu bytes, planned %zu", taken, info.arena_bytes);

    CHECK(tw_plan_input_shape(plan, 0, &shape, &error) == TW_OK);
    CHECK(tw_tensor_create(TW_F32, &shape, &in, &error) == TW_OK);
    CHECK(tw_plan_output_shape(plan, 0, &shape, &error) == TW_OK);
    CHECK(tw_tensor_create(TW_F32, &shape, &out, &error) == TW_OK);
    before = calls;
    for (int i = 0; i < 3; i++) CHECK(tw_run_execute(run, &in, &out, &error) == TW_OK);
    CHECK_MSG(calls == before, "%zu allocations in three runs", calls - before);

    tw_tensor_free(&in);
    tw_tensor_free(&out);
    tw_run_release(run);
    tw_plan_release(plan);
    tw_graph_release(graph);
    tw_device_release(device);
}

static void lenet5(void)
{
    check_network("lenet5", 0);
}
static void resnet18(void)
{
    check_network("resnet18", 96);
}
static void mobilenet_v2(void)
{
    check_network("mobilenet_v2", 96);
}
static void squeezenet(void)
{
    check_network("squeezenet", 96);
}
static void vgg11(void)
{
    check_network("vgg11", 64);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {{"lenet5", lenet5},
                                      {"resnet18", resnet18},
                                      {"mobilenet_v2", mobilenet_v2},
                                      {"squeezenet", squeezenet},
                                      {"vgg11", vgg11}};
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}

#endif
