/* SPDX-License-Identifier: BSD-2-Clause */
/* crash_at STATE enter|exit N PROGRAM ARGUMENT…: runs PROGRAM, and kills it (SIGKILL) at the N-th system call
 * that touches disk or network after SIGUSR1 has come to crash_at ("armed"): before the call is carried out,
 * or after it and before the program sees its result. Calls of all threads are counted together. N 0: kills
 * never. At the end, the file STATE has the calls counted and the name of the one that was hit (or "-").
 * SIGTERM is passed on. The exit status is the program's, or 137. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    long number;
    const char *name;
} CALLS[] = {
    {SYS_read, "read"},       {SYS_write, "write"},         {SYS_readv, "readv"},
    {SYS_writev, "writev"},   {SYS_pread64, "pread64"},     {SYS_pwrite64, "pwrite64"},
    {SYS_fsync, "fsync"},     {SYS_fdatasync, "fdatasync"}, {SYS_ftruncate, "ftruncate"},
    {SYS_openat, "openat"},   {SYS_close, "close"},         {SYS_unlink, "unlink"},
    {SYS_rename, "rename"},   {SYS_fcntl, "fcntl"},         {SYS_mmap, "mmap"},
    {SYS_msync, "msync"},     {SYS_accept4, "accept4"},     {SYS_accept, "accept"},
    {SYS_connect, "connect"}, {SYS_sendto, "sendto"},       {SYS_recvfrom, "recvfrom"},
    {SYS_sendmsg, "sendmsg"}, {SYS_recvmsg, "recvmsg"},     {SYS_shutdown, "shutdown"},
    {SYS_socket, "socket"},   {SYS_bind, "bind"},           {SYS_listen, "listen"},
};

static pid_t child;
static volatile sig_atomic_t armed;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        armed = 1;
    else
        kill(child, number);
}

static const char *call_name(long number)
{
    for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++)
        if (CALLS[i].number == number)
            return CALLS[i].name;
    return NULL;
}

static void state_write(const char *path, unsigned long count, const char *hit)
{
    FILE *f = fopen(path, "we");

    if (f == NULL || fprintf(f, "%lu %s\n", count, hit) < 0 || fclose(f) != 0)
        perror(path);
}

static void program_run(char **argv)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0)
        _exit(126);
    execv(argv[0], argv);
    _exit(127);
}

/* A stop that was not for a system call: which signal does the thread get? */
static int signal_of(int status)
{
    int number = WSTOPSIG(status);

    /* a new thread's first stop, and the stops of clone and exec, are ptrace's own */
    return number == SIGSTOP || number == SIGTRAP ? 0 : number;
}

/* Is this the call to die at? */
static bool is_hit(pid_t thread, bool at_exit, unsigned long target, unsigned long *count, const char **hit)
{
    static pid_t inside;
    struct __ptrace_syscall_info info;
    const char *name = NULL;

    if (armed == 0 || ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0)
        return false;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT)
        return inside == thread;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || (name = call_name((long)info.entry.nr)) == NULL)
        return false;
    if (++*count != target)
        return false;
    *hit = name;
    if (at_exit)
        inside = thread;
    return !at_exit;
}

int main(int argc, char **argv)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    unsigned long target = 0, count = 0;
    const char *hit = "-";
    bool at_exit = false;
    int status = 0;
    pid_t thread = 0;

    if (argc < 5) {
        fputs("usage: crash_at STATE enter|exit N PROGRAM ARGUMENT...\n", stderr);
        return 2;
    }
    at_exit = strcmp(argv[2], "exit") == 0;
    target = strtoul(argv[3], NULL, 10);
    child = fork();
    if (child == 0)
        program_run(argv + 4);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, child, NULL, options) != 0) {
        perror("crash_at");
        return 2;
    }
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    ptrace(PTRACE_SYSCALL, child, NULL, 0L);
    while ((thread = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        long number = 0;

        if (thread < 0)
            continue;
        if (!WIFSTOPPED(status)) {
            if (thread == child)
                break;
            continue;
        }
        if (WSTOPSIG(status) != (SIGTRAP | 0x80))
            number = signal_of(status);
        else if (is_hit(thread, at_exit, target, &count, &hit))
            kill(child, SIGKILL);
        ptrace(PTRACE_SYSCALL, thread, NULL, number);
    }
    state_write(argv[1], count, hit);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
