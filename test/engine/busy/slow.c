/* Before and after the fix: -DFIXED is the only difference between the two builds. Each function returns OFFSET + its number. */
#include "slow.h"

#include <signal.h>
#include <stdlib.h>

#ifdef FIXED
#define OFFSET 1000
#else
#define OFFSET 0
#endif

int slow(long ms) {
  pause_ms(ms);
  return OFFSET + 1;
}

__attribute__((noinline, cold)) static void report(long ms) { pause_ms(ms); }

/* Its unlikely part becomes rare.cold. */
int rare(long ms) {
  if (__builtin_expect(ms >= 0, 0)) {
    report(ms);
    report(0);
    return OFFSET + 2;
  }
  return OFFSET + 20;
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
  return OFFSET + 2 + numbers[0];
}

static int wait(long ms) {
  pause_ms(ms);
  return 0;
}

/* Is below a frame that nothing describes. */
int unmarked(long ms) { return call_unmarked(wait, ms) + OFFSET + 4; }

/* Is below the frame that the kernel makes for a signal, whose handler runs on another stack. */
int raises(long ms) {
  raise(ms < 0 ? SIGUSR2 : SIGUSR1);
  return OFFSET + 5;
}
