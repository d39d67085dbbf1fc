/*
 * One object of a set of many, as a large library has them. The tokens S00000 (this object) and N00000 (the next one) are replaced in the
 * object's string table by numbers of the same length: so it is compiled once, and every copy has its own names.
 */
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define OWN(name) PASTE(S00000_, name)
#define NEXT(name) PASTE(N00000_, name)
#define NOINLINE __attribute__((noinline))

struct item {
  const char *name;
  int kind, length;
  struct item *next;
};

extern int report(const char *what, int value);
extern int NEXT(entry)(struct item *item, int depth);
extern int NEXT(counter);

int OWN(counter);
static struct item first = {"first", 1, 5, 0};
static const char *const kinds[] = {"none", "text", "number", "list", "table", "link"};

#define FUNCTIONS(n)                                                                                                        \
  static NOINLINE int parse_##n(struct item *item, int limit) {                                                            \
    int sum = 0;                                                                                                           \
    for (struct item *i = item; i; i = i->next) {                                                                          \
      switch (i->kind) {                                                                                                   \
      case 0: sum += i->length; break;                                                                                     \
      case 1: sum += report("a text of module part " #n, i->length); break;                                                \
      case 2: sum ^= limit * n; break;                                                                                     \
      case 3: sum += NEXT(counter); break;                                                                                 \
      case 4: sum -= report(kinds[i->kind], sum); break;                                                                   \
      case 5: sum += first.length + n; break;                                                                              \
      default: return -1;                                                                                                  \
      }                                                                                                                    \
      if (sum > limit) return report("too much in part " #n, sum);                                                         \
    }                                                                                                                      \
    return sum;                                                                                                            \
  }                                                                                                                        \
  int OWN(part_##n)(struct item *item, int limit) {                                                                        \
    static int calls;                                                                                                      \
    calls++;                                                                                                               \
    OWN(counter) += parse_##n(item, limit);                                                                                \
    return calls + OWN(counter);                                                                                           \
  }

FUNCTIONS(1) FUNCTIONS(2) FUNCTIONS(3) FUNCTIONS(4) FUNCTIONS(5) FUNCTIONS(6) FUNCTIONS(7) FUNCTIONS(8)
FUNCTIONS(9) FUNCTIONS(10) FUNCTIONS(11) FUNCTIONS(12) FUNCTIONS(13) FUNCTIONS(14) FUNCTIONS(15) FUNCTIONS(16)

static int (*const parts[])(struct item *, int) = {OWN(part_1), OWN(part_2), OWN(part_3), OWN(part_4), OWN(part_5), OWN(part_6)};

int OWN(entry)(struct item *item, int depth) {
#ifdef FIXED
  if (depth > 64 || !item) return report("too deep", depth);
#endif
  if (depth == 0) return parts[OWN(counter) & 3](item, 10);
  return NEXT(entry)(item ? item : &first, depth - 1) + OWN(part_7)(item, depth);
}

/* Another build of the same source: what no process notices differs. */
__asm__(".ident \"" BUILD "\"");
