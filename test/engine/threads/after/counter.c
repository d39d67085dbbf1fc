/* What each thread counts, in every kind of thread-local variable: another object's, this file's, one with a value, one of a function. */
#include "counter.h"

#include <stdio.h>

extern __thread unsigned long counter_shared;
__thread long counter_visible = 1000;
static __thread char filling[24] = "filling";
static __thread unsigned long own;

#ifdef FRESH
/* In a library and in PE, offsets in one block of variables that were there and of new ones do not go together. */
#if defined LIBRARY || defined _WIN32
#define APART __attribute__((noinline))
#else
#define APART
#endif
/* What the fix brings: one with a value, one of this file alone. */
__thread long counter_fresh = 500;
static __thread struct { long calls; char name[16]; } late = { 0, "late" };

APART static long fresh(void)
{
    late.calls += 1;
    counter_fresh += 1;
    return late.name[0] == 'l' && late.calls == counter_fresh - 500 ? counter_fresh : -1;
}

#ifdef LATER
__thread long counter_later = 900;

APART static long later(void)
{
    counter_later += 1;
    return counter_later;
}
#endif
#else
static long fresh(void)
{
    return 0;
}
#endif

#ifdef LATER
#define VERSION "later"
#else
#define VERSION "new"
#endif

#if !defined FRESH || !defined LATER
static long later(void)
{
    return 0;
}
#endif

int counter_next(int thread, char *into, size_t capacity)
{
    static __thread unsigned long within = 7000;

    counter_shared += 1;
    counter_visible += 1;
    own += 1;
    within += 1;
    filling[8] = (char)thread;
    return snprintf(into, capacity, VERSION " %d %lu %ld %lu %lu %d %ld %ld %s", thread, counter_shared, counter_visible + 100000, own, within,
                    filling[8], fresh(), later(), filling);
}
