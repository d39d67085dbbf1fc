/* int call_unmarked(int (*function)(long), long argument), as code that nobody wrote unwind data for. */
        .text
        .globl call_unmarked
#ifdef __aarch64__
        .type call_unmarked, %function
call_unmarked:
        sub sp, sp, #0x60
        stp x19, x30, [sp, #0x50]
        mov x16, x0
        mov x0, x1
        blr x16
        ldp x19, x30, [sp, #0x50]
        add sp, sp, #0x60
        ret
        .size call_unmarked, . - call_unmarked
        .section .note.GNU-stack, "", %progbits
#else
        .type call_unmarked, @function
call_unmarked:
        push %rbx
        sub $0x50, %rsp
        mov %rdi, %rax
        mov %rsi, %rdi
        call *%rax
        add $0x50, %rsp
        pop %rbx
        ret
        .size call_unmarked, . - call_unmarked
        .section .note.GNU-stack, "", @progbits
#endif
