/* Before and after the fix: -DFIXED is the only difference between the two builds. */
#include "work.h"

static volatile int one = 1;

#ifdef FIXED
int answer(int n) { return n + one + 1000; }
#else
int answer(int n) { return n + one; }
#endif
