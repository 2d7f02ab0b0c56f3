/* experiments/waiting.h: how long the threads wait awake for one another.
 *
 * A step is some hundred short parallel regions.  Threads that sleep between them at once cost a wake-up of about 30 us each: three
 * times the time of a small step.  GNU OpenMP's default, to wait awake for milliseconds, costs nothing where every thread has a
 * processor to itself; where programs share them, a thread then burns the time that the one it waits for needs: seen 5 to 20 times
 * slower.  Some ten microseconds serve both.                                                                        */
#ifndef EXPERIMENTS_WAITING_H
#define EXPERIMENTS_WAITING_H

/* Sets GOMP_SPINCOUNT, unless the user has set it or OMP_WAIT_POLICY, and starts the program anew in the same process, because
 * the library reads it before main.  Returns where nothing is to be done, or cannot be: only speed depends on it. */
void waiting_set(char **argv);

#endif
