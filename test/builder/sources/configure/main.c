#include "config.h"
#include <stdio.h>

int check(int value);

int main(void) {
  printf("%d %d\n", check(7), HAVE_STRANGE);
  return 0;
}
