/* tilewise: finds the subcommand, reads its options, runs it, and sees to it that what was printed arrived. */
#include "cli.h"
#include "core/status.h"
#include "suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const cli_command cli_devices, cli_designs, cli_inspect, cli_convert, cli_classify, cli_eval, cli_run, cli_bench,
    cli_profile, cli_verify, cli_tune;

static const cli_command *const commands[] = {&cli_devices,  &cli_designs, &cli_inspect, &cli_convert,
                                              &cli_classify, &cli_eval,    &cli_run,     &cli_bench,
                                              &cli_profile,  &cli_verify,  &cli_tune};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* ---- what cli.h promises ---- */

int cli_exit_code(tw_status status)
{
    switch (status) {
    case TW_OK: return EXIT_DONE;
    case TW_INVALID: return EXIT_BAD_INPUT;
    case TW_UNAVAILABLE: return EXIT_UNAVAILABLE;
    default: return EXIT_BROKEN;
    }
}

int cli_fail(const tw_error *error)
{
    cli_note("%s", error->message);
    return cli_exit_code(error->status);
}

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("tilewise: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int cli_worse(int a, int b)
{
    static const int rank[] = {
        [EXIT_DONE] = 0, [EXIT_UNAVAILABLE] = 1, [EXIT_BAD_INPUT] = 2, [EXIT_MISMATCH] = 3, [EXIT_BROKEN] = 4};
    return rank[a] > rank[b] ? a : b;
}

/* ---- help ---- */

static void print_overview(void)
{
    puts("Run, inspect and profile convolutional networks, and compare every design of every layer.\n\n"
         "usage: tilewise COMMAND [OPTION...] [ARGUMENT...]\n");
    for (int i = 0; i < COMMANDS; i++) printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n'tilewise COMMAND --help' shows a command's options and examples; 'tilewise --version' the version.\n"
         "Exit status: 0 done; 1 a check failed; 2 bad usage or input; 3 not available or not applicable here;\n"
         "4 failure while running.");
}

static void print_zoo(void)
{
    int column = 0;
    puts("\nMODEL is a .onnx file, or one of");
    for (size_t i = 0; i < tw_zoo_count(); i++) {
        int length = (int)strlen(tw_zoo_name(i)) + 2;
        if (column && column + length > 100) column = 0;
        if (i) fputs(column ? ", " : ",\n", stdout);
        printf("%s%s", column ? "" : "  ", tw_zoo_name(i));
        column += length;
    }
    putchar('\n');
}

static void print_help(const cli_command *command)
{
    printf("%s\n\nusage: tilewise %s %s\n", command->summary, command->name, command->usage);
    if (command->text) printf("\n%s\n", command->text);
    if (command->takes_model) print_zoo();
    puts("\noptions:");
    cli_options_help(command->options, command->lists);
    printf("\nexamples:\n%s\n", command->examples);
}

/* ---- streams ---- */

/* Descriptors 0 to 2 are kept in use, so that no file that is opened later becomes the standard output; writing to
 * one that was closed fails. A reader that goes away, or a file over the limit, is an error of the write, not a signal. */
static void guard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0) break;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    errno = 0;
}

static int close_output(int code)
{
    if (!ferror(stdout) && fflush(stdout) == 0) return code;
    if (code != EXIT_BROKEN && errno != EPIPE) cli_note("standard output: %s", strerror(errno ? errno : EIO));
    return EXIT_BROKEN;
}

/* ---- the command line ---- */

static const cli_command *find_command(const char *name, tw_error *error)
{
    const char *names[COMMANDS];
    for (int i = 0; i < COMMANDS; i++) {
        names[i] = commands[i]->name;
        if (strcmp(names[i], name) == 0) return commands[i];
    }
    cli_unknown("command", name, (cli_names){names, COMMANDS}, error);
    return NULL;
}

static int run_command(const cli_command *command, int argc, char **argv)
{
    cli_options options;
    tw_error error;
    int code = EXIT_DONE;
    if (cli_options_parse(command, argc, argv, &options, &error) != TW_OK)
        code = cli_fail(&error);
    else if (options.help)
        print_help(command);
    else
        code = command->run(&options);
    cli_options_free(&options);
    return code;
}

int main(int argc, char **argv)
{
    guard_streams();
    if (argc < 2) {
        cli_note("no command: 'tilewise --help' lists them");
        return EXIT_BAD_INPUT;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_overview();
        return close_output(EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("tilewise %s\n", tw_version());
        return close_output(EXIT_DONE);
    }
    tw_error error;
    const cli_command *command = find_command(argv[1], &error);
    if (!command) return cli_fail(&error);
    return close_output(run_command(command, argc - 1, argv + 1));
}
