#ifndef CONNECTION_H
#define CONNECTION_H

#include "platform.h"

/* Serves one connection in a thread of its own until the client closes it. */
void connection_start(socket_handle client);

#endif
