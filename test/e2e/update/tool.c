#include "update.h"

__attribute__((noinline)) static const char *tool_line(void)
{
    static unsigned long count;
    return parse_version(++count);
}

int main(void)
{
    print_forever(tool_line);
}
