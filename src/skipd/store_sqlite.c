/* SPDX-License-Identifier: BSD-2-Clause */
/* The store in SQLite: one file, held exclusively, WAL with a full sync at every commit. */
#include "skipd/store.h"

#include "skipd/store_clock.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SCHEMA_VERSION 1
/* A tombstone outlives its key by this, in ms: longer than a repeated put can be on its way. Else a put that
 * is read after all that would bring a delivered key back. */
#define TOMBSTONE_GRACE "60000"

static const char SCHEMA[] =
    "CREATE TABLE fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;"
    /* value NULL: delivered. expires: CLOCK_BOOTTIME of the boot in fact 'boot'; wall and ttl: to go by after
       a reboot. ms. */
    "CREATE TABLE key (id BLOB PRIMARY KEY, initiator TEXT NOT NULL, responder TEXT NOT NULL, value BLOB,"
    " expires INTEGER NOT NULL, wall INTEGER NOT NULL, ttl INTEGER NOT NULL) WITHOUT ROWID, STRICT;"
    "CREATE INDEX key_expires ON key (expires);"
    "PRAGMA user_version = 1;";

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    LOOK,
    PUT,
    TAKE,
    RESTORE,
    EXPIRE,
    FACT_READ,
    FACT_WRITE,
    STATEMENTS
};

static const char EXPIRE_TEXT[] =
    "DELETE FROM key WHERE id IN (SELECT id FROM key WHERE expires <= ?1 ORDER BY expires LIMIT ?2)"
    " RETURNING value IS NOT NULL";

static const char TAKE_TEXT[] =
    "UPDATE key SET value = NULL, expires = expires + " TOMBSTONE_GRACE " WHERE id = ?1";
static const char RESTORE_TEXT[] =
    "UPDATE key SET value = ?2, expires = expires - " TOMBSTONE_GRACE " WHERE id = ?1 AND value IS NULL";

static const char *const STATEMENT_TEXT[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [LOOK] = "SELECT value, initiator, responder, expires FROM key WHERE id = ?1",
    [PUT] = "INSERT INTO key VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [TAKE] = TAKE_TEXT,
    [RESTORE] = RESTORE_TEXT,
    [EXPIRE] = EXPIRE_TEXT,
    [FACT_READ] = "SELECT value FROM fact WHERE name = ?1",
    [FACT_WRITE] = "INSERT OR REPLACE INTO fact (name, value) VALUES (?1, ?2)",
};

/* Which file it is. */
struct file_mark {
    char *path;
    dev_t device;
    ino_t inode; /* 0: not known yet */
};

struct store {
    sqlite3 *db;
    struct file_mark files[2]; /* the database, and its write-ahead log */
    sqlite3_stmt *statements[STATEMENTS];
    uint64_t rows, waiting;
    uint64_t rows_before, waiting_before; /* at begin, for a rollback */
    bool unbound;                         /* see bound() */
};

/* "what: SQLite's reason" */
static void failed(struct store *s, const char *what, struct fault *fault)
{
    fault_set(fault, "store: %s: %s", what, sqlite3_errmsg(s->db));
}

/* Runs text; false: with the reason. */
static bool run(struct store *s, const char *sql, struct fault *fault)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    failed(s, sql[0] == 'C' ? "create" : sql, fault);
    return false;
}

/* The first column of the first row, as a number or text. */
static bool ask(struct store *s, const char *sql, int64_t *number, char *text, size_t room,
                struct fault *fault)
{
    sqlite3_stmt *st = NULL;
    bool ok = false;

    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) {
        if (number != NULL)
            *number = sqlite3_column_int64(st, 0);
        if (text != NULL)
            sqlite3_snprintf((int)room, text, "%s", sqlite3_column_text(st, 0));
        ok = true;
    } else {
        failed(s, sql, fault);
    }
    sqlite3_finalize(st);
    return ok;
}

/* The first column's value, of `len` bytes. False: SQLite has no memory for it. */
static bool blob_copy(struct store *s, sqlite3_stmt *st, uint8_t *out, size_t len, struct fault *fault)
{
    const void *value = sqlite3_column_blob(st, 0);

    if (value == NULL && len > 0) {
        failed(s, "read", fault);
        return false;
    }
    if (len > 0)
        memcpy(out, value, len);
    return true;
}

/* A value that could not be bound fails the statement's next step: it must not be carried out without it. */
static void bound(struct store *s, int code)
{
    s->unbound = s->unbound || code != SQLITE_OK;
}

static int step_next(struct store *s, sqlite3_stmt *st)
{
    int code = s->unbound ? SQLITE_NOMEM : sqlite3_step(st);

    s->unbound = false;
    return code;
}

