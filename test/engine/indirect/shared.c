/* An indirect function that others call. */
static int add_hundred(int value)
{
    return value + 100;
}

static void *choose(void)
{
    return (void *)add_hundred;
}

int shared(int value) __attribute__((ifunc("choose")));
