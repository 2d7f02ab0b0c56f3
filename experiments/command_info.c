/* experiments/command_info.c: `resa info`: what a model, a trace or a results folder holds. */
#include "experiments/commands.h"
#include "experiments/session.h"

#include "core/err.h"
#include "core/info.h"

#include <stdio.h>

int command_info(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: resa info FILE ..   (a .gguf file, a checkpoint folder, a known model, a trace, a results folder)\n");
        return EXIT_USAGE;
    }
    int status = EXIT_OK;
    for (int i = 1; i < argc; i++) {
        if (i > 1) putchar('\n');
        if (info_print(argv[i], stdout) != 0) status = complain(EXIT_FAILED);
    }
    return status;
}
