/* Before and after the fix: -DFIXED is the only difference between the two builds. Each function returns OFFSET + its number. */
#include "slow.h"

#include <stdlib.h>
#include <string.h>

/* -DFIX=2: a second fix. */
#ifndef FIX
#define FIX 1
#endif
#ifdef FIXED
#define OFFSET (1000 * FIX)
#else
#define OFFSET 0
#endif

int slow(long ms) {
  pause_ms(ms);
  return OFFSET + 1;
}

static long sort_ms;
static int compare(const void *a, const void *b) {
  pause_ms(sort_ms);
  sort_ms = 0;
  return *(const int *)a - *(const int *)b;
}

/* Is below the C library's frames while it sorts. */
int sorts(long ms) {
  int numbers[] = {3, 1, 2};
  sort_ms = ms;
  qsort(numbers, 3, sizeof *numbers, compare);
  return OFFSET + 1 + numbers[0];
}

/* Its frame is found through a register. */
int allocates(long ms) {
  char *room = __builtin_alloca((size_t)(ms & 63) + 16);
  memset(room, 1, 16);
  pause_ms(ms);
  return OFFSET + 2 + room[3];
}

#ifdef __aarch64__
/* The first instruction is where a redirect goes, and a thread that has trapped stays before its instruction. */
#define ILLEGAL "nop; udf #0"
#else
#define ILLEGAL "ud2"
#endif

/* Is below what the system makes for an exception, whose handler takes its time. */
int faults(long ms) {
  (void)ms;
  __asm__ volatile(ILLEGAL ::: "memory");
  return OFFSET + 4;
}
