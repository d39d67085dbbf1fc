/*
 * Shadow data (hotpatch-shadow.h): chains of data in buckets by the object's address, each bucket under a lock of its own.
 *
 * All that outlives the patch is one variable, `shadow_table`, and what it points to, which lies in the program's heap: nothing there points
 * into the patch. A patch that takes this one's place is given the variable's value (same name, same file, same size), at an instant in
 * which no thread is inside of this one: so no lock is held. Its layout must never change; a new one needs a new name.
 */
#include "hotpatch-shadow.h"

#include <stdint.h>

#ifndef HOTPATCH_SHADOW_CALLOC
#define HOTPATCH_SHADOW_CALLOC calloc
#define HOTPATCH_SHADOW_FREE free
#include <stdlib.h>
#else
void *HOTPATCH_SHADOW_CALLOC(size_t count, size_t size);
void HOTPATCH_SHADOW_FREE(void *data);
#endif

#define BUCKETS 256

/* Data of one object. They follow, aligned as calloc aligns. */
struct shadow {
  struct shadow *next;
  void *object;
  uintptr_t id;
  uintptr_t reserved;
};

struct bucket {
  /* 1: a thread is in it. */
  int32_t taken;
  int32_t reserved;
  struct shadow *first;
};

static struct bucket shadow_table[BUCKETS];

#ifdef _MSC_VER
#include <intrin.h>
static int try_lock(int32_t *taken) { return _InterlockedExchange((volatile long *)taken, 1) == 0; }
static void unlock(int32_t *taken) { _InterlockedExchange((volatile long *)taken, 0); }
static int is_taken(int32_t *taken) { return *(volatile long *)taken; }
#else
#ifdef __aarch64__
/* gcc calls a function of libgcc's for the builtin, which the running program need not have. */
static int try_lock(int32_t *taken) {
  int32_t before, failed;
  __asm__ volatile("1: ldaxr %w0, [%2]\n\tstxr %w1, %w3, [%2]\n\tcbnz %w1, 1b"
                   : "=&r"(before), "=&r"(failed)
                   : "r"(taken), "r"(1)
                   : "memory");
  return before == 0;
}
#else
static int try_lock(int32_t *taken) { return __atomic_exchange_n(taken, 1, __ATOMIC_ACQUIRE) == 0; }
#endif
static void unlock(int32_t *taken) { __atomic_store_n(taken, 0, __ATOMIC_RELEASE); }
static int is_taken(int32_t *taken) { return __atomic_load_n(taken, __ATOMIC_RELAXED); }
#endif

/* Lets the thread that has the lock go on. On Linux the system is asked: it may be one that this thread keeps from running. */
static void wait_briefly(void) {
#if defined(__linux__) && defined(__x86_64__)
  long result = 24; /* sched_yield */
  __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
#elif defined(__linux__) && defined(__aarch64__)
  register long number __asm__("x8") = 124; /* sched_yield */
  register long result __asm__("x0");
  __asm__ volatile("svc 0" : "=r"(result) : "r"(number) : "memory");
#elif defined(_MSC_VER)
  _mm_pause();
#elif defined(__x86_64__)
  __asm__ volatile("pause" ::: "memory");
#elif defined(__aarch64__)
  __asm__ volatile("yield" ::: "memory");
#endif
}

static struct bucket *enter(const void *object) {
  /* The golden ratio spreads addresses that differ in few bits. */
  struct bucket *bucket = &shadow_table[((uint64_t)(uintptr_t)object * 0x9e3779b97f4a7c15u) >> 56];
  while (!try_lock(&bucket->taken))
    for (int looks = 0; is_taken(&bucket->taken); looks++)
      if (looks > 16) wait_briefly();
  return bucket;
}

static void leave(struct bucket *bucket) { unlock(&bucket->taken); }

static void *data_of(struct shadow *shadow) { return shadow + 1; }

static struct shadow *find(struct bucket *bucket, const void *object, uintptr_t id) {
  struct shadow *shadow = bucket->first;
  while (shadow && (shadow->object != object || shadow->id != id)) shadow = shadow->next;
  return shadow;
}

/* Inside of the bucket. */
static void *add(struct bucket *bucket, void *object, uintptr_t id, size_t size, hotpatch_shadow_make *make, void *with) {
  struct shadow *shadow = size > SIZE_MAX - sizeof *shadow ? NULL : HOTPATCH_SHADOW_CALLOC(1, sizeof *shadow + size);
  if (!shadow) return NULL;
  shadow->object = object;
  shadow->id = id;
  if (make && make(object, data_of(shadow), with)) {
    HOTPATCH_SHADOW_FREE(shadow);
    return NULL;
  }
  shadow->next = bucket->first;
  bucket->first = shadow;
  return data_of(shadow);
}

void *hotpatch_shadow_get(const void *object, unsigned long id) {
  struct bucket *bucket = enter(object);
  struct shadow *shadow = find(bucket, object, id);
  leave(bucket);
  return shadow ? data_of(shadow) : NULL;
}

void *hotpatch_shadow_attach(void *object, unsigned long id, size_t size, hotpatch_shadow_make *make, void *with) {
  struct bucket *bucket = enter(object);
  void *data = find(bucket, object, id) ? NULL : add(bucket, object, id, size, make, with);
  leave(bucket);
  return data;
}

void *hotpatch_shadow_get_or_attach(void *object, unsigned long id, size_t size, hotpatch_shadow_make *make, void *with) {
  struct bucket *bucket = enter(object);
  struct shadow *shadow = find(bucket, object, id);
  void *data = shadow ? data_of(shadow) : add(bucket, object, id, size, make, with);
  leave(bucket);
  return data;
}

/* Takes those of `id` out of the chain that belong to `object`, or to any object if that is NULL. */
static void take(struct bucket *bucket, const void *object, uintptr_t id, hotpatch_shadow_drop *drop) {
  struct shadow **link = &bucket->first;
  while (*link) {
    struct shadow *shadow = *link;
    if (shadow->id != id || (object && shadow->object != object)) {
      link = &shadow->next;
      continue;
    }
    *link = shadow->next;
    if (drop) drop(shadow->object, data_of(shadow));
    HOTPATCH_SHADOW_FREE(shadow);
  }
}

void hotpatch_shadow_detach(void *object, unsigned long id, hotpatch_shadow_drop *drop) {
  if (!object) return;
  struct bucket *bucket = enter(object);
  take(bucket, object, id, drop);
  leave(bucket);
}

void hotpatch_shadow_detach_all(unsigned long id, hotpatch_shadow_drop *drop) {
  for (struct bucket *bucket = shadow_table; bucket != shadow_table + BUCKETS; bucket++) {
    while (!try_lock(&bucket->taken)) wait_briefly();
    take(bucket, NULL, id, drop);
    leave(bucket);
  }
}
