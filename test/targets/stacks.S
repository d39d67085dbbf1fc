/* int call_unmarked(int (*function)(int), int argument), as code that nobody wrote unwind data for. */
        .text
        .globl call_unmarked
        .type call_unmarked, @function
call_unmarked:
        push %rbx
        sub $0x50, %rsp
        mov %rdi, %rax
        mov %esi, %edi
        call *%rax
        add $0x50, %rsp
        pop %rbx
        ret
        .size call_unmarked, . - call_unmarked
        .section .note.GNU-stack, "", @progbits
