/* Before and after the fix: -DFIXED is the only difference between the two builds. Each function returns OFFSET + its number. */
#include "slow.h"

#include <stdlib.h>
#include <string.h>

#ifdef FIXED
#define OFFSET 1000
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

/* Is below what the system makes for an exception, whose handler takes its time. `ud2` is two bytes. */
int faults(long ms) {
  (void)ms;
  __asm__ volatile("ud2" ::: "memory");
  return OFFSET + 4;
}
