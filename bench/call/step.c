/* The function that is called, in two makes. MIX differs between the two builds, and costs the same. */
unsigned long step_plain(unsigned long x)
{
    return (x ^ x >> 7) * MIX + 1;
}

__attribute__((patchable_function_entry(18, 16))) unsigned long step_padded(unsigned long x)
{
    return (x ^ x >> 7) * MIX + 1;
}
