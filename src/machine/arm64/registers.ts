/** DWARF's numbers of ARM64's registers ("DWARF for the Arm 64-bit Architecture", 4.1): 0 to 30 are x0 to x30. */
export const FRAME_POINTER = 29
export const LINK_REGISTER = 30
export const STACK_POINTER = 31
export const PROGRAM_COUNTER = 32
export const REGISTER_COUNT = 33
