/* What each thread counts, in every kind of thread-local variable: another object's, this file's, one with a value, one of a function. */
#include "counter.h"

#include <stdio.h>

extern __thread unsigned long counter_shared;
__thread long counter_visible = 1000;
static __thread char filling[24] = "filling";
static __thread unsigned long own;

int counter_next(int thread, char *into, size_t capacity)
{
    static __thread unsigned long within = 7000;

    counter_shared += 1;
    counter_visible += 1;
    own += 1;
    within += 1;
    filling[8] = (char)thread;
    return snprintf(into, capacity, "old %d %lu %ld %lu %lu %d %ld %ld %s", thread, counter_shared, counter_visible, own, within,
                    filling[8], 0L, 0L, filling);
}
