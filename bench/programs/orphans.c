/* Gives the PID 1 of another namespace orphans, and waits until it has reaped them.
 *
 *   orphans INIT COUNT hold    INIT stands still (SIGSTOP) until all COUNT are zombies: the pure drain
 *   orphans INIT COUNT         COUNT end one after the other while INIT runs
 *
 * INIT is its pid as seen here. Prints "BEGIN END": CLOCK_MONOTONIC in nanoseconds, of the moment at which INIT could
 * begin (the SIGCONT, or the first end), and of that at which no orphan was left. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void nap(long nanoseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

struct shared {
    long long begin, end;
    pid_t pids[];
};

/* /proc is this machine's, the numbers are the namespace's: read through the namespace's own /proc. */
static int is_zombie(const char *init, pid_t pid)
{
    char path[96], text[256], *name_end;
    snprintf(path, sizeof path, "/proc/%s/root/proc/%d/stat", init, pid);
    int file = open(path, O_RDONLY);
    if (file < 0)
        return 1;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0)
        return 1;
    text[length] = 0;
    name_end = strrchr(text, ')');
    return name_end && name_end[2] == 'Z';
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 64;
    pid_t init = atoi(argv[1]);
    int count = atoi(argv[2]), hold = argc > 3, go[2], born[2], all_dead[2];
    char path[64], byte = 0;
    struct shared *shared = mmap(NULL, sizeof *shared + count * sizeof(pid_t), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(path, sizeof path, "/proc/%d/ns/pid", init);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    if (shared == MAP_FAILED || space < 0 || pipe(go) || pipe(born) || pipe(all_dead) || setns(space, CLONE_NEWPID)) {
        perror("orphans");
        return 1;
    }
    pid_t keeper = fork();
    if (keeper == 0) {
        pid_t parent = fork();
        if (parent == 0) {
            for (int i = 0; i < count; i++) {
                pid_t pid = fork();
                if (pid < 0)
                    _exit(1);
                if (pid == 0) {
                    close(go[1]);
                    while (read(go[0], &byte, 1) < 0 && errno == EINTR)
                        ;
                    if (!hold && count == 1)
                        shared->begin = now();
                    _exit(0);
                }
                shared->pids[i] = pid;
            }
            _exit(0);
        }
        int status;
        waitpid(parent, &status, 0);
        if (write(born[1], status ? "n" : "y", 1) != 1 || status)
            _exit(1);
        close(go[1]);
        /* The outer process tells when the clock runs. */
        while (read(all_dead[0], &byte, 1) < 0 && errno == EINTR)
            ;
        for (int i = 0; i < count; i++)
            while (kill(shared->pids[i], 0) == 0)
                nap(20000);
        shared->end = now();
        _exit(0);
    }
    if (read(born[0], &byte, 1) != 1 || byte != 'y') {
        fprintf(stderr, "orphans: cannot fork so many\n");
        return 1;
    }
    if (hold)
        kill(init, SIGSTOP);
    else
        shared->begin = now();
    if (!hold && write(all_dead[1], "", 1) != 1)
        return 1;
    close(go[1]);
    if (hold) {
        for (int i = 0; i < count; i++)
            while (!is_zombie(argv[1], shared->pids[i]))
                nap(1000000);
        /* What real-time processes may use of a second is spent by their births: a new second. */
        sleep(1);
        if (write(all_dead[1], "", 1) != 1)
            return 1;
        shared->begin = now();
        kill(init, SIGCONT);
    }
    waitpid(keeper, NULL, 0);
    printf("%lld %lld\n", shared->begin, shared->end);
    return 0;
}
