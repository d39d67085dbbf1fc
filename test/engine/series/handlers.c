/* The program (VERSION 0) and three cumulative fixes of it. Each function says by itself which fix it is of. */
#include "handlers.h"

#define TEXT_(n) #n
#define TEXT(n) TEXT_(n)

static volatile long bumps;
static volatile int limit;

/* Every fix changes it. */
const char *greet(void) { return "version " TEXT(VERSION); }

/* The second fix has it as it was. */
int classify(int request) { return request + limit + (VERSION == 2 ? 0 : VERSION * 1000); }

/* From the second fix on. */
long bump(void) { return __atomic_add_fetch(&bumps, VERSION >= 2 ? 1000 : 1, __ATOMIC_SEQ_CST); }

/* The third fix alone. */
int tail(int request) { return (VERSION == 3 ? request ^ 1 : request) - limit; }

#if VERSION > 0
/* Brought by the first fix, and there ever since; from the second on it lies behind another. */
#if VERSION > 1
static volatile long spare = 7;
#endif
static volatile long ticks = 100;

long tick(void) {
#if VERSION > 1
  spare++;
#endif
  return __atomic_add_fetch(&ticks, 1, __ATOMIC_SEQ_CST);
}
#else
long tick(void) { return limit; }
#endif
