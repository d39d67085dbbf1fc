/* Before and after the fix: -DFIXED is the only difference between the two builds. */
#include "work.h"

#ifdef FIXED
#define OFFSET 1000
#else
#define OFFSET 0
#endif

static volatile int one = 1;
int add(int n) { return n + one + OFFSET; }
int scale(int n) { return n * 2 * one + OFFSET; }
