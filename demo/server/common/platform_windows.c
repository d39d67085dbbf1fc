#include "platform.h"

#include <process.h>
#include <stdio.h>
#include <stdlib.h>

struct start {
    void (*run)(void *);
    void *argument;
};

static unsigned __stdcall run_thread(void *given)
{
    struct start start = *(struct start *)given;
    free(given);
    start.run(start.argument);
    return 0;
}

int thread_start(void (*run)(void *), void *argument)
{
    struct start *start = malloc(sizeof *start);
    if (start == NULL)
        return 0;
    *start = (struct start){ run, argument };
    HANDLE thread = (HANDLE)_beginthreadex(NULL, 0, run_thread, start, 0, NULL);
    if (thread == NULL) {
        free(start);
        return 0;
    }
    CloseHandle(thread);
    return 1;
}

void lock_take(lock *taken)
{
    AcquireSRWLockExclusive(taken);
}

void lock_give(lock *given)
{
    ReleaseSRWLockExclusive(given);
}

static void fail(const char *what)
{
    fprintf(stderr, "%s: error %d\n", what, WSAGetLastError());
    exit(1);
}

socket_handle socket_listen(uint16_t *port)
{
    WSADATA ignored;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int size = sizeof address;
    if (WSAStartup(MAKEWORD(2, 2), &ignored) != 0)
        fail("WSAStartup");
    SOCKET listening = socket(AF_INET, SOCK_STREAM, 0);
    if (listening == INVALID_SOCKET)
        fail("socket");
    if (bind(listening, (struct sockaddr *)&address, size) != 0 || listen(listening, 128) != 0)
        fail("listen");
    getsockname(listening, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return listening;
}

socket_handle socket_accept(socket_handle listening)
{
    SOCKET accepted = accept(listening, NULL, NULL);
    if (accepted == INVALID_SOCKET)
        fail("accept");
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, (const char *)&(int){ 1 }, sizeof(int));
    return accepted;
}

long socket_receive(socket_handle from, void *into, size_t capacity)
{
    return recv(from, into, (int)capacity, 0);
}

int socket_send(socket_handle to, const void *bytes, size_t length)
{
    for (const char *at = bytes; length > 0;) {
        int sent = send(to, at, (int)length, 0);
        if (sent <= 0)
            return 0;
        at += sent;
        length -= (size_t)sent;
    }
    return 1;
}

void socket_end(socket_handle ended)
{
    closesocket(ended);
}
