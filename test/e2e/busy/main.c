#include <stdio.h>

void spin(void);

int main(void)
{
    puts("spinning");
    fflush(stdout);
    spin();
}
