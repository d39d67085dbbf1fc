/* A program that is awkward to patch. usage: awkward MODE [TURNS]    prints one JSON line with addresses: counters, order
 *   storm        eight threads make and join short-lived threads all the time
 *   forks        makes children all the time; each calls the function and says by its exit code whether it was right
 *   reexec       becomes itself again, TURNS times, about every 20 ms
 *   service      as SystemCallFilter=@system-service, SystemCallArchitectures=native and MemoryDenyWriteExecute=yes of systemd
 *   mdwe         as newer systemd: the kernel's own PR_SET_MDWE
 *   no-execute   no executable memory may be mapped, as policies of SELinux have it
 *   no-memory    RLIMIT_AS leaves no room
 * order: 1 makes a child that stays, 2 becomes another user. */
#define _GNU_SOURCE
#include "work.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NONE, FORK, SETUID };

static volatile struct { uint64_t old, fixed, bad, made, child; } counters;
static volatile uint64_t order;

static int try_it(void)
{
    int got = answer(7);
    if (got == 8)
        __atomic_add_fetch(&counters.old, 1, __ATOMIC_RELAXED);
    else if (got == 1008)
        __atomic_add_fetch(&counters.fixed, 1, __ATOMIC_RELAXED);
    else
        __atomic_add_fetch(&counters.bad, 1, __ATOMIC_RELAXED);
    return got == 8 || got == 1008;
}

static void pause_us(long us)
{
    struct timespec t = { 0, us * 1000 };
    nanosleep(&t, 0);
}

static void *brief(void *unused)
{
    for (int i = 0; i < 20; i++)
        try_it();
    return unused;
}

static void *breed(void *unused)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (;;) {
        pthread_t child;
        if (pthread_create(&child, &small, brief, 0) != 0)
            continue;
        pthread_join(child, 0);
        __atomic_add_fetch(&counters.made, 1, __ATOMIC_RELAXED);
    }
    return unused;
}

static void *fork_on(void *unused)
{
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            int good = 1;
            for (int i = 0; i < 200; i++)
                good &= try_it();
            _exit(good ? 0 : 1);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            __atomic_add_fetch(&counters.bad, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&counters.made, 1, __ATOMIC_RELAXED);
    }
    return unused;
}

#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define FORBID BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define COUNT(array) (sizeof(array) / sizeof *(array))

static void filter(struct sock_filter *code, size_t length)
{
    struct sock_fprog program = { (unsigned short)length, code };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        counters.bad++;
}

/* What is in no group that @system-service contains: @clock, @cpu-emulation, @debug, @module, @mount, @obsolete, @pkey, @raw-io, @reboot, @swap, bpf. */
static const int outside[] = {
    SYS_adjtimex, SYS_clock_adjtime, SYS_clock_settime, SYS_settimeofday, SYS_perf_event_open, SYS_ptrace, SYS_delete_module,
    SYS_finit_module, SYS_init_module, SYS_chroot, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_mount, SYS_move_mount,
    SYS_open_tree, SYS_pivot_root, SYS_umount2, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_kexec_file_load, SYS_kexec_load,
    SYS_reboot, SYS_swapoff, SYS_swapon, SYS_bpf, SYS_acct, SYS_fanotify_init, SYS_nfsservctl, SYS_open_by_handle_at, SYS_quotactl,
    SYS_setdomainname, SYS_sethostname, SYS_vhangup, SYS_syslog,
#ifdef __x86_64__
    SYS_modify_ldt, SYS__sysctl, SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_sysfs, SYS_uselib, SYS_ustat,
    SYS_vserver, SYS_ioperm, SYS_iopl,
#endif
};

#ifdef __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE AUDIT_ARCH_X86_64
#endif

static void filter_service(void)
{
    struct sock_filter code[8 + 2 * COUNT(outside) + 2];
    size_t n = 0;
    code[n++] = (struct sock_filter)LOAD(arch);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)LOAD(nr);
    /* x32, and what is not known */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 462, 0, 1);
    code[n++] = (struct sock_filter)FORBID;
    for (size_t i = 0; i < COUNT(outside); i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)outside[i], 0, 1);
        code[n++] = (struct sock_filter)FORBID;
    }
    code[n++] = (struct sock_filter)ALLOW;
    filter(code, n);
}

static void filter_write_execute(void)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
        LOAD(args[2]),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 8, 0),
        ALLOW,
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pkey_mprotect, 0, 2),
        LOAD(args[2]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 3, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_shmat, 0, 3),
        LOAD(args[2]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SHM_EXEC, 0, 1),
        FORBID,
        ALLOW,
    };
    filter(code, COUNT(code));
}

static void filter_execute(void)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
        LOAD(args[2]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
        FORBID,
        ALLOW,
    };
    filter(code, COUNT(code));
}

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int turns = argc > 2 ? atoi(argv[2]) : 0;
    pthread_t thread;
    if (strcmp(mode, "reexec") == 0 && turns > 0) {
        for (int i = 0; i < 20; i++) {
            if (!try_it())
                return 1;
            pause_us(1000);
        }
        char left[16];
        snprintf(left, sizeof left, "%d", turns - 1);
        execl("/proc/self/exe", argv[0], mode, left, (char *)0);
        return 1;
    }
    if (strcmp(mode, "service") == 0) {
        filter_service();
        filter_write_execute();
    }
    if (strcmp(mode, "mdwe") == 0 && prctl(PR_SET_MDWE, 1, 0, 0, 0) != 0) {
        puts("none");
        return 0;
    }
    if (strcmp(mode, "no-execute") == 0)
        filter_execute();
    printf("{\"counters\":\"0x%lx\",\"order\":\"0x%lx\"}\n", (unsigned long)&counters, (unsigned long)&order);
    fflush(stdout);
    if (strcmp(mode, "no-memory") == 0)
        setrlimit(RLIMIT_AS, &(struct rlimit){ 4096, RLIM_INFINITY });
    if (strcmp(mode, "storm") == 0)
        for (int i = 0; i < 8; i++)
            pthread_create(&thread, 0, breed, 0);
    if (strcmp(mode, "forks") == 0)
        for (int i = 0; i < 2; i++)
            pthread_create(&thread, 0, fork_on, 0);
    for (;;) {
        try_it();
        pause_us(1000);
        switch (order) {
        case FORK: {
            order = NONE;
            pid_t child = fork();
            if (child > 0)
                counters.child = (uint64_t)child;
            break;
        }
        case SETUID:
            order = NONE;
            if (setuid(65534) != 0)
                counters.bad++;
            break;
        default:
            break;
        }
    }
}
