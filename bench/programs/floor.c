/* The least that can be called a supervisor, to see what the kernel alone costs: it starts PROGRAM once for each
 * HOME, starts what ends again at once, and at SIGTERM ends them all. floor PROGRAM HOME... */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(char *program, char *home)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl(program, program, home, (char *)0);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv)
{
    int services = argc - 2, stopping = 0, signal = 0;
    pid_t pids[64], pid;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < services; i++)
        pids[i] = start(argv[1], argv[i + 2]);
    for (;;) {
        signal = sigwaitinfo(&set, NULL);
        if (signal == SIGTERM) {
            stopping = 1;
            for (int i = 0; i < services; i++)
                kill(pids[i], SIGTERM);
        }
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            for (int i = 0; i < services && !stopping; i++)
                if (pids[i] == pid)
                    pids[i] = start(argv[1], argv[i + 2]);
        if (stopping && pid < 0)
            return 0;
    }
}
