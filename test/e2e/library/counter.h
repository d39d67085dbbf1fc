#include <stddef.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Writes a line about the next number; what snprintf returns. */
EXPORT int counter_next(char *into, size_t capacity);
