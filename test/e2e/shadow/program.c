/* Four threads touch eight objects. Again and again they are held, and a line says for each object the greatest count and how many there were. */
#include "object.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
static void pause_briefly(void) { Sleep(20); }
#else
#include <pthread.h>
#include <time.h>
static void pause_briefly(void) { nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL); }
#endif

enum { OBJECTS = 8, WORKERS = 4 };

static struct object *objects[OBJECTS];
static long most[OBJECTS], counted[OBJECTS];
static int held, waiting;

static void work(void) {
    for (unsigned turn = 0;; turn++) {
        if (__atomic_load_n(&held, __ATOMIC_ACQUIRE)) {
            __atomic_add_fetch(&waiting, 1, __ATOMIC_ACQ_REL);
            while (__atomic_load_n(&held, __ATOMIC_ACQUIRE)) pause_briefly();
            __atomic_sub_fetch(&waiting, 1, __ATOMIC_ACQ_REL);
        }
        if (turn % 5000 == 0) pause_briefly();
        int which = turn % OBJECTS;
        long count = touch(objects[which]);
        if (count < 0) continue;
        __atomic_add_fetch(&counted[which], 1, __ATOMIC_RELAXED);
        long before = __atomic_load_n(&most[which], __ATOMIC_RELAXED);
        while (count > before && !__atomic_compare_exchange_n(&most[which], &before, count, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        }
    }
}

#ifdef _WIN32
static DWORD WINAPI worker(void *unused) {
    (void)unused;
    work();
    return 0;
}
#else
static void *worker(void *unused) {
    (void)unused;
    work();
    return NULL;
}
#endif

int main(void) {
    for (int i = 0; i < OBJECTS; i++) {
        /* Some objects live and die before the patch comes. */
        void *volatile early = calloc(1, sizeof *objects[i]);
        free(early);
        objects[i] = calloc(1, sizeof *objects[i]);
        objects[i]->id = i;
    }
    for (int i = 0; i < WORKERS; i++) {
#ifdef _WIN32
        CreateThread(NULL, 0, worker, NULL, 0, NULL);
#else
        pthread_t thread;
        pthread_create(&thread, NULL, worker, NULL);
#endif
    }
    for (;;) {
        pause_briefly();
        __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
        while (__atomic_load_n(&waiting, __ATOMIC_ACQUIRE) < WORKERS) pause_briefly();
        printf("%s", version());
        for (int i = 0; i < OBJECTS; i++) printf(" %ld/%ld", most[i], counted[i]);
        puts("");
        fflush(stdout);
        __atomic_store_n(&held, 0, __ATOMIC_RELEASE);
        while (__atomic_load_n(&waiting, __ATOMIC_ACQUIRE) > 0) pause_briefly();
    }
}
