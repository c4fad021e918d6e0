/* SPDX-License-Identifier: BSD-2-Clause */
/* The store in PostgreSQL, shared by the key sources of one site. What has to hold between them is the
 * database's work: a value is taken by DELETE ... RETURNING, which gives it to one transaction only; the row
 * of its ID stays until it expires, under one unique index, so that no repeated put can bring it back. Time
 * is the database's clock, for all. (docs/skipd-sync.md)
 *
 * The connection is made anew when it breaks, with a pause between attempts during which everything fails at
 * once. If it breaks while a COMMIT is unanswered, nobody knows whether that transaction happened. The caller
 * is told that it did not, and before anything else is done over the next connection, that is made true:
 * the values that it took are put back, if it took them. Puts may be repeated anyway. Each take leaves its
 * taker's mark; only with this mark, and once, a take can be undone, so that what another has taken
 * meanwhile stays taken. */
#include "skipd/store.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "skipd/pg_session.h"
#include "skipd/store_clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tombstone outlives its key by this: longer than a repeated put can be on its way. Else a put that is read
 * after all that would bring a delivered key back. */
#define TOMBSTONE_GRACE "interval '60 s'"
/* How often rows are counted, since others add and delete, too; and how often if there seem to be too many.
 */
#define COUNT_EVERY_MS     5000
#define COUNT_WHEN_FULL_MS 1000
/* By how much the database's clock may differ from ours, over the time between two looks at it. */
#define CLOCK_STEP_MS 2000

static const char SCHEMA[] =
    "CREATE TABLE skipd_fact (name text PRIMARY KEY, value bytea NOT NULL);"
    /* a row without a skipd_value: delivered, to a client of the process of this mark */
    "CREATE TABLE skipd_key (id bytea PRIMARY KEY, initiator text COLLATE \"C\" NOT NULL,"
    " responder text COLLATE \"C\" NOT NULL, expires timestamptz NOT NULL, taker bytea);"
    "CREATE INDEX skipd_key_expires ON skipd_key (expires);"
    "CREATE TABLE skipd_value (id bytea PRIMARY KEY REFERENCES skipd_key ON DELETE CASCADE,"
    " value bytea NOT NULL);"
    "INSERT INTO skipd_fact VALUES ('version', '\\x01');";

enum statement { LOOK, PUT, TAKE, LOCK, RESTORE, EXPIRE, FACT_READ, FACT_WRITE, STATEMENTS };

#define ROW_OF_TWO "id = $1 AND initiator = $2 AND responder = $3 AND expires > statement_timestamp()"

static const char *const STATEMENT_TEXT[STATEMENTS] = {
    [LOOK] = "SELECT (SELECT value FROM skipd_value v WHERE v.id = k.id) FROM skipd_key k WHERE " ROW_OF_TWO,
    [PUT] = "WITH k AS (INSERT INTO skipd_key (id, initiator, responder, expires)"
            " VALUES ($1, $2, $3, statement_timestamp() + $4::bigint * interval '1 ms')"
            " ON CONFLICT (id) DO NOTHING RETURNING id)"
            " INSERT INTO skipd_value SELECT id, $5 FROM k",
    [TAKE] = "WITH gone AS (DELETE FROM skipd_value WHERE id IN (SELECT id FROM skipd_key WHERE " ROW_OF_TWO
             ") RETURNING id, value),"
             " mark AS (UPDATE skipd_key k SET taker = $4, expires = expires + " TOMBSTONE_GRACE
             " FROM gone WHERE k.id = gone.id"
             " RETURNING k.expires - " TOMBSTONE_GRACE " - statement_timestamp() AS rest)"
             " SELECT value, (extract(epoch FROM rest) * 1000)::bigint::text FROM gone, mark",
    [LOCK] = "SELECT 1 FROM skipd_key WHERE id = $1 FOR UPDATE",
    [RESTORE] = "WITH k AS (UPDATE skipd_key SET taker = NULL, expires = expires - " TOMBSTONE_GRACE
                " WHERE id = $1 AND taker = $3 AND expires - " TOMBSTONE_GRACE
                " > statement_timestamp() RETURNING id)"
                " INSERT INTO skipd_value SELECT id, $2 FROM k",
    /* two cleaners do not wait for each other */
    [EXPIRE] = "WITH old AS (SELECT id FROM skipd_key WHERE expires <= statement_timestamp()"
               " ORDER BY expires LIMIT $1::bigint FOR UPDATE SKIP LOCKED),"
               " v AS (DELETE FROM skipd_value WHERE id IN (SELECT id FROM old) RETURNING 1),"
               " k AS (DELETE FROM skipd_key WHERE id IN (SELECT id FROM old) RETURNING 1)"
               " SELECT (SELECT count(*) FROM k)::text, (SELECT count(*) FROM v)::text,"
               " (extract(epoch FROM statement_timestamp()) * 1000)::bigint::text",
    [FACT_READ] = "SELECT value FROM skipd_fact WHERE name = $1",
    [FACT_WRITE] = "INSERT INTO skipd_fact VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
};

