/* Before and after the fix: -DFIXED is the only difference between the two builds. */
#include "through.h"

#ifdef FIXED
#define OFFSET 1000
#else
#define OFFSET 0
#endif

int passed_by_exception(int code) {
  Witness witness;
  throws(code);
  return OFFSET + 1;
}

int catches(int code) {
  try {
    Witness witness;
    throws(code);
  } catch (const Error &error) {
    return OFFSET + 2 + error.code - code;
  }
  return -1;
}

int rethrows(int code) {
  try {
    throws(code);
  } catch (Error &error) {
    error.code += OFFSET;
    throw;
  }
  return -1;
}

int passed_by_jump(jmp_buf &target, bool jump) {
  if (jump) jumps(target);
  return OFFSET + 4 + zero;
}

int passed_by_cancellation() {
  Witness witness;
  sleeps();
  return OFFSET + 5;
}

int interrupted(int rounds) {
  int sum = 0;
  for (int i = 0; i < rounds; i++) sum += zero + (i & 1);
  return OFFSET + 6 + sum - rounds / 2;
}