/* Steps a statement that gives no row, and makes it ready for the next time. */
static bool step_done(struct store *s, enum statement n, struct fault *fault)
{
    bool ok = step_next(s, s->statements[n]) == SQLITE_DONE;

    if (!ok)
        failed(s, "write", fault);
    sqlite3_reset(s->statements[n]);
    sqlite3_clear_bindings(s->statements[n]);
    return ok;
}

static void bind_blob(struct store *s, enum statement n, int i, const void *data, size_t len)
{
    bound(s, sqlite3_bind_blob(s->statements[n], i, data, (int)len, SQLITE_STATIC));
}

static enum store_result fact_read(struct store *s, const char *name, uint8_t *out, size_t len,
                                   struct fault *fault)
{
    sqlite3_stmt *st = s->statements[FACT_READ];
    enum store_result r = STORE_NOT_FOUND;
    int step = 0;

    bound(s, sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC));
    step = step_next(s, st);
    if (step == SQLITE_ROW && (size_t)sqlite3_column_bytes(st, 0) == len) {
        r = blob_copy(s, st, out, len, fault) ? STORE_OK : STORE_FAILED;
    } else if (step != SQLITE_DONE) {
        if (step == SQLITE_ROW)
            fault_set(fault, "store: fact '%s' has another size than expected", name);
        else
            failed(s, "read", fault);
        r = STORE_FAILED;
    }
    sqlite3_reset(st);
    return r;
}

static enum store_result fact_write(struct store *s, const char *name, struct span value, struct fault *fault)
{
    bound(s, sqlite3_bind_text(s->statements[FACT_WRITE], 1, name, -1, SQLITE_STATIC));
    bind_blob(s, FACT_WRITE, 2, value.data, value.len);
    return step_done(s, FACT_WRITE, fault) ? STORE_OK : STORE_FAILED;
}

static bool settings_apply(struct store *s, struct fault *fault)
{
    char mode[16] = "";

    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!run(s, "PRAGMA trusted_schema = OFF", fault) || !run(s, "PRAGMA cell_size_check = ON", fault) ||
        !run(s, "PRAGMA locking_mode = EXCLUSIVE", fault) || !run(s, "PRAGMA secure_delete = ON", fault) ||
        !ask(s, "PRAGMA journal_mode = WAL", NULL, mode, sizeof mode, fault) ||
        !run(s, "PRAGMA synchronous = FULL", fault))
        return false;
    if (strcmp(mode, "wal") != 0) {
        fault_set(fault, "store: no write-ahead log on this file system (journal mode '%s')", mode);
        return false;
    }
    return true;
}

static bool schema_ready(struct store *s, struct fault *fault)
{
    int64_t version = 0;
    char check[64] = "";

    if (!ask(s, "PRAGMA user_version", &version, NULL, 0, fault))
        return false;
    if (version == 0) {
        if (!run(s, "BEGIN EXCLUSIVE", fault))
            return false;
        if (!run(s, SCHEMA, fault) || !run(s, "COMMIT", fault)) {
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return false;
        }
        return true;
    }
    if (version != SCHEMA_VERSION) {
        fault_set(fault, "store: made by another version (schema %lld)", (long long)version);
        return false;
    }
    if (!ask(s, "PRAGMA quick_check(1)", NULL, check, sizeof check, fault))
        return false;
    if (strcmp(check, "ok") != 0) {
        fault_set(fault, "store: damaged: %s", check);
        return false;
    }
    return true;
}

/* Rows of another boot get their expiry on this boot's clock, from the wall clock, but never more than their
 * whole lifetime: a wall clock that was set back while the machine was off makes no key immortal. */
static bool boot_adopt(struct store *s, struct fault *fault)
{
    char boot[BOOT_ID_LEN + 1] = "", stored[BOOT_ID_LEN + 1] = "";
    struct store_clock now = store_clock_now();
    char sql[300];

    if (!store_clock_boot_id(boot))
        memset(boot, '?', BOOT_ID_LEN);
    switch (fact_read(s, "boot", (uint8_t *)stored, BOOT_ID_LEN, fault)) {
    case STORE_OK:
        if (strcmp(boot, stored) == 0 && boot[0] != '?')
            return true;
        break;
    case STORE_NOT_FOUND:
        break;
    default:
        return false;
    }
    sqlite3_snprintf(sizeof sql, sql, "UPDATE key SET expires = %lld + max(0, min(ttl, wall - %lld))",
                     (long long)now.boot_ms, (long long)now.wall_ms);
    if (!run(s, "BEGIN IMMEDIATE", fault))
        return false;
    if (!run(s, sql, fault) ||
        fact_write(s, "boot", (struct span){(const uint8_t *)boot, BOOT_ID_LEN}, fault) != STORE_OK ||
        !run(s, "COMMIT", fault)) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        return false;
    }
    return true;
}

