/* experiments/main.c: the command line. */
#include "experiments/commands.h"
#include "experiments/waiting.h"

#include "analysis/report.h"
#include "core/err.h"
#include "core/version.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command {
    const char *name, *arguments, *help;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
} commands[] = {
    { "plan", "CONFIG [key=value ..]", "what would run: runs, lanes, budgets, memory, time; nothing is run", command_plan },
    { "run", "[--fresh] CONFIG [key=value ..]", "run it; runs that are complete are skipped, --fresh redoes them", command_run },
    { "report", "[--bound NATS] RESULTS ..", "analyse: tables, plots, report.html; the longest interval that keeps a bound", command_report },
    { "info", "FILE ..", "what a model, a trace or a results folder holds", command_info },
    { "fetch", "MODEL | debian:TEXT | CONFIG [key=value ..]", "fetch a known model or text, or those that a config names, into the cache", command_fetch },
    { "help", "[config]", "this page; every key of a config", NULL },
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_usage(FILE *out)
{
    fprintf(out, "usage: " PROGRAM " COMMAND ..\n\n");
    for (int i = 0; i < N_COMMANDS; i++) fprintf(out, "  %-7s %-32s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    fprintf(out, "\nkey=value overrides a key of the config, as in decode.tokens=128 or lanes.resa.interval=[16,32].\n"
                 "Exit status: 0 all done; 1 something failed; 2 the command line or the config is wrong; 130 interrupted.\n");
}

/* --bound NATS: a number above 0. */
static int bound_read(const char *text, double *bound)
{
    char *end = NULL;
    *bound = text ? strtod(text, &end) : 0;
    if (text && end != text && *end == '\0' && *bound > 0 && *bound < 1e6) return 0;
    fprintf(stderr, PROGRAM ": --bound %s: a number of nats above 0 is needed\n", text ? text : "");
    return -1;
}

/* Two names of one folder would be set against each other. */
static bool is_twice(int n, char *const *folders)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            char *a = realpath(folders[k], NULL), *b = realpath(folders[i], NULL);
            const bool same = a && b && strcmp(a, b) == 0;
            free(a);
            free(b);
            if (!same) continue;
            fprintf(stderr, PROGRAM ": report: %s and %s are the same folder\n", folders[k], folders[i]);
            return true;
        }
    return false;
}

int command_report(int argc, char **argv)
{
    double bound = NAN;
    int n = 0; /* folders: argv[0 .. n - 1] */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bound") == 0) {
            if (bound_read(i + 1 < argc ? argv[i + 1] : NULL, &bound) != 0) return EXIT_USAGE;
            i++;
        } else if (argv[i][0] != '-') {
            argv[n++] = argv[i];
        } else {
            fprintf(stderr, PROGRAM ": unknown option '%s'\n", argv[i]);
            n = 0;
            break;
        }
    }
    if (n == 0) {
        fprintf(stderr, "usage: " PROGRAM " report [--bound NATS] RESULTS ..\n");
        return EXIT_USAGE;
    }
    if (is_twice(n, argv)) return EXIT_USAGE;
    struct report_told told = { 0 };
    const int rc = report_write_bound(n, argv, bound, &told);
    for (int i = 0; i < told.pages.n; i++) printf("report: %s\n", told.pages.text[i]);
    fflush(stdout);
    if (told.warnings.n) fprintf(stderr, PROGRAM ": %d warning%s\n", told.warnings.n, told.warnings.n == 1 ? "" : "s");
    for (int i = 0; i < told.warnings.n; i++) fprintf(stderr, "  %s\n", told.warnings.text[i]);
    report_told_close(&told);
    if (rc != 0) fprintf(stderr, PROGRAM ": error: %s\n", fail_text());
    return rc == 0 ? EXIT_OK : EXIT_FAILED;
}

static int command_help(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "config") == 0) return config_print_reference(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
    print_usage(stdout);
    return EXIT_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf(PROGRAM " " VERSION "\n");
        return EXIT_OK;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return command_help(argc - 1, argv + 1);
    for (int i = 0; i < N_COMMANDS; i++)
        if (commands[i].run && strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, PROGRAM ": no such command: %s; the commands are:", argv[1]);
    for (int i = 0; i < N_COMMANDS; i++) fprintf(stderr, "%s %s", i ? "," : "", commands[i].name);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    waiting_set(argv);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is then a failed write, with a message */
    const int status = dispatch(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, PROGRAM ": error: standard output cannot be written: %m\n");
    return status == EXIT_OK ? EXIT_FAILED : status;
}
