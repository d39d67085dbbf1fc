/* What was refused. Known to the server's own files alone. */
#ifndef AUDIT_H
#define AUDIT_H

#include <stddef.h>

void audit_refusal(const char *what, size_t claimed, size_t present);
unsigned long audit_refusals(void);
/* Writes the last refusal in words; what snprintf returns. */
int audit_last(char *into, size_t capacity);

#endif
