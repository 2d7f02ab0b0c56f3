/* experiments/interrupt.h: Ctrl-C and SIGTERM ask for a stop between two steps; a second one ends the program at once. */
#ifndef EXPERIMENTS_INTERRUPT_H
#define EXPERIMENTS_INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_asked(void);

#endif
