#include "platform.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct start {
    void (*run)(void *);
    void *argument;
};

static void *run_thread(void *given)
{
    struct start start = *(struct start *)given;
    free(given);
    start.run(start.argument);
    return NULL;
}

int thread_start(void (*run)(void *), void *argument)
{
    struct start *start = malloc(sizeof *start);
    if (start == NULL)
        return 0;
    *start = (struct start){ run, argument };
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_thread, start) != 0) {
        free(start);
        return 0;
    }
    pthread_detach(thread);
    return 1;
}

void lock_take(lock *taken)
{
    pthread_mutex_lock(taken);
}

void lock_give(lock *given)
{
    pthread_mutex_unlock(given);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

socket_handle socket_listen(uint16_t *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    signal(SIGPIPE, SIG_IGN);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (listening < 0)
        fail("socket");
    if (bind(listening, (struct sockaddr *)&address, size) != 0 || listen(listening, 128) != 0)
        fail("listen");
    getsockname(listening, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return listening;
}

socket_handle socket_accept(socket_handle listening)
{
    int accepted = accept(listening, NULL, NULL);
    if (accepted < 0)
        fail("accept");
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return accepted;
}

long socket_receive(socket_handle from, void *into, size_t capacity)
{
    return recv(from, into, capacity, 0);
}

int socket_send(socket_handle to, const void *bytes, size_t length)
{
    for (const char *at = bytes; length > 0;) {
        ssize_t sent = send(to, at, length, 0);
        if (sent <= 0)
            return 0;
        at += sent;
        length -= (size_t)sent;
    }
    return 1;
}

void socket_end(socket_handle ended)
{
    close(ended);
}
