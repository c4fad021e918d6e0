/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/pg_session.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No statement takes longer: the database ends it, and if it does not, we leave. */
#define STATEMENT_MS "2000"
#define ANSWER_MS    3000
/* After a connection that could not be made, nothing is tried for this long; doubles. */
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 1000
#define PARAMS_MAX   6

static const char SETTINGS[] =
    "SET statement_timeout = " STATEMENT_MS "; SET lock_timeout = " STATEMENT_MS ";"
    "SET idle_in_transaction_session_timeout = 10000; SET client_min_messages = warning;"
    /* never weaker than a local disk; what is stronger (remote_apply) stays */
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/* ---- statements ---- */

void pg_drop(struct pg_session *s)
{
    PQfinish(s->db);
    s->db = NULL;
}

/* "store: what: the database's reason" */
static void failed(struct pg_session *s, const char *what, const PGresult *r, struct fault *fault)
{
    const char *reason = r != NULL ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char line[300];

    if (reason == NULL || reason[0] == '\0')
        reason = PQerrorMessage(s->db);
    snprintf(line, sizeof line, "%.*s", (int)strcspn(reason, "\n"), reason);
    fault_set(fault, "store: %s: %s", what, line[0] != '\0' ? line : "the connection is lost");
}

/* Waits until the socket is readable (or writable, if `out`). False: not within the time. */
static bool wait_ready(PGconn *db, bool out, uint64_t deadline)
{
    struct pollfd p = {.fd = PQsocket(db), .events = out ? POLLIN | POLLOUT : POLLIN};
    int n = 0;

    do
        n = poll(&p, 1, (int)clock_left_ms(deadline));
    while (n < 0 && errno == EINTR);
    return n > 0;
}

/* The last result of what has been sent. NULL, and no connection any more, if none came in time. */
static PGresult *answer(struct pg_session *s, const char *what, struct fault *fault)
{
    uint64_t deadline = clock_ms() + ANSWER_MS;
    PGresult *last = NULL, *r = NULL;
    int unsent = 0;

    while ((unsent = PQflush(s->db)) == 1)
        if (!wait_ready(s->db, true, deadline) || PQconsumeInput(s->db) != 1)
            goto lost;
    if (unsent < 0)
        goto lost;
    for (;;) {
        while (PQisBusy(s->db)) {
            if (!wait_ready(s->db, false, deadline)) {
                fault_set(fault, "store: %s: the database does not answer", what);
                PQclear(last);
                pg_drop(s);
                return NULL;
            }
            if (PQconsumeInput(s->db) != 1)
                goto lost;
        }
        r = PQgetResult(s->db);
        if (r == NULL)
            break;
        if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(r); /* the first failure tells most */
            continue;
        }
        PQclear(last);
        last = r;
    }
    if (PQstatus(s->db) != CONNECTION_BAD)
        return last;
lost:
    failed(s, what, last, fault);
    PQclear(last);
    pg_drop(s);
    return NULL;
}

/* Is it what was expected? Else clears it. */
static bool check(struct pg_session *s, PGresult *r, const char *what, struct fault *fault)
{
    ExecStatusType status = r != NULL ? PQresultStatus(r) : PGRES_FATAL_ERROR;

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return true;
    if (r != NULL) { /* else the reason has been told */
        failed(s, what, r, fault);
        PQclear(r);
    }
    return false;
}

/* Runs text of one or more statements. The caller's to PQclear(); NULL: with the reason. */
PGresult *pg_query(struct pg_session *s, const char *sql, const char *what, struct fault *fault)
{
    PGresult *r = NULL;

    if (s->db == NULL) {
        fault_set(fault, "store: %s: the connection is lost", what);
        return NULL;
    }
    if (PQsendQuery(s->db, sql) == 1)
        r = answer(s, what, fault);
    else
        failed(s, what, NULL, fault);
    return check(s, r, what, fault) ? r : NULL;
}

bool pg_run(struct pg_session *s, const char *sql, const char *what, struct fault *fault)
{
    PGresult *r = pg_query(s, sql, what, fault);

    PQclear(r);
    return r != NULL;
}

/* Runs a prepared statement; results are binary. The caller's to PQclear(); NULL: with the reason. */
PGresult *pg_step(struct pg_session *s, int n, const struct pg_param *params, int count, struct fault *fault)
{
    const char *values[PARAMS_MAX], *what = "statement";
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    char name[16];
    PGresult *r = NULL;

    if (s->db == NULL) {
        fault_set(fault, "store: %s: the connection is lost", what);
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        values[i] = params[i].data;
        lengths[i] = (int)params[i].len;
        formats[i] = params[i].binary;
    }
    snprintf(name, sizeof name, "s%d", n);
    if (PQsendQueryPrepared(s->db, name, count, values, lengths, formats, 1) == 1)
        r = answer(s, what, fault);
    else
        failed(s, what, NULL, fault);
    return check(s, r, what, fault) ? r : NULL;
}