/* A value that was taken in the present transaction. */
struct taken {
    uint8_t id[KEY_ID_MAX];
    size_t id_len;
    uint8_t sealed[STORE_SEALED_MAX];
    size_t sealed_len;
};

struct store {
    struct pg_session session;
    uint8_t mark[16]; /* of this process */
    uint64_t rows, waiting;
    uint64_t rows_before, waiting_before; /* at begin, for a rollback */
    uint64_t counted_at;
    int64_t clock_lead; /* the database's clock less CLOCK_BOOTTIME; 0: not known */
    bool committing;    /* a COMMIT is out, and its answer has not come: `taken` has to be put back */
    struct taken *taken;
    size_t n_taken, room;
};

/* A row's value into `found`. False: it does not fit. */
static bool value_copy(const PGresult *r, uint8_t *found, size_t *len, struct fault *fault)
{
    *len = (size_t)PQgetlength(r, 0, 0);
    if (*len > STORE_SEALED_MAX) {
        *len = 0;
        fault_set(fault, "store: a value has an impossible size");
        return false;
    }
    memcpy(found, PQgetvalue(r, 0, 0), *len);
    return true;
}

static bool count_rows(struct store *s, struct fault *fault)
{
    PGresult *r = pg_query(&s->session,
                           "SELECT (SELECT count(*) FROM skipd_key)::text,"
                           " (SELECT count(*) FROM skipd_value)::text",
                           "count", fault);

    if (r == NULL)
        return false;
    s->rows = pg_number(r, 0);
    s->waiting = pg_number(r, 1);
    s->counted_at = clock_ms();
    PQclear(r);
    return true;
}

/* ---- transactions ---- */

static bool restore_value(struct store *s, const struct taken *t, uint64_t *count, struct fault *fault)
{
    const struct pg_param params[] = {
        {t->id, t->id_len, true}, {t->sealed, t->sealed_len, true}, {s->mark, sizeof s->mark, true}};
    PGresult *r = pg_step(&s->session, RESTORE, params, 3, fault);

    if (r == NULL)
        return false;
    *count += pg_affected(r);
    PQclear(r);
    return true;
}

/* Makes true that the transaction whose COMMIT was not answered has not happened. If the database is still at
 * it, LOCK waits for its end. */
static bool commit_undo(struct store *s, struct fault *fault)
{
    uint64_t count = 0;

    if (!pg_run(&s->session, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "begin", fault))
        return false;
    for (size_t i = 0; i < s->n_taken; i++) {
        const struct pg_param id = {s->taken[i].id, s->taken[i].id_len, true};
        PGresult *r = pg_step(&s->session, LOCK, &id, 1, fault);

        PQclear(r);
        if (r == NULL || !restore_value(s, &s->taken[i], &count, fault))
            return false;
    }
    if (!pg_run(&s->session, "COMMIT", "commit", fault) || !count_rows(s, fault))
        return false;
    log_write(LOG_LEVEL_NOTICE, "store: a commit was not answered: %llu of its %zu keys were put back",
              (unsigned long long)count, s->n_taken);
    s->committing = false;
    s->n_taken = 0;
    return true;
}

static void postgresql_rollback(struct store *s)
{
    struct fault ignored = {0};

    if (s->session.db != NULL && PQtransactionStatus(s->session.db) != PQTRANS_IDLE &&
        !pg_run(&s->session, "ROLLBACK", "rollback", &ignored))
        pg_drop(&s->session);
    s->rows = s->rows_before;
    s->waiting = s->waiting_before;
}

