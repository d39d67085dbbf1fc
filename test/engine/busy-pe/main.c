/* Workers that are inside functions of slow.c most of the time. usage: main FILE THREADS
 * Writes {"control":"0x…"} to FILE; `control` is steered from outside. */
#include "slow.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#undef FIXED /* the system has a type of that name */
#include <windows.h>

/* Field for field as FIELDS of busy-pe.test.ts. `staying`: how many are in a pause that nobody waits the end of. `again`: results of the second fix. */
static struct {
  volatile LONG64 function, in_ms, out_ms, running, staying, old, fixed, bad, again;
} control = {.in_ms = 1, .out_ms = 1};

static int (*const functions[])(long) = {slow, sorts, allocates, faults};

#define MINUTE 60000
__attribute__((noinline)) void pause_ms(long ms) {
  if (ms >= MINUTE) InterlockedIncrement64(&control.staying);
  if (ms > 0) Sleep((DWORD)ms);
  if (ms >= MINUTE) InterlockedDecrement64(&control.staying);
}

/* Behind the instruction of `faults`. */
#ifdef __aarch64__
#define GO_ON(context) ((context)->Pc += 4)
#else
#define GO_ON(context) ((context)->Rip += 2)
#endif

static LONG WINAPI on_exception(EXCEPTION_POINTERS *pointers) {
  if (pointers->ExceptionRecord->ExceptionCode != EXCEPTION_ILLEGAL_INSTRUCTION) return EXCEPTION_CONTINUE_SEARCH;
  pause_ms((long)control.in_ms);
  GO_ON(pointers->ContextRecord);
  return EXCEPTION_CONTINUE_EXECUTION;
}

static volatile LONG64 *counterOf(int offset) {
  switch (offset) {
    case 0: return &control.old;
    case 1000: return &control.fixed;
    case 2000: return &control.again;
    default: return &control.bad;
  }
}

static DWORD WINAPI work(void *unused) {
  (void)unused;
  InterlockedIncrement64(&control.running);
  for (;;) {
    /* `function` is set first: who is to stay stays in that one. */
    long in_ms = (long)control.in_ms;
    LONG64 function = control.function;
    int result = functions[function](in_ms);
    InterlockedIncrement64(counterOf(result - (int)function - 1));
    if (control.out_ms > 0) Sleep((DWORD)control.out_ms);
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  AddVectoredExceptionHandler(1, on_exception);
  for (int i = 0; i < atoi(argv[2]); i++) CreateThread(0, 0, work, 0, 0, 0);
  FILE *out = fopen(argv[1], "w");
  if (!out) return 1;
  fprintf(out, "{\"control\":\"0x%llx\"}\n", (unsigned long long)(uintptr_t)&control);
  fclose(out);
  for (;;) Sleep(1000);
}
