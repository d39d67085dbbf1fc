#include "api.h"
#include <stdio.h>
#include <unistd.h>

int main(void) {
  for (int i = 0; i < 1200; i++) {
    printf("%d %d\n", shortened(40), count());
    fflush(stdout);
    usleep(50000);
  }
  return 0;
}
