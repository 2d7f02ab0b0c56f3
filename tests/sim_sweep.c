/* Writes the traces of a sweep into FOLDER/runs, to time the report on: sim_sweep FOLDER TEXTS LANES STEPS LAYERS. */
#include "tests/sweep_traces.h"

#include "core/err.h"

#include <sys/stat.h>

int main(int argc, char **argv)
{
    char runs[4096];
    if (argc != 6) {
        fprintf(stderr, "usage: sim_sweep FOLDER TEXTS LANES STEPS LAYERS\n");
        return EXIT_USAGE;
    }
    snprintf(runs, sizeof runs, "%s/runs", argv[1]);
    mkdir(argv[1], 0777);
    mkdir(runs, 0777);
    for (int text = 0; text < atoi(argv[2]); text++) {
        if (sweep_write(argv[1], text, atoi(argv[3]), atoi(argv[4]), atoi(argv[5])) == 0) continue;
        fprintf(stderr, "sim_sweep: %s\n", fail_text());
        return EXIT_FAILED;
    }
    return EXIT_OK;
}
