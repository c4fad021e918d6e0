/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/gate.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define LANES        64   /* threads are spread over them */
#define OPEN_WAIT_MS 1000 /* how long C_Initialize waits for another thread's C_Initialize or C_Finalize */

enum state { OFF, STARTING, ON, STOPPING };

/* Calls are counted by the parity of their epoch, and apart from that once they have changed epochs. */
enum { MOVED = 2, COUNTS };

struct lane {
    _Alignas(THREAD_LINE) _Atomic long inside[COUNTS];
};

static struct lane lanes[LANES];
static _Thread_local unsigned epoch_mine __attribute__((tls_model("initial-exec")));
static _Thread_local unsigned depth_mine __attribute__((tls_model("initial-exec"))); /* calls within calls */
static _Thread_local bool moved_mine __attribute__((tls_model("initial-exec")));

static _Atomic unsigned epoch;

static _Atomic enum state state;
static _Atomic unsigned forks;      /* counted by the fork handler in the child, which does nothing else */
static _Atomic unsigned generation; /* the `forks` that all else here belongs to */
static _Atomic unsigned claimed;    /* the `forks` for which a thread of the child cleans up */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* of `state` and `events`; on the monotonic clock */
static uint64_t events;
static pthread_t starter; /* who is in C_Initialize, if STARTING */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct lane *lane(void)
{
    return &lanes[thread_number() % LANES];
}

static _Atomic long *count(void)
{
    return &lane()->inside[epoch_mine & 1];
}

/* Counts the thread into the present epoch. Who turns it looks at the counts afterwards; both orders being
 * total, it sees us or we see that it has turned. */
static void count_in(void)
{
    epoch_mine = atomic_load(&epoch);
    atomic_fetch_add(count(), 1);
    while (atomic_load(&epoch) != epoch_mine) {
        atomic_fetch_sub(count(), 1);
        epoch_mine = atomic_load(&epoch);
        atomic_fetch_add(count(), 1);
    }
}

CK_RV gate_enter(void)
{

    if (atomic_load_explicit(&forks, memory_order_relaxed) !=
        atomic_load_explicit(&generation, memory_order_relaxed))
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (depth_mine == 0)
        count_in();
    else
        atomic_fetch_add(count(), 1);
    /* C_Finalize sets the state first and counts then; both orders being total, it sees us or we see it. */
    if (atomic_load(&state) == ON) {
        depth_mine++;
        return CKR_OK;
    }
    atomic_fetch_sub(count(), 1);
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}

void gate_leave(void)
{
    depth_mine--;
    atomic_fetch_sub(count(), 1);
    if (moved_mine && depth_mine == 0) {
        moved_mine = false;
        atomic_fetch_sub(&lane()->inside[MOVED], 1);
    }
}

/* The thread leaves its epoch for now. It stays counted as one that moved until the call is over, so that who
 * looks at one count after the other does not miss it. */
static void count_out(void)
{
    if (!moved_mine)
        atomic_fetch_add(&lane()->inside[MOVED], 1);
    moved_mine = true;
    atomic_fetch_sub(count(), 1);
}

void gate_turn(void)
{
    atomic_fetch_add(&epoch, 1);
    if (depth_mine == 1) {
        count_out();
        count_in();
    }
}

static long sum(unsigned which)
{
    long n = 0;

    for (unsigned i = 0; i < LANES; i++)
        n += atomic_load(&lanes[i].inside[which]);
    return n;
}

bool gate_turned(void)
{
    return sum((atomic_load(&epoch) + 1) & 1) == 0;
}

static void child_count(void)
{
    atomic_fetch_add(&forks, 1);
}

static void condition_init(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void gate_once(void)
{
    condition_init();
    pthread_atfork(NULL, NULL, child_count);
}

/* In a forked child: locks may be held, and calls counted, by threads that exist in the parent only. One
 * thread of the child makes all new, others wait for it. */
static bool gate_after_fork(void)
{
    unsigned now = atomic_load(&forks), was = atomic_load(&generation);

    if (now == was)
        return false;
    if (!atomic_compare_exchange_strong(&claimed, &was, now)) {
        while (atomic_load(&generation) != now)
            sched_yield();
        return false;
    }
    pthread_mutex_init(&lock, NULL);
    condition_init();
    for (unsigned i = 0; i < LANES; i++)
        for (unsigned c = 0; c < COUNTS; c++)
            atomic_store(&lanes[i].inside[c], 0);
    starter = pthread_self();
    atomic_store(&state, STARTING);
    atomic_store(&generation, now);
    return true;
}

static struct timespec after_ms(unsigned ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

CK_RV gate_open(bool *forked)
{
    struct timespec deadline;
    CK_RV rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;

    pthread_once(&once, gate_once);
    *forked = gate_after_fork();
    if (*forked)
        return CKR_OK;
    deadline = after_ms(OPEN_WAIT_MS);
    pthread_mutex_lock(&lock);
    for (;;) {
        enum state s = atomic_load(&state);
        if (s == OFF) {
            starter = pthread_self();
            atomic_store(&state, STARTING);
            rv = CKR_OK;
            break;
        }
        if (s == ON || (s == STARTING && pthread_equal(starter, pthread_self())))
            break;
        if (pthread_cond_timedwait(&changed, &lock, &deadline) == ETIMEDOUT)
            break;
    }
    pthread_mutex_unlock(&lock);
    return rv;
}

static void state_set(enum state s)
{
    pthread_mutex_lock(&lock);
    atomic_store(&state, s);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void gate_opened(bool success)
{
    state_set(success ? ON : OFF);
}

static bool anybody_inside(void)
{
    if (sum(0) != 0 || sum(1) != 0)
        return true;
    return sum(MOVED) != 0; /* last */
}

CK_RV gate_close(void)
{
    bool was_on;

    if (atomic_load(&forks) != atomic_load(&generation))
        return CKR_CRYPTOKI_NOT_INITIALIZED;
    pthread_once(&once, gate_once);
    pthread_mutex_lock(&lock);
    was_on = atomic_load(&state) == ON;
    if (was_on) {
        atomic_store(&state, STOPPING);
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return was_on ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
}

bool gate_drain(uint64_t wait_ms)
{
    const uint64_t deadline = clock_ms() + wait_ms;
    struct timespec pause = {0, 50000};

    /* Looking again and again, and not a signal from who leaves, keeps the way out of every call free of a
     * lock. */
    /* Once nobody was seen, nobody is: who comes now counts himself for a moment, finds the gate closed and
     * goes. */
    while (anybody_inside()) {
        if (clock_left_ms(deadline) == 0)
            return false;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 5000000)
            pause.tv_nsec *= 2;
    }
    return true;
}

void gate_closed(void)
{
    state_set(OFF);
}

void gate_event(void)
{
    pthread_mutex_lock(&lock);
    events++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

uint64_t gate_events(void)
{
    pthread_mutex_lock(&lock);
    const uint64_t n = events;
    pthread_mutex_unlock(&lock);
    return n;
}

bool gate_wait(uint64_t seen, unsigned ms)
{
    const struct timespec deadline = after_ms(ms);
    int waited = 0;
    bool open;

    count_out();
    pthread_mutex_lock(&lock);
    while ((open = atomic_load(&state) == ON) && events == seen && waited == 0)
        waited = pthread_cond_timedwait(&changed, &lock, &deadline);
    pthread_mutex_unlock(&lock);
    count_in();
    return open;
}
