#include "api.h"
#include <assert.h>

static int calls;

int count(void) {
  assert(calls >= 0);
  return ++calls;
}