uint64_t pg_affected(PGresult *r)
{
    return strtoull(PQcmdTuples(r), NULL, 10);
}

uint64_t pg_number(const PGresult *r, int column)
{
    char text[24] = "";

    if (PQntuples(r) == 1 && PQgetlength(r, 0, column) < (int)sizeof text)
        memcpy(text, PQgetvalue(r, 0, column), (size_t)PQgetlength(r, 0, column));
    return strtoull(text, NULL, 10);
}

/* ---- the connection ---- */

/* What the database must be like to keep a promise; with the settings of the session. */
static bool session_ready(struct pg_session *s, struct fault *fault)
{
    PGresult *r = NULL;
    bool ok = false;

    if (!pg_run(s, SETTINGS, "settings", fault))
        return false;
    r = pg_query(s, "SELECT current_setting('fsync'), pg_is_in_recovery()::text", "settings", fault);
    if (r == NULL)
        return false;
    if (strcmp(PQgetvalue(r, 0, 0), "on") != 0)
        fault_set(fault, "store: the database runs with fsync off: a delivered key could come back");
    else if (strcmp(PQgetvalue(r, 0, 1), "false") != 0)
        fault_set(fault, "store: this database is a standby");
    else
        ok = true;
    PQclear(r);
    return ok;
}

static bool statements_prepare(struct pg_session *s, struct fault *fault)
{
    PGresult *r = NULL;
    char name[16];

    for (int n = 0; n < s->n_statements; n++) {
        snprintf(name, sizeof name, "s%d", n);
        if (PQsendPrepare(s->db, name, s->statements[n], 0, NULL) != 1) {
            failed(s, "prepare", NULL, fault);
            return false;
        }
        r = answer(s, "prepare", fault);
        if (!check(s, r, "prepare", fault))
            return false;
        PQclear(r);
    }
    return true;
}

/* Makes the tables where there are none; several processes may start at once. */
static bool schema_ready(struct pg_session *s, struct fault *fault)
{
    PGresult *r = NULL;
    uint64_t version = 0;
    bool there = false;

    if (!pg_run(s, "BEGIN READ WRITE; SELECT pg_advisory_xact_lock(7236836104)", "create", fault))
        return false;
    r = pg_query(s, "SELECT to_regclass('skipd_fact') IS NOT NULL", "read", fault);
    if (r == NULL)
        return false;
    there = strcmp(PQgetvalue(r, 0, 0), "t") == 0;
    PQclear(r);
    if ((!there && !pg_run(s, s->schema, "create", fault)) || !pg_run(s, "COMMIT", "create", fault))
        return false;
    r = pg_query(s, "SELECT get_byte(value, 0)::text FROM skipd_fact WHERE name = 'version'", "read", fault);
    if (r == NULL)
        return false;
    version = pg_number(r, 0);
    PQclear(r);
    if (version != 1)
        fault_set(fault, "store: version %llu is not one of this skipd", (unsigned long long)version);
    return version == 1;
}

static void quiet(void *context, const PGresult *r)
{
    (void)context;
    (void)r;
}

/* What the operator's words leave open: nobody is trusted without a certificate, nothing waits for long. */
static bool connect_once(struct pg_session *s, struct fault *fault)
{
    static const char *const NAMES[] = {"sslmode",         "gssencmode",
                                        "connect_timeout", "tcp_user_timeout",
                                        "keepalives_idle", "fallback_application_name",
                                        "dbname",          NULL};
    const char *const values[] = {"verify-full", "disable", "2", "5000", "5", "skipd", s->conninfo, NULL};

    s->db = PQconnectdbParams(NAMES, values, 1);
    if (s->db == NULL) {
        fault_set(fault, "store: no memory");
        return false;
    }
    PQsetNoticeReceiver(s->db, quiet, NULL);
    if (PQstatus(s->db) != CONNECTION_OK) {
        failed(s, "connect", NULL, fault);
        return false;
    }
    if (PQsetnonblocking(s->db, 1) != 0 || !session_ready(s, fault) || !schema_ready(s, fault) ||
        !statements_prepare(s, fault)) {
        return false;
    }
    return true;
}

bool pg_ready(struct pg_session *s, struct fault *fault)
{
    bool again = s->why.text[0] != '\0';

    if (s->db != NULL)
        return true;
    if (again && clock_ms() < s->retry_at) {
        *fault = s->why;
        return false;
    }
    if (!connect_once(s, fault)) {
        pg_drop(s);
        s->why = *fault;
        s->retry_ms = again && s->retry_ms * 2 < RETRY_MAX_MS ? s->retry_ms * 2
                      : again                                 ? RETRY_MAX_MS
                                                              : RETRY_MIN_MS;
        s->retry_at = clock_ms() + s->retry_ms;
        return false;
    }
    if (again)
        log_write(LOG_LEVEL_NOTICE, "store: the database can be reached again");
    s->why.text[0] = '\0';
    return true;
}