static void sqlite_close(struct store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    for (size_t i = 0; i < sizeof s->files / sizeof s->files[0]; i++)
        free(s->files[i].path);
    free(s);
}

/* SQLite goes on writing to a file that somebody has removed or replaced; what it writes there is gone when
 * it is opened again. */
static bool files_are_there(struct store *s, struct fault *fault)
{
    for (size_t i = 0; i < sizeof s->files / sizeof s->files[0]; i++) {
        struct file_mark *f = &s->files[i];
        struct stat st;

        if (stat(f->path, &st) == 0 && (f->inode == 0 || (f->inode == st.st_ino && f->device == st.st_dev))) {
            f->device = st.st_dev;
            f->inode = st.st_ino;
        } else {
            fault_set(fault, "store: %s was removed, or another file is in its place", f->path);
            return false;
        }
    }
    return true;
}

/* The file's name with the links of its folder resolved: systemd's state directories are links, and SQLite,
 * which is to follow none to the file itself, does not tell the two apart. NULL with the reason in `fault`.
 */
static char *path_resolve(const char *where, struct fault *fault)
{
    const char *slash = strrchr(where, '/');
    char *folder = slash != NULL ? strndup(where, (size_t)(slash - where) + 1) : strdup(".");
    char *real = folder != NULL ? realpath(folder, NULL) : NULL;
    char *path = NULL;

    if (real == NULL)
        fault_set(fault, "store: %s: %s", folder != NULL ? folder : where, strerrordesc_np(errno));
    else if (asprintf(&path, "%s/%s", real, slash != NULL ? slash + 1 : where) < 0) {
        fault_set(fault, "no memory for the store");
        path = NULL;
    }
    free(folder);
    free(real);
    return path;
}

static struct store *sqlite_open(const char *where, struct fault *fault)
{
    struct store *s = calloc(1, sizeof *s);
    char *path = NULL;
    int64_t rows = 0, waiting = 0;
    mode_t before = 0;
    int r = 0;

    if (s == NULL) {
        fault_set(fault, "no memory for the store");
        return NULL;
    }
    path = path_resolve(where, fault);
    if (path == NULL) {
        fault_prefix(fault, "%s", where);
        free(s);
        return NULL;
    }
    before = umask(077);
    r = sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                            SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
                        NULL);
    s->files[0].path = path;
    if (asprintf(&s->files[1].path, "%s-wal", path) < 0)
        s->files[1].path = NULL;
    if (s->files[1].path == NULL) {
        fault_set(fault, "no memory for the store");
        goto bad;
    }
    if (r != SQLITE_OK || !settings_apply(s, fault) || !schema_ready(s, fault)) {
        if (r != SQLITE_OK)
            fault_set(fault, "store: %s", s->db != NULL ? sqlite3_errmsg(s->db) : "no memory");
        goto bad;
    }
    for (size_t i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(s->db, STATEMENT_TEXT[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i],
                               NULL) != SQLITE_OK) {
            failed(s, "prepare", fault);
            goto bad;
        }
    if (!boot_adopt(s, fault) || !ask(s, "SELECT count(*) FROM key", &rows, NULL, 0, fault) ||
        !ask(s, "SELECT count(*) FROM key WHERE value IS NOT NULL", &waiting, NULL, 0, fault))
        goto bad;
    if (!files_are_there(s, fault))
        goto bad;
    s->rows = (uint64_t)rows;
    s->waiting = (uint64_t)waiting;
    umask(before);
    return s;
bad:
    umask(before);
    fault_prefix(fault, "%s", where);
    sqlite_close(s);
    return NULL;
}

static bool sqlite_begin(struct store *s, struct fault *fault)
{
    s->rows_before = s->rows;
    s->waiting_before = s->waiting;
    return step_done(s, BEGIN, fault);
}

static bool sqlite_commit(struct store *s, struct fault *fault)
{
    return files_are_there(s, fault) && step_done(s, COMMIT, fault);
}

static void sqlite_rollback(struct store *s)
{
    /* a full disk may have rolled back by itself */
    if (!sqlite3_get_autocommit(s->db))
        step_done(s, ROLLBACK, NULL);
    s->rows = s->rows_before;
    s->waiting = s->waiting_before;
}

static bool column_is(sqlite3_stmt *st, int column, const char *text)
{
    const char *have = (const char *)sqlite3_column_text(st, column);

    return have != NULL && strcmp(have, text) == 0;
}

/* What is there under row's ID? STORE_EXISTS (its value then is in row->found, and for how long it is
 * there yet in row->left_ms), STORE_DELIVERED,
 * STORE_NOT_FOUND (nothing; or something expired or of other systems: then *others) or STORE_FAILED. */
static enum store_result look(struct store *s, struct store_row *row, bool *others, struct fault *fault)
{
    sqlite3_stmt *st = s->statements[LOOK];
    enum store_result r = STORE_NOT_FOUND;
    int64_t left_ms = 0;
    int step = 0;
    size_t len = 0;

