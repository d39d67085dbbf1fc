#include "audit.h"
#include "platform.h"

#include <stdio.h>

static lock guard = LOCK_INITIAL;
static unsigned long refusals;
static char last[128] = "none";

void audit_refusal(const char *what, size_t claimed, size_t present)
{
    lock_take(&guard);
    refusals++;
    snprintf(last, sizeof last, "%s: %lu claimed, %lu present", what, (unsigned long)claimed, (unsigned long)present);
    lock_give(&guard);
}

unsigned long audit_refusals(void)
{
    lock_take(&guard);
    unsigned long count = refusals;
    lock_give(&guard);
    return count;
}

int audit_last(char *into, size_t capacity)
{
    lock_take(&guard);
    int length = snprintf(into, capacity, "%s", last);
    lock_give(&guard);
    return length;
}
