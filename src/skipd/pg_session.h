/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection to PostgreSQL, with bounds: made anew when it is lost, with its prepared statements, after a
 * pause during which everything fails at once. For one thread. */
#ifndef PPK_SKIPD_PG_SESSION_H
#define PPK_SKIPD_PG_SESSION_H

#include "base/fault.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first four to be filled in before the first use; they outlive the session; conninfo is the owner's. */
struct pg_session {
    const char *schema;            /* makes the tables, and fact 'version' */
    const char *const *statements; /* to be prepared, known by their places */
    int n_statements;
    char *conninfo;
    PGconn *db; /* NULL: not connected */
    /* private */
    struct fault why;
    uint64_t retry_at;
    uint32_t retry_ms;
};

struct pg_param {
    const void *data;
    size_t len;
    bool binary;
};

/* Connected, after an attempt where one is due? False: the reason is in `fault`. */
bool pg_ready(struct pg_session *s, struct fault *fault);

/* Ends the connection; whatever transaction is open is rolled back. */
void pg_drop(struct pg_session *s);

/* Runs text of one or more statements; `what` is told in errors. The caller's to PQclear(); NULL: with the
 * reason, and s->db is NULL if the connection is lost. */
PGresult *pg_query(struct pg_session *s, const char *sql, const char *what, struct fault *fault);

/* The same, where the result does not matter. */
bool pg_run(struct pg_session *s, const char *sql, const char *what, struct fault *fault);

/* Runs a prepared statement with up to 6 parameters, as pg_query(); results are binary. */
PGresult *pg_step(struct pg_session *s, int n, const struct pg_param *params, int count, struct fault *fault);

/* Rows that a statement changed; a number of a result's only row (as text). */
uint64_t pg_affected(PGresult *r);
uint64_t pg_number(const PGresult *r, int column);

#endif
