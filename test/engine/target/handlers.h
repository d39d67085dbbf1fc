/* What the server's workers call, and what a patch of handlers.c changes. */
#include <stdint.h>

struct reply {
  const char *text;
  int code;
  unsigned long length;
  int (*operation)(int);
};

void handle(struct reply *reply, int request);
int classify(int request);
const char *greet(void);
long bump(void);
long hits(void);
