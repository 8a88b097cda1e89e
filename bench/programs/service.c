/* A service that tells the measurement when main() began, when it was asked to end, and when it had ended its
 * work: one datagram each, with CLOCK_MONOTONIC in nanoseconds. Its home is an absolute argv[1] or the working directory;
 * files there change what it does:
 *
 *   slow              takes 500 ms to end
 *   fail              ends at once with code 1
 *   escape            leaves a child in a session of its own behind
 *   notification-fd   says that it is ready on descriptor 3, as s6 wants it
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int channel;
static char name[64];

static void tell(char what)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/bench/socket"};
    struct timespec now;
    char text[128];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(text, sizeof text, "%c %lld %s", what, now.tv_sec * 1000000000LL + now.tv_nsec, name);
    sendto(channel, text, length, 0, (struct sockaddr *)&to, sizeof to);
}

/* Out of the group, the session and the family. */
static void escape(void)
{
    pid_t first = fork();
    if (first == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        setsid();
        prctl(PR_SET_NAME, "escaped");
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        tell('X');
        for (;;)
            pause();
    }
    waitpid(first, NULL, 0);
}

int main(int argc, char **argv)
{
    sigset_t stop;
    int signal;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_SETMASK, &stop, NULL);
    /* s6 gives a name there. */
    if (argc > 1 && argv[1][0] == '/' && chdir(argv[1]) != 0)
        return 111;
    char *home = getcwd(NULL, 0);
    char *slash = strrchr(home, '/');
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : home);
    channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    tell('S');
    if (access("notification-fd", F_OK) == 0 && write(3, "\n", 1) != 1)
        return 112;
    if (access("fail", F_OK) == 0)
        return 1;
    if (access("escape", F_OK) == 0)
        escape();
    while (sigwait(&stop, &signal) != 0)
        ;
    tell('T');
    if (access("slow", F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    tell('E');
    return 0;
}
