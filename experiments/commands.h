/* experiments/commands.h: what the program can be asked to do.  Each prints its own errors and returns the exit status. */
#ifndef EXPERIMENTS_COMMANDS_H
#define EXPERIMENTS_COMMANDS_H

#include "core/config.h"

int command_plan(int argc, char **argv);
int command_run(int argc, char **argv);
int command_report(int argc, char **argv); /* main.c: it alone may call the analysis */
int command_info(int argc, char **argv);
int command_fetch(int argc, char **argv);

#endif
