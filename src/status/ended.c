/* SPDX-License-Identifier: BSD-2-Clause */
#include "status/ended.h"

#include "status/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define FIRST_LINE "ppk-pkcs11 ended 1"

enum {
    TRIES = 20,
    PAUSE_MS = 5,
    WORD_MAX = 2 * 4096, /* hexadecimal digits */
    COUNTERS = STATUS_NUMBERS - STATUS_COUNTED_FIRST
};

bool status_ended_name_is(const char *name)
{
    size_t digits;

    if (strncmp(name, "ended-", 6) != 0)
        return false;
    digits = strspn(name + 6, "0123456789");
    return digits > 0 && digits <= 10 && strcmp(name + 6 + digits, ".txt") == 0;
}

void status_ended_clear(struct status_ended *e)
{
    status_clear(&e->sum);
    memset(e, 0, sizeof *e);
}

/* ---- as text ---- */

/* Names may hold anything: they are written in hexadecimal; "-" for none. */
static void print_word(struct text *out, const char *s)
{
    text_printf(out, " ");
    if (s == NULL || s[0] == '\0')
        text_printf(out, "-");
    else
        for (; *s != '\0'; s++)
            text_printf(out, "%02x", (unsigned char)*s);
}

static void print_request(const struct status_request *r, struct text *out)
{
    size_t last = HISTOGRAM_BUCKETS;

    while (last > 0 && r->latency[last - 1] == 0)
        last--;
    text_printf(out, "request %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, r->total, r->passed, r->failed,
                r->latency_us);
    for (size_t i = 0; i < last; i++)
        text_printf(out, " %" PRIu64, r->latency[i]);
    text_printf(out, "\n");
}

void status_ended_print(const struct status_ended *e, struct text *out)
{
    text_printf(out, FIRST_LINE "\nprocesses %" PRIu64 "\nlast", e->processes);
    print_word(out, e->last);
    text_printf(out, "\n");
    for (size_t i = 0; i < e->sum.n_keyrings; i++) {
        text_printf(out, "keyring");
        print_word(out, e->sum.keyrings[i].name);
        for (size_t k = STATUS_COUNTED_FIRST; k < STATUS_NUMBERS; k++)
            text_printf(out, " %" PRIu64, e->sum.keyrings[i].n[k]);
        text_printf(out, "\n");
    }
    for (size_t i = 0; i < e->sum.n_profiles; i++) {
        const struct status_profile *p = &e->sum.profiles[i];
        text_printf(out, "profile");
        print_word(out, p->name);
        print_word(out, p->type);
        print_word(out, p->local_system_id);
        print_word(out, p->last_error);
        text_printf(out, " %" PRId64 "\n", p->last_error_at);
        for (size_t r = 0; r < STATUS_REQUESTS; r++)
            print_request(&p->requests[r], out);
    }
}

/* ---- and back ---- */

struct line {
    const char *at, *end;
};

/* Takes the next line; false: there is none. */
static bool line_next(struct line *text, struct line *out)
{
    const char *end = memchr(text->at, '\n', (size_t)(text->end - text->at));

    if (end == NULL)
        return false;
    *out = (struct line){text->at, end};
    text->at = end + 1;
    return true;
}

/* Takes this keyword from the line's beginning. */
static bool take_keyword(struct line *l, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(l->end - l->at) < len || memcmp(l->at, word, len) != 0)
        return false;
    l->at += len;
    return true;
}

