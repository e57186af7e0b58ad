// librdkafka waits for moments of the wall clock by C11 threads, of which libfaketime does not know: the wait would end
// when the true time is what the set clock said. Here it takes as long as was meant. Who waits too short asks a steady
// clock and waits again, so that none takes long that was begun before the clock was set back.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

#define SECOND 1000000000LL

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    struct timespec now, steady;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_MONOTONIC, &steady);
    long long left = (until->tv_sec - now.tv_sec) * SECOND + until->tv_nsec - now.tv_nsec;
    left = left < 0 ? 0 : left > SECOND ? SECOND : left;
    long long end = steady.tv_sec * SECOND + steady.tv_nsec + left;
    steady.tv_sec = end / SECOND;
    steady.tv_nsec = end % SECOND;
    // glibc's C11 threads are its POSIX threads under other names.
    switch (pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, CLOCK_MONOTONIC, &steady)) {
        case 0: return thrd_success;
        case ETIMEDOUT: return thrd_timedout;
        default: return thrd_error;
    }
}
