/*
 * Heartbeat: u8 style | u16 length of the payload | payload. The reply is the payload in that style.
 */
#include "audit.h"
#include "protocol.h"

#include <stdio.h>
#include <string.h>

enum { HEARTBEAT_HEADER = 1 + 2 };

static _Atomic unsigned long served;

static void reverse(uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length / 2; i++) {
        uint8_t kept = bytes[i];
        bytes[i] = bytes[length - 1 - i];
        bytes[length - 1 - i] = kept;
    }
}

static void restyle(unsigned style, uint8_t *bytes, size_t length)
{
    switch (style) {
    case 1:
        reverse(bytes, length);
        break;
    case 2:
        for (size_t i = 0; i < length; i++)
            bytes[i] ^= 0xff;
        break;
    case 3:
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)(bytes[i] << 4 | bytes[i] >> 4);
        break;
    case 4:
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)(bytes[i] + i);
        break;
    case 5:
        for (size_t i = 1; i < length; i++)
            bytes[i] ^= bytes[i - 1];
        break;
    default:
        break;
    }
}

__attribute__((noinline)) static void refuse(struct reply *reply, const char *why, size_t claimed, size_t present)
{
    audit_refusal("heartbeat", claimed, present);
    reply->status = STATUS_REFUSED;
    reply->length = (size_t)snprintf((char *)reply->body, REPLY_CAPACITY, "%s: %lu claimed, %lu present", why, (unsigned long)claimed,
                                     (unsigned long)present);
}

static void answer(const struct request *request, struct reply *reply)
{
    served++;
    if (request->length < HEARTBEAT_HEADER) {
        refuse(reply, "heartbeat without its header", HEARTBEAT_HEADER, request->length);
        return;
    }
    size_t length = get_u16(request->body + 1);
    if (length > request->length - HEARTBEAT_HEADER) {
        refuse(reply, "heartbeat claims more than it brought", length, request->length - HEARTBEAT_HEADER);
        return;
    }
    memcpy(reply->body, request->body + HEARTBEAT_HEADER, length);
    reply->length = length;
    restyle(request->body[0], reply->body, length);
}

static unsigned long count(void)
{
    return served;
}

const struct operation heartbeat_operation = { "heartbeat", answer, count };
