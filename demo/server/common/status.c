/* Status: no body. The reply is a line of text: what was served so far, and what was refused. */
#include "audit.h"
#include "protocol.h"

#include <stdio.h>

static _Atomic unsigned long served;

static const struct operation *const counted[] = { &heartbeat_operation, &record_operation, &digest_operation, &status_operation };

static void answer(const struct request *request, struct reply *reply)
{
    char *text = (char *)reply->body;
    size_t length = 0;
    (void)request;
    served++;
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
        length += (size_t)snprintf(text + length, REPLY_CAPACITY - length, "%s %lu; ", counted[i]->name, counted[i]->served());
    length += (size_t)snprintf(text + length, REPLY_CAPACITY - length, "refused %lu; last refusal ", audit_refusals());
    length += (size_t)audit_last(text + length, REPLY_CAPACITY - length);
    reply->length = length;
}

static unsigned long count(void)
{
    return served;
}

const struct operation status_operation = { "status", answer, count };