/* Takes " NUMBER". */
static bool take_number(struct line *l, uint64_t *out)
{
    const char *s = l->at;

    *out = 0;
    if (s == l->end || *s++ != ' ' || s == l->end || *s < '0' || *s > '9')
        return false;
    for (; s < l->end && *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (*out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    l->at = s;
    return true;
}

/* Takes " HEX", or " -" for NULL; the caller frees it. */
static bool take_word(struct line *l, char **out)
{
    const char *s = l->at + 1;
    size_t len = 0;

    *out = NULL;
    if (l->at == l->end || *l->at != ' ')
        return false;
    while (s + len < l->end && s[len] != ' ')
        len++;
    l->at = s + len;
    if (len == 1 && *s == '-')
        return true;
    if (len == 0 || len > WORD_MAX || !hex_is(s, len))
        return false;
    *out = calloc(1, len / 2 + 1);
    return *out != NULL && hex_decode((uint8_t *)*out, s, len) && strlen(*out) == len / 2;
}

static bool parse_keyring(struct line *l, struct status_process *sum)
{
    struct status_keyring *k = NULL;
    char *name;
    bool good = take_word(l, &name) && name != NULL;

    if (good)
        k = status_keyring_add(sum, name);
    free(name);
    if (k == NULL)
        return false;
    for (size_t i = STATUS_COUNTED_FIRST; i < STATUS_NUMBERS; i++)
        good = good && take_number(l, &k->n[i]);
    return good && l->at == l->end;
}

static bool parse_request(struct line *l, struct status_request *r)
{
    size_t n = 0;

    if (!take_keyword(l, "request") || !take_number(l, &r->total) || !take_number(l, &r->passed) ||
        !take_number(l, &r->failed) || !take_number(l, &r->latency_us))
        return false;
    while (l->at != l->end)
        if (n == HISTOGRAM_BUCKETS || !take_number(l, &r->latency[n++]))
            return false;
    return true;
}

static bool parse_profile(struct line *l, struct line *text, struct status_process *sum)
{
    struct status_profile *p = NULL;
    uint64_t at = 0;
    char *name;
    bool good = take_word(l, &name) && name != NULL;

    if (good)
        p = status_profile_add(sum, name);
    free(name);
    good = p != NULL && take_word(l, &p->type) && take_word(l, &p->local_system_id) &&
           take_word(l, &p->last_error) && take_number(l, &at) && at <= INT64_MAX && l->at == l->end;
    if (good)
        p->last_error_at = (int64_t)at;
    for (size_t i = 0; good && i < STATUS_REQUESTS; i++) {
        struct line next;
        good = line_next(text, &next) && parse_request(&next, &p->requests[i]);
    }
    return good;
}

bool status_ended_parse(struct status_ended *out, const char *text, size_t len)
{
    struct line all = {text, text + len}, l;
    char *last = NULL;
    bool good;

    memset(out, 0, sizeof *out);
    good = line_next(&all, &l) && take_keyword(&l, FIRST_LINE) && l.at == l.end && line_next(&all, &l) &&
           take_keyword(&l, "processes") && take_number(&l, &out->processes) && l.at == l.end &&
           line_next(&all, &l) && take_keyword(&l, "last") && take_word(&l, &last) && l.at == l.end &&
           (last == NULL || strlen(last) < sizeof out->last);
    if (good && last != NULL)
        memcpy(out->last, last, strlen(last) + 1);
    free(last);
    while (good && line_next(&all, &l)) {
        if (take_keyword(&l, "keyring"))
            good = parse_keyring(&l, &out->sum);
        else
            good = take_keyword(&l, "profile") && parse_profile(&l, &all, &out->sum);
    }
    good = good && all.at == all.end;
    if (!good)
        status_ended_clear(out);
    return good;
}

/* ---- adding ---- */

/* Where a directory is sticky and others write in it, the kernel may refuse to open what is there with
 * O_CREAT. */
static int file_open(int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        fd = openat(directory, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, STATUS_FILE_MODE);
    return fd;
}

/* Opens and locks the file that has the name: who held the lock before may have put another one in its place.
 * -1 with errno: not in time, or it is not a file of that user, nor ours. */
static int file_lock(int directory, const char *name, uid_t owner)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    struct stat here, there;

    for (int i = 0; i < TRIES; i++) {
        int fd = file_open(directory, name);
        if (fd < 0 && errno != EEXIST)
            return -1;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &here) == 0 &&
            fstatat(directory, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && here.st_ino == there.st_ino &&
            here.st_dev == there.st_dev) {
            if (S_ISREG(here.st_mode) &&
                (here.st_uid == owner || (here.st_uid == geteuid() && here.st_size == 0)))
                return fd;
            (void)close(fd);
            errno = EPERM;
            return -1;
        }
        if (fd >= 0)
            (void)close(fd);
        (void)nanosleep(&pause, NULL);
    }
    errno = EWOULDBLOCK;
    return -1;
}

/* Many processes only look, and have nothing to add. */
static bool counted_nothing(const struct status_process *p)
{
    for (size_t i = 0; i < p->n_keyrings; i++)
        for (size_t k = STATUS_COUNTED_FIRST; k < STATUS_NUMBERS; k++)
            if (p->keyrings[i].n[k] > 0)
                return false;
    for (size_t i = 0; i < p->n_profiles; i++)
        for (size_t r = 0; r < STATUS_REQUESTS; r++)
            if (p->profiles[i].requests[r].total > 0)
                return false;
    return true;
}

static bool counters_add(struct status_ended *e, const char *file, const struct status_process *p)
{
    if (!status_add(&e->sum, p))
        return false;
    e->processes++;
    (void)snprintf(e->last, sizeof e->last, "%s", file);
    return true;
}

bool status_ended_add(int directory, uid_t owner, const char *file, const struct status_process *p)
{
    char name[32], aside[40];
    struct status_ended e = {0};
    struct text text = {0};
    struct stat s;
    bool good = false;
    int fd, kept;

    if (counted_nothing(p))
        return true;
    (void)snprintf(name, sizeof name, "ended-%lu.txt", (unsigned long)owner);
    (void)snprintf(aside, sizeof aside, ".%s", name);
    fd = file_lock(directory, name, owner);
    if (fd < 0)
        return false;
    /* a damaged one, or one of another version, begins anew */
    if (status_file_read(directory, name, &text, &s) == NULL)
        (void)status_ended_parse(&e, text.s != NULL ? text.s : "", text.len);
    text_free(&text);
    errno = ENOMEM;
    if (strcmp(e.last, file) == 0) {
        good = true;
    } else if (counters_add(&e, file, p)) {
        status_ended_print(&e, &text);
        good = !text.failed && status_file_put(directory, aside, name, &text, owner);
    }
    kept = errno;
    (void)close(fd); /* and unlocks */
    status_ended_clear(&e);
    text_free(&text);
    errno = kept;
    return good;
}