static bool postgresql_begin(struct store *s, struct fault *fault)
{
    /* A connection that broke while nothing was to be done shows it now; nothing is lost by another one. */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!pg_ready(&s->session, fault))
            break;
        if ((!s->committing || commit_undo(s, fault)) &&
            pg_run(&s->session, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "begin", fault)) {
            s->rows_before = s->rows;
            s->waiting_before = s->waiting;
            s->n_taken = 0;
            return true;
        }
        pg_drop(&s->session);
    }
    s->rows_before = s->rows;
    s->waiting_before = s->waiting;
    return false;
}

static bool postgresql_commit(struct store *s, struct fault *fault)
{
    PGresult *r = NULL;
    bool ok = false;

    s->committing = s->session.db != NULL;
    r = pg_query(&s->session, "COMMIT", "commit", fault);
    if (r != NULL) {
        /* of a transaction that has failed, COMMIT says ROLLBACK */
        ok = strcmp(PQcmdStatus(r), "COMMIT") == 0;
        if (!ok)
            fault_set(fault, "store: commit: the database has rolled back");
        PQclear(r);
    }
    if (s->session.db != NULL) /* it has answered, whatever */
        s->committing = false;
    if (ok)
        s->n_taken = 0;
    return ok;
}

/* ---- keys ---- */

static struct pg_param pg_text(const char *text)
{
    return (struct pg_param){text, strlen(text), false};
}

/* The three parameters that most statements begin with. */
static void row_params(const struct store_row *row, struct pg_param params[static 3])
{
    params[0] = (struct pg_param){row->id, row->id_len, true};
    params[1] = pg_text(row->initiator);
    params[2] = pg_text(row->responder);
}

/* What is there under row's ID, for its two systems? STORE_EXISTS (its value then is in row->found),
 * STORE_DELIVERED, STORE_NOT_FOUND or STORE_FAILED. */
static enum store_result look(struct store *s, struct store_row *row, struct fault *fault)
{
    enum store_result result = STORE_NOT_FOUND;
    struct pg_param params[3];
    PGresult *r = NULL;

    row_params(row, params);
    r = pg_step(&s->session, LOOK, params, 3, fault);
    if (r == NULL)
        return STORE_FAILED;
    if (PQntuples(r) == 1 && PQgetisnull(r, 0, 0))
        result = STORE_DELIVERED;
    else if (PQntuples(r) == 1)
        result = value_copy(r, row->found, &row->found_len, fault) ? STORE_EXISTS : STORE_FAILED;
    PQclear(r);
    return result;
}

static bool is_full(const struct store *s, const struct store_row *row)
{
    return s->waiting >= row->limit || s->rows >= row->limit_rows;
}

static enum store_result postgresql_put(struct store *s, struct store_row *row, struct fault *fault)
{
    enum store_result result = STORE_OK;
    struct pg_param params[5];
    PGresult *r = NULL;
    bool stored = false;
    char ttl[24];

    row->found_len = 0;
    /* others may have made room */
    if (is_full(s, row) && clock_ms() - s->counted_at > COUNT_WHEN_FULL_MS && !count_rows(s, fault))
        return STORE_FAILED;
    if (is_full(s, row)) {
        result = look(s, row, fault);
        return result == STORE_NOT_FOUND ? STORE_FULL : result;
    }
    row_params(row, params);
    snprintf(ttl, sizeof ttl, "%llu", (unsigned long long)row->ttl_ms);
    params[3] = pg_text(ttl);
    params[4] = (struct pg_param){row->sealed, row->sealed_len, true};
    r = pg_step(&s->session, PUT, params, 5, fault);
    if (r == NULL)
        return STORE_FAILED;
    stored = pg_affected(r) == 1;
    PQclear(r);
    if (stored) {
        s->rows++;
        s->waiting++;
        return STORE_OK;
    }
    result = look(s, row, fault);
    /* of other systems, or expired: a key ID means one key, and is never overwritten */
    return result == STORE_NOT_FOUND ? STORE_EXISTS : result;
}

