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

/* -DTHREADS: the fixes have a thread-local variable of their own, native and not the compiler's emulation. */
#if defined FIXED && defined THREADS
#ifdef __aarch64__
#define THIS_THREAD(into) __asm__("mov %0, x18" : "=r"(into))
#else
#define THIS_THREAD(into) __asm__("mov %%gs:0x30, %0" : "=r"(into))
#endif

static _Thread_local struct { long calls; int fix; const void *thread; } own = {100, FIX, 0};

/* 0 if it is this thread's, began as it should, and keeps its value in the second fix. */
__attribute__((noinline)) static int astray(void) {
  const void *thread;
  THIS_THREAD(thread);
  if (own.calls == 100) own.thread = thread;
  own.calls += 1;
  return own.thread == thread && own.calls > 100 && own.fix == 1 ? 0 : 9000;
}
#else
#define astray() 0
#endif

int slow(long ms) {
  pause_ms(ms);
  return OFFSET + 1 + astray();
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
