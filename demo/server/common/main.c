/* A small server with two memory disclosures: see before/ and after/. usage: server [PORT] */
#include "connection.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    uint16_t port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
    socket_handle listening = socket_listen(&port);
    printf("listening on 127.0.0.1:%u\n", port);
    fflush(stdout);
    for (;;)
        connection_start(socket_accept(listening));
}
