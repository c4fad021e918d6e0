/* SPDX-License-Identifier: BSD-2-Clause */
/* Tells on a terminal, from its second second on, that something is under way which cannot tell it itself. */
#ifndef PPK_PPKCTL_PROGRESS_H
#define PPK_PPKCTL_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>

struct progress {
    const char *what;
    bool runs, ended;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

/* Begins; `what` has to stay until the end. Nothing is shown where stderr is no terminal. */
void progress_begin(struct progress *p, const char *what);

/* Ends, and leaves nothing on the screen. */
void progress_end(struct progress *p);

#endif
