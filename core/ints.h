/* core/ints.h: the lesser and the greater of two ints. */
#ifndef CORE_INTS_H
#define CORE_INTS_H

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}

static inline int max_int(int a, int b)
{
    return a > b ? a : b;
}

#endif
