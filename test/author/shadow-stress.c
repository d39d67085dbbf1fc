/* Four threads attach, get and detach on few objects. Prints what came out of it; the test holds it against what must. */
#include "../../author/hotpatch-shadow.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
typedef HANDLE thread;
static DWORD WINAPI work_on_windows(void *seed);
static thread start(void *seed) { return CreateThread(NULL, 0, work_on_windows, seed, 0, NULL); }
static void join(thread t) { WaitForSingleObject(t, INFINITE); }
#else
#include <pthread.h>
typedef pthread_t thread;
static void *work_on_linux(void *seed);
static thread start(void *seed) {
  thread t;
  pthread_create(&t, NULL, work_on_linux, seed);
  return t;
}
static void join(thread t) { pthread_join(t, NULL); }
#endif

enum { OBJECTS = 50, THREADS = 4, TURNS = 100000 };

static int objects[OBJECTS];
static long living, made, dropped, wrong;

void *counted_calloc(size_t count, size_t size) {
  __atomic_add_fetch(&living, 1, __ATOMIC_RELAXED);
  return calloc(count, size);
}
void counted_free(void *data) {
  __atomic_sub_fetch(&living, 1, __ATOMIC_RELAXED);
  free(data);
}

struct data {
  void *owner;
  long touched;
};

static int make(void *object, void *data, void *with) {
  struct data *d = data;
  if (d->owner || d->touched) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
  if (with) return 1;
  d->owner = object;
  __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
  return 0;
}
static void drop(void *object, void *data) {
  if (((struct data *)data)->owner != object) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&dropped, 1, __ATOMIC_RELAXED);
}

/* Data of id 1 are attached once and stay; those of id 2 come and go. */
static void work(unsigned seed) {
  for (int turn = 0; turn < TURNS; turn++) {
    seed = seed * 1664525u + 1013904223u;
    int *object = &objects[(seed >> 8) % OBJECTS];
    struct data *d = hotpatch_shadow_get_or_attach(object, 1, sizeof *d, make, NULL);
    if (!d || d->owner != object) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    else __atomic_add_fetch(&d->touched, 1, __ATOMIC_RELAXED);
    if (hotpatch_shadow_attach(object, 1, sizeof *d, make, NULL)) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    if (hotpatch_shadow_attach(object, 3, sizeof *d, make, "refuse")) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    if (seed & 0x4000) hotpatch_shadow_attach(object, 2, sizeof *d, make, NULL);
    else hotpatch_shadow_detach(object, 2, drop);
  }
}

#ifdef _WIN32
static DWORD WINAPI work_on_windows(void *seed) {
  work((unsigned)(size_t)seed);
  return 0;
}
#else
static void *work_on_linux(void *seed) {
  work((unsigned)(size_t)seed);
  return NULL;
}
#endif

int main(void) {
  thread threads[THREADS];
  for (int i = 0; i < THREADS; i++) threads[i] = start((void *)(size_t)(i + 1));
  for (int i = 0; i < THREADS; i++) join(threads[i]);
  long touched = 0;
  for (int i = 0; i < OBJECTS; i++) {
    struct data *d = hotpatch_shadow_get(&objects[i], 1);
    if (d) touched += d->touched;
  }
  hotpatch_shadow_detach_all(2, drop);
  long kept = living;
  hotpatch_shadow_detach_all(1, drop);
  for (int i = 0; i < OBJECTS; i++)
    if (hotpatch_shadow_get(&objects[i], 1) || hotpatch_shadow_get(&objects[i], 3)) wrong++;
  printf("touched %ld kept %ld living %ld undropped %ld wrong %ld\n", touched, kept, living, made - dropped, wrong);
  return 0;
}
