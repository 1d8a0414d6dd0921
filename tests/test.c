#include "test.h"

#include <stdarg.h>
#include <unistd.h>

static struct {
    const char *name;
    bool failed, skipped;
    int passed_count, failed_count, skipped_count;
    char folder[64];
} state;

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("FAIL %s: %s:%d: ", state.name, file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    state.failed = true;
}

void test_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("SKIP %s: ", state.name);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    state.skipped = true;
}

void test_begin(const char *name)
{
    state.name = name;
    state.failed = state.skipped = false;
}

bool test_failed(void)
{
    return state.failed;
}

void test_count(test_outcome outcome)
{
    if (outcome == TEST_FAILED)
        state.failed_count++;
    else if (outcome == TEST_SKIPPED)
        state.skipped_count++;
    else
        state.passed_count++;
    fflush(stdout);
}

void test_end(void)
{
    test_count(state.failed ? TEST_FAILED : state.skipped ? TEST_SKIPPED : TEST_PASSED);
}

int test_finish(void)
{
    printf("%d passed, %d failed, %d skipped\n", state.passed_count, state.failed_count, state.skipped_count);
    return state.failed_count > 0;
}

int test_main(int argc, char **argv, const test_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && !strstr(cases[i].name, argv[1])) continue;
        test_begin(cases[i].name);
        cases[i].run();
        test_end();
    }
    return test_finish();
}

static void remove_folder(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", state.folder);
    if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", state.folder);
}

const char *test_folder(void)
{
    if (!state.folder[0]) {
        strcpy(state.folder, "/tmp/tilewise-test-XXXXXX");
        if (!mkdtemp(state.folder)) {
            perror("mkdtemp");
            exit(1);
        }
        atexit(remove_folder);
    }
    return state.folder;
}
