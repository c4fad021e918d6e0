/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads of our own that call the module, so that none of charon's waits longer than a bound for a module
 * that hangs, however deep inside. A thread that never comes back is left alone with its job. */
#ifndef PPK_CHARON_WORKER_H
#define PPK_CHARON_WORKER_H

#include "ppk_ops.h"

struct ppk_pool;
struct ppk_job;

/* Up to threads workers, made at need; bound_ms is the longest wait for one answer. NULL: out of memory. The
 * strings of config are copied. */
struct ppk_pool *ppk_pool_create(const struct ppk_module_config *config, unsigned threads, unsigned bound_ms);

/* Ends the workers; waits for those inside the module no longer than the bound, and then leaves them, the
 * module and the pool itself behind. */
void ppk_pool_destroy(struct ppk_pool *pool);

/* Hands the question to a worker and returns at once; the ask's contents now belong to the job. NULL: out of
 * memory. Where the module is known to hang, the job is answered (PPK_FAILED) at once, but for PPK_OP_DONE,
 * which waits for its turn. */
struct ppk_job *ppk_job_submit(struct ppk_pool *pool, struct ppk_ask *ask);

/* The answer, at the latest when the bound is over, counted from submission; it then is PPK_FAILED and says
 * so. The answer belongs to the job, and the caller may take out of it what it wants to keep. */
struct ppk_answer *ppk_job_wait(struct ppk_job *job);

/* What was asked. */
const struct ppk_ask *ppk_job_ask(const struct ppk_job *job);

/* The caller's interest ends. A job that is not finished is still done, one that is not begun only if it is
 * PPK_OP_DONE. NULL is allowed. */
void ppk_job_release(struct ppk_job *job);

#endif
