#include "config.h"
#include <assert.h>

int check(int value) {
  assert(value < 4096);
  return value & 3;
}

int other(int value) {
  assert(value > 1);
  return value * 5;
}
