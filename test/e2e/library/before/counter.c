#include "counter.h"

#include <stdio.h>

/* Both must go on counting through a patch. */
static unsigned long count;
unsigned long counter_sum;

__attribute__((noinline)) static unsigned long scaled(unsigned long number)
{
    counter_sum += number;
    return number * 3;
}

int counter_next(char *into, size_t capacity)
{
    count++;
    return snprintf(into, capacity, "old %lu %lu %lu", count, scaled(count), counter_sum);
}
