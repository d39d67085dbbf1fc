/* Digest: u8 kind | bytes. The reply is the u32 digest of the bytes. */
#include "protocol.h"

static _Atomic unsigned long served;

static uint32_t fnv1a(const uint8_t *bytes, size_t length)
{
    uint32_t hash = 0x811c9dc5;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x01000193;
    return hash;
}

static uint32_t adler32(const uint8_t *bytes, size_t length)
{
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < length; i++) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

static uint32_t (*const digests[])(const uint8_t *, size_t) = { fnv1a, adler32 };

static void answer(const struct request *request, struct reply *reply)
{
    served++;
    if (request->length < 1 || request->body[0] >= sizeof digests / sizeof *digests) {
        reply->status = STATUS_UNKNOWN;
        return;
    }
    put_u32(reply->body, digests[request->body[0]](request->body + 1, request->length - 1));
    reply->length = 4;
}

static unsigned long count(void)
{
    return served;
}

const struct operation digest_operation = { "digest", answer, count };
