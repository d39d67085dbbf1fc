/*
 * A function that spends its time inside its own first bytes: cpuid is the slowest instruction that may be overwritten. Nothing
 * but another function lies before it, so there is no padding to use instead.
 */
        .section .text.enter, "ax", @progbits
        .globl enter
        .type enter, @function
enter:
        .cfi_startproc
        jmp identify
        .cfi_endproc
        .size enter, . - enter

        .section .text.identify, "ax", @progbits
        .globl identify
        .type identify, @function
identify:
        .cfi_startproc
        push %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        cpuid
        pop %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        nop
#ifdef AFTER
        nop
#endif
        ret
        .cfi_endproc
        .size identify, . - identify
        .section .note.GNU-stack, "", @progbits
