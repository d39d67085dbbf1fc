/* What differs between Linux and Windows: threads, locks, sockets. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#include <winsock2.h>
typedef SOCKET socket_handle;
typedef SRWLOCK lock;
#define LOCK_INITIAL SRWLOCK_INIT
#else
#include <pthread.h>
typedef int socket_handle;
typedef pthread_mutex_t lock;
#define LOCK_INITIAL PTHREAD_MUTEX_INITIALIZER
#endif

void lock_take(lock *taken);
void lock_give(lock *given);

/* Runs `run(argument)` in a new thread that nobody waits for. 0 when there can be none. */
int thread_start(void (*run)(void *argument), void *argument);

/* A socket that listens on 127.0.0.1; `*port` 0 asks for a free one and is set to it. Ends the program on failure. */
socket_handle socket_listen(uint16_t *port);
/* The next connection, with Nagle's algorithm off. Ends the program when there is none any more. */
socket_handle socket_accept(socket_handle listening);
/* Bytes received; 0 or less at the end of the connection. */
long socket_receive(socket_handle from, void *into, size_t capacity);
/* 1 when all was sent. */
int socket_send(socket_handle to, const void *bytes, size_t length);
void socket_end(socket_handle ended);

#endif
