/* A function that never leaves its own first bytes: no moment is safe to overwrite them. */
        .section .text.spin, "ax", @progbits
        .globl spin
        .type spin, @function
spin:
        nop
1:      jmp 1b
#ifdef AFTER
        nop
#endif
        xor %eax, %eax
        ret
        .size spin, . - spin
        .section .note.GNU-stack, "", @progbits
