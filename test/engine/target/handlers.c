/* Before and after the fix: -DFIXED is the only difference between the two builds. */
#include "handlers.h"

#include <string.h>

#ifdef FIXED
#define GREETING "fixed greeting"
#define OFFSET 1000
#else
#define GREETING "old greeting"
#define OFFSET 0
#endif

/* Static, so that the patch has to find it in the base image. */
static volatile long counter;
static volatile int limit = 7;

__attribute__((noinline)) static int twice(int n) { return n * 2 + limit - 7; }
__attribute__((noinline)) static int thrice(int n) { return n * 3; }

const char *greet(void) { return GREETING; }

long bump(void) { return __atomic_add_fetch(&counter, OFFSET ? 1000000 : 1, __ATOMIC_SEQ_CST); }

long hits(void) { return counter; }

int classify(int request) {
  switch (request & 7) {
    case 0: return OFFSET + 11;
    case 1: return OFFSET + twice(request);
    case 2: return OFFSET + 13;
    case 3: return OFFSET + 17 + limit;
    case 4: return OFFSET + thrice(request);
    case 5: return OFFSET + 29;
    case 6: return OFFSET + 31;
    default: return OFFSET + 37;
  }
}

void handle(struct reply *reply, int request) {
  reply->text = greet();
  reply->code = classify(request);
  reply->length = strlen(reply->text) + (OFFSET ? 1 : 0);
  /* Both addresses are taken in both builds: with -fcf-protection that gives a function its endbr64. */
  reply->operation = (request >= 0) == (OFFSET != 0) ? thrice : twice;
}
