#include <stddef.h>

/* Writes a line about the calling thread. */
int counter_next(int thread, char *into, size_t capacity);