/* Remembers what was taken, until the commit. */
static bool taken_note(struct store *s, const struct store_row *row)
{
    struct taken *t = NULL;

    if (s->n_taken == s->room) {
        t = reallocarray(s->taken, s->room + 64, sizeof *t);
        if (t == NULL)
            return false;
        s->taken = t;
        s->room += 64;
    }
    t = &s->taken[s->n_taken++];
    memcpy(t->id, row->id, row->id_len);
    t->id_len = row->id_len;
    memcpy(t->sealed, row->found, row->found_len);
    t->sealed_len = row->found_len;
    return true;
}

static enum store_result postgresql_take(struct store *s, struct store_row *row, struct fault *fault)
{
    enum store_result result = STORE_FAILED;
    struct pg_param params[4];
    PGresult *r = NULL;

    row->found_len = 0;
    row_params(row, params);
    params[3] = (struct pg_param){s->mark, sizeof s->mark, true};
    r = pg_step(&s->session, TAKE, params, 4, fault);
    if (r == NULL)
        return STORE_FAILED;
    if (PQntuples(r) == 0) {
        result = look(s, row, fault);
        row->found_len = 0;
        if (result == STORE_EXISTS) { /* it was put, or put back, between the two statements */
            fault_set(fault, "store: a key came while it was asked for");
            result = STORE_FAILED;
        }
    } else if (value_copy(r, row->found, &row->found_len, fault)) {
        row->left_ms = pg_number(r, 1);
        if (taken_note(s, row)) {
            result = STORE_OK;
            s->waiting -= s->waiting > 0;
        } else {
            fault_set(fault, "store: no memory");
        }
    }
    PQclear(r);
    return result;
}

static enum store_result postgresql_restore(struct store *s, const struct store_row *row, struct fault *fault)
{
    struct taken t = {.id_len = row->id_len, .sealed_len = row->sealed_len};
    uint64_t count = 0;

    memcpy(t.id, row->id, row->id_len);
    memcpy(t.sealed, row->sealed, row->sealed_len);
    if (!restore_value(s, &t, &count, fault))
        return STORE_FAILED;
    s->waiting += count;
    return count > 0 ? STORE_OK : STORE_NOT_FOUND;
}

/* The database's clock decides when keys expire: a step of it is worth a line. */
static void clock_watch(struct store *s, int64_t database_ms)
{
    int64_t lead = database_ms - store_clock_now().boot_ms, step_ms = lead - s->clock_lead;

    if (s->clock_lead != 0 && (step_ms > CLOCK_STEP_MS || step_ms < -CLOCK_STEP_MS))
        log_write(LOG_LEVEL_WARNING,
                  "store: the database's clock was set by %+lld s: keys expire so much %s", //
                  (long long)step_ms / 1000, step_ms > 0 ? "earlier" : "later");
    s->clock_lead = lead;
}

static enum store_result postgresql_expire(struct store *s, bool *more, struct fault *fault)
{
    char most[24];
    struct pg_param param;
    PGresult *r = NULL;
    uint64_t keys = 0, values = 0;

    snprintf(most, sizeof most, "%d", STORE_EXPIRE_AT_ONCE);
    param = pg_text(most);
    r = pg_step(&s->session, EXPIRE, &param, 1, fault);
    if (r == NULL)
        return STORE_FAILED;
    keys = pg_number(r, 0);
    values = pg_number(r, 1);
    clock_watch(s, (int64_t)pg_number(r, 2));
    PQclear(r);
    s->rows -= keys < s->rows ? keys : s->rows;
    s->waiting -= values < s->waiting ? values : s->waiting;
    *more = keys == STORE_EXPIRE_AT_ONCE;
    if (clock_ms() - s->counted_at > COUNT_EVERY_MS && !count_rows(s, fault))
        return STORE_FAILED;
    return STORE_OK;
}

static uint64_t postgresql_waiting(const struct store *s)
{
    return s->waiting;
}

/* ---- facts ---- */

static enum store_result fact_read(struct store *s, const char *name, uint8_t *out, size_t len,
                                   struct fault *fault)
{
    const struct pg_param param = pg_text(name);
    enum store_result result = STORE_NOT_FOUND;
    PGresult *r = pg_step(&s->session, FACT_READ, &param, 1, fault);

