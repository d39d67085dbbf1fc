/*
 * The protocol, in network byte order:
 *
 *   request   u16 length of what follows | u8 operation | u32 id | body
 *   reply     u16 length of what follows | u8 status    | u32 id | body
 *
 * Requests may be pipelined; replies come in the order of the requests. The bodies are described in the operations' files.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

enum { FRAME_LENGTH = 2, FRAME_HEADER = 1 + 4, REQUEST_CAPACITY = 1024, REPLY_CAPACITY = 16384 };

enum status { STATUS_OK, STATUS_REFUSED, STATUS_UNKNOWN };

struct request {
    const uint8_t *body;
    size_t length;
};

struct reply {
    enum status status;
    size_t length;
    uint8_t body[REPLY_CAPACITY];
};

/* One kind of request. `served` counts for the status operation. */
struct operation {
    const char *name;
    void (*answer)(const struct request *request, struct reply *reply);
    unsigned long (*served)(void);
};

extern const struct operation heartbeat_operation, record_operation, digest_operation, status_operation;

/* The operation with this code, or NULL. */
const struct operation *operation_of(uint8_t code);

static inline uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

static inline void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, (uint16_t)(value >> 16));
    put_u16(at + 2, (uint16_t)value);
}

#endif
