/* One connection: receives frames, has each answered by its operation, sends the replies. */
#include "connection.h"
#include "audit.h"
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INBOX_CAPACITY = 2 * REQUEST_CAPACITY };

/* All that a connection owns lies in one block of memory, as in an allocator that reuses what was freed. */
struct connection {
    uint8_t inbox[INBOX_CAPACITY];
    char credentials[256];
    size_t received;
    socket_handle client;
    struct reply reply;
    uint8_t outbox[FRAME_LENGTH + FRAME_HEADER + REPLY_CAPACITY];
};

static _Atomic unsigned long connections;

static int send_reply(struct connection *self, uint32_t id)
{
    struct reply *reply = &self->reply;
    put_u16(self->outbox, (uint16_t)(FRAME_HEADER + reply->length));
    self->outbox[FRAME_LENGTH] = (uint8_t)reply->status;
    put_u32(self->outbox + FRAME_LENGTH + 1, id);
    memcpy(self->outbox + FRAME_LENGTH + FRAME_HEADER, reply->body, reply->length);
    return socket_send(self->client, self->outbox, FRAME_LENGTH + FRAME_HEADER + reply->length);
}

static int answer(struct connection *self, const uint8_t *frame, size_t length)
{
    const struct request request = { .body = frame + FRAME_HEADER, .length = length - FRAME_HEADER };
    const struct operation *operation = operation_of(frame[0]);
    self->reply.status = STATUS_OK;
    self->reply.length = 0;
    if (operation == NULL) {
        audit_refusal("operation", frame[0], 0);
        self->reply.status = STATUS_UNKNOWN;
    } else {
        operation->answer(&request, &self->reply);
    }
    return send_reply(self, get_u32(frame + 1));
}

/* Answers every whole frame of the inbox and moves the rest to its start. 0 when the connection must end. */
static int answer_received(struct connection *self)
{
    size_t at = 0;
    while (self->received - at >= FRAME_LENGTH) {
        size_t length = get_u16(self->inbox + at);
        if (length < FRAME_HEADER || length > REQUEST_CAPACITY)
            return 0;
        if (self->received - at < FRAME_LENGTH + length)
            break;
        if (!answer(self, self->inbox + at + FRAME_LENGTH, length))
            return 0;
        at += FRAME_LENGTH + length;
    }
    self->received -= at;
    memmove(self->inbox, self->inbox + at, self->received);
    return 1;
}

static void serve(void *argument)
{
    struct connection *self = argument;
    for (;;) {
        long received = socket_receive(self->client, self->inbox + self->received, INBOX_CAPACITY - self->received);
        if (received <= 0)
            break;
        self->received += (size_t)received;
        if (!answer_received(self))
            break;
    }
    socket_end(self->client);
    free(self);
}

void connection_start(socket_handle client)
{
    struct connection *self = calloc(1, sizeof *self);
    if (self != NULL) {
        self->client = client;
        snprintf(self->credentials, sizeof self->credentials, "session %lu; private key: correct-horse-battery-staple", ++connections);
        if (thread_start(serve, self))
            return;
        free(self);
    }
    socket_end(client);
}