    if (r == NULL)
        return STORE_FAILED;
    if (PQntuples(r) == 1 && (size_t)PQgetlength(r, 0, 0) == len) {
        memcpy(out, PQgetvalue(r, 0, 0), len);
        result = STORE_OK;
    } else if (PQntuples(r) == 1) {
        fault_set(fault, "store: fact '%s' has another size than expected", name);
        result = STORE_FAILED;
    }
    PQclear(r);
    return result;
}

static enum store_result fact_write(struct store *s, const char *name, struct span value, struct fault *fault)
{
    const struct pg_param params[] = {pg_text(name), {value.data, value.len, true}};
    PGresult *r = pg_step(&s->session, FACT_WRITE, params, 2, fault);

    PQclear(r);
    return r != NULL ? STORE_OK : STORE_FAILED;
}

/* ---- opening ---- */

static bool is_local(const char *host)
{
    struct in_addr in;
    struct in6_addr in6;

    if (inet_pton(AF_INET, host, &in) == 1)
        return ntohl(in.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &in6) == 1)
        return memcmp(&in6, &in6addr_loopback, sizeof in6) == 0;
    return host[0] == '/' || host[0] == '@' || strcmp(host, "localhost") == 0;
}

/* Is each host of the list one of this machine? */
static bool all_local(const char *hosts)
{
    char host[300];

    for (const char *p = hosts; *p != '\0';) {
        size_t n = strcspn(p, ",");

        snprintf(host, sizeof host, "%.*s", (int)n, p);
        if (n > 0 && !is_local(host))
            return false;
        p += n + (p[n] == ',');
    }
    return true;
}

/* Weaker TLS is for a database that the text itself says to be here: libpq would take what it leaves open
 * from a service file or the environment. libpq's own message may quote a piece of a password: it is not
 * told. */
static bool postgresql_check(const char *where, struct fault *fault)
{
    PQconninfoOption *options = PQconninfoParse(where, NULL);
    bool local = getenv("PGSERVICE") == NULL && getenv("PGHOSTADDR") == NULL, named = false, weak = false;

    if (options == NULL) {
        fault_set(fault, "this is no connection string of libpq (keyword=value ..., or postgresql://...)");
        return false;
    }
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        if (strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0) {
            named = named || o->val[0] != '\0';
            local = local && all_local(o->val);
        } else if (strcmp(o->keyword, "service") == 0) {
            local = false;
        } else if (strcmp(o->keyword, "sslmode") == 0) {
            weak = strcmp(o->val, "verify-full") != 0;
        }
    }
    PQconninfoFree(options);
    if (!weak || (named && local))
        return true;
    fault_set(fault,
              "only where 'host' says that the database is on this machine (and no service, PGSERVICE or "
              "PGHOSTADDR says more), sslmode can be another than verify-full");
    return false;
}

static void postgresql_close(struct store *s)
{
    if (s == NULL)
        return;
    if (s->committing && s->n_taken > 0)
        log_write(LOG_LEVEL_WARNING, "store: a commit was not answered: %zu keys may be lost", s->n_taken);
    pg_drop(&s->session);
    free(s->taken);
    free(s->session.conninfo);
    free(s);
}

static struct store *postgresql_open(const char *where, struct fault *fault)
{
    struct store *s = calloc(1, sizeof *s);

    if (s == NULL || (s->session.conninfo = strdup(where)) == NULL ||
        !crypto_random(s->mark, sizeof s->mark)) {
        fault_set(fault, "no memory for the store, or no randomness");
        goto bad;
    }
    s->session.schema = SCHEMA;
    s->session.statements = STATEMENT_TEXT;
    s->session.n_statements = STATEMENTS;
    if (!postgresql_check(where, fault) || !pg_ready(&s->session, fault) || !count_rows(s, fault))
        goto bad;
    return s;
bad:
    postgresql_close(s);
    fault_prefix(fault, "postgresql");
    return NULL;
}

const struct store_kind store_postgresql = {
    .check = postgresql_check,
    .open = postgresql_open,
    .close = postgresql_close,
    .fact_read = fact_read,
    .fact_write = fact_write,
    .begin = postgresql_begin,
    .commit = postgresql_commit,
    .rollback = postgresql_rollback,
    .put = postgresql_put,
    .take = postgresql_take,
    .restore = postgresql_restore,
    .expire = postgresql_expire,
    .waiting = postgresql_waiting,
};