    *others = false;
    row->found_len = 0;
    bind_blob(s, LOOK, 1, row->id, row->id_len);
    step = step_next(s, st);
    if (step == SQLITE_ROW) {
        len = (size_t)sqlite3_column_bytes(st, 0);
        left_ms = sqlite3_column_int64(st, 3) - store_clock_now().boot_ms;
        if (!column_is(st, 1, row->initiator) || !column_is(st, 2, row->responder) || left_ms <= 0) {
            *others = true;
        } else if (sqlite3_column_type(st, 0) == SQLITE_NULL) {
            r = STORE_DELIVERED;
        } else if (len > sizeof row->found) {
            fault_set(fault, "store: a value has an impossible size");
            r = STORE_FAILED;
        } else {
            row->found_len = len;
            row->left_ms = (uint64_t)left_ms;
            r = blob_copy(s, st, row->found, len, fault) ? STORE_EXISTS : STORE_FAILED;
        }
    } else if (step != SQLITE_DONE) {
        failed(s, "read", fault);
        r = STORE_FAILED;
    }
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return r;
}

static enum store_result sqlite_put(struct store *s, struct store_row *row, struct fault *fault)
{
    sqlite3_stmt *st = s->statements[PUT];
    struct store_clock now = store_clock_now();
    bool others = false;
    enum store_result r = look(s, row, &others, fault);

    if (r != STORE_NOT_FOUND)
        return r;
    if (others) /* a key ID means one key: never overwritten */
        return STORE_EXISTS;
    if (s->waiting >= row->limit || s->rows >= row->limit_rows)
        return STORE_FULL;
    bind_blob(s, PUT, 1, row->id, row->id_len);
    bound(s, sqlite3_bind_text(st, 2, row->initiator, -1, SQLITE_STATIC));
    bound(s, sqlite3_bind_text(st, 3, row->responder, -1, SQLITE_STATIC));
    bind_blob(s, PUT, 4, row->sealed, row->sealed_len);
    bound(s, sqlite3_bind_int64(st, 5, now.boot_ms + (int64_t)row->ttl_ms));
    bound(s, sqlite3_bind_int64(st, 6, now.wall_ms + (int64_t)row->ttl_ms));
    bound(s, sqlite3_bind_int64(st, 7, (int64_t)row->ttl_ms));
    if (!step_done(s, PUT, fault))
        return STORE_FAILED;
    s->rows++;
    s->waiting++;
    return STORE_OK;
}

static enum store_result sqlite_take(struct store *s, struct store_row *row, struct fault *fault)
{
    bool others = false;
    enum store_result r = look(s, row, &others, fault);

    if (r != STORE_EXISTS)
        return r;
    bind_blob(s, TAKE, 1, row->id, row->id_len);
    if (!step_done(s, TAKE, fault))
        return STORE_FAILED;
    s->waiting--;
    return STORE_OK;
}

static enum store_result sqlite_restore(struct store *s, const struct store_row *row, struct fault *fault)
{
    bind_blob(s, RESTORE, 1, row->id, row->id_len);
    bind_blob(s, RESTORE, 2, row->sealed, row->sealed_len);
    if (!step_done(s, RESTORE, fault))
        return STORE_FAILED;
    if (sqlite3_changes(s->db) == 0)
        return STORE_NOT_FOUND;
    s->waiting++;
    return STORE_OK;
}

static enum store_result sqlite_expire(struct store *s, bool *more, struct fault *fault)
{
    sqlite3_stmt *st = s->statements[EXPIRE];
    unsigned gone = 0;
    int step = 0;

    bound(s, sqlite3_bind_int64(st, 1, store_clock_now().boot_ms));
    bound(s, sqlite3_bind_int(st, 2, STORE_EXPIRE_AT_ONCE));
    while ((step = step_next(s, st)) == SQLITE_ROW) {
        gone++;
        s->rows--;
        s->waiting -= (uint64_t)sqlite3_column_int(st, 0);
    }
    if (step != SQLITE_DONE)
        failed(s, "expire", fault);
    sqlite3_reset(st);
    *more = gone == STORE_EXPIRE_AT_ONCE;
    return step == SQLITE_DONE ? STORE_OK : STORE_FAILED;
}

static uint64_t sqlite_waiting(const struct store *s)
{
    return s->waiting;
}

const struct store_kind store_sqlite = {
    .is_file = true,
    .open = sqlite_open,
    .close = sqlite_close,
    .fact_read = fact_read,
    .fact_write = fact_write,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .put = sqlite_put,
    .take = sqlite_take,
    .restore = sqlite_restore,
    .expire = sqlite_expire,
    .waiting = sqlite_waiting,
};
