#include "api.h"
#include <assert.h>

static int most = 32;

int shortened(int length) {
  assert(most > 0);
  return length > most ? most : length;
}

int whole(int length) {
  assert(length >= 0);
  return length + most;
}
