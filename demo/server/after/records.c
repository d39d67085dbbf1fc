/*
 * Record: u8 length of the name | u8 1 to ignore case | u16 offset | u16 length | name. The reply is that part of the record's value.
 */
#include "audit.h"
#include "protocol.h"

#include <string.h>

enum { RECORD_HEADER = 1 + 1 + 2 + 2 };

/* The values lie one behind the other, as in a file that was mapped. Only the named ones are for clients. */
static char values[4096] =
    "Welcome. This server answers heartbeats, records and digests.\n"
    "Be conservative in what you do, be liberal in what you accept from others.\n"
    "administrator password: tr0ub4dor-and-3\n";

static const struct record {
    const char *name;
    size_t offset, length;
} records[] = {
    { "greeting", 0, 62 },
    { "robustness", 62, 75 },
};

static _Atomic unsigned long served;

static int equal_exactly(const char *a, const uint8_t *b, size_t length)
{
    return memcmp(a, b, length) == 0;
}

static int equal_ignoring_case(const char *a, const uint8_t *b, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((a[i] | 0x20) != (b[i] | 0x20))
            return 0;
    return 1;
}

static const struct record *find(const uint8_t *name, size_t length, int (*equal)(const char *, const uint8_t *, size_t))
{
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        if (strlen(records[i].name) == length && equal(records[i].name, name, length))
            return &records[i];
    return NULL;
}

static void answer(const struct request *request, struct reply *reply)
{
    served++;
    const uint8_t *body = request->body;
    if (request->length < RECORD_HEADER || body[0] > request->length - RECORD_HEADER) {
        reply->status = STATUS_UNKNOWN;
        return;
    }
    const struct record *record = find(body + RECORD_HEADER, body[0], body[1] ? equal_ignoring_case : equal_exactly);
    if (record == NULL) {
        reply->status = STATUS_UNKNOWN;
        return;
    }
    size_t offset = get_u16(body + 2), length = get_u16(body + 4);
    if (offset > record->length || length > record->length - offset) {
        audit_refusal("record", length, offset > record->length ? 0 : record->length - offset);
        reply->status = STATUS_REFUSED;
        return;
    }
    memcpy(reply->body, values + record->offset + offset, length);
    reply->length = length;
}

static unsigned long count(void)
{
    return served;
}

const struct operation record_operation = { "record", answer, count };
