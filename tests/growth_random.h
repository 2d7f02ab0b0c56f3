/* tests/growth_random.h: the random source of a test program of growth laws, and GSL told not to stop it. */
#ifndef TESTS_GROWTH_RANDOM_H
#define TESTS_GROWTH_RANDOM_H

#include <gsl/gsl_errno.h>
#include <gsl/gsl_rng.h>

static gsl_rng *rng;

static inline int growth_random_open(void **state)
{
    (void)state;
    gsl_set_error_handler_off();
    rng = gsl_rng_alloc(gsl_rng_mt19937);
    return rng ? 0 : -1;
}

static inline int growth_random_close(void **state)
{
    (void)state;
    gsl_rng_free(rng);
    return 0;
}

#endif
