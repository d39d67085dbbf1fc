#include "protocol.h"

/* By their codes. */
static const struct operation *const operations[] = {
    [1] = &heartbeat_operation,
    [2] = &record_operation,
    [3] = &digest_operation,
    [4] = &status_operation,
};

const struct operation *operation_of(uint8_t code)
{
    return code < sizeof operations / sizeof *operations ? operations[code] : NULL;
}
