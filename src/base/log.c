/* SPDX-License-Identifier: BSD-2-Clause */
/* No descriptor is kept: a host may close or reuse any that it does not know. Each line opens, writes and
 * closes; lines are few. The setting is an immutable structure behind one pointer, so that writing takes no
 * lock, also in a forked child. */
#include "base/log.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum destination { TO_SYSLOG, TO_STDERR, TO_FILE, TO_NONE };

enum { LINE_MAX_BYTES = 1000, PATH_BYTES = LOG_PATH_MAX + 1, FACILITY_DAEMON = 3 << 3, KINDS = 64 };

typedef void sink_function(enum log_level level, const char *line, void *context);

struct setting {
    struct setting *older; /* kept for good: another thread may be reading it */
    const char *identifier;
    enum destination destination;
    int level; /* the highest that is written */
    char path[PATH_BYTES];
    sink_function *sink;
    void *context;
};

static struct setting first = {
    .identifier = "ppk-pkcs11", .destination = TO_SYSLOG, .level = LOG_LEVEL_NOTICE};
static _Atomic(struct setting *) all = &first;
static _Atomic(struct setting *) current = &first;

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug", "trace"};
static const int priorities[] = {3, 4, 5, 6, 7, 7}; /* of RFC 5424, 6.2.1 */

const char *log_level_name(unsigned level)
{
    return level < sizeof level_names / sizeof *level_names ? level_names[level] : "?";
}

static bool parse_level(const char *s, int *level)
{
    for (int i = 0; i < (int)(sizeof level_names / sizeof *level_names); i++) {
        if (strcmp(s, level_names[i]) == 0) {
            *level = i;
            return true;
        }
    }
    return false;
}

static bool parse_destination(const char *s, size_t len, struct setting *to)
{
    static const struct {
        const char *name;
        enum destination destination;
    } names[] = {{"syslog", TO_SYSLOG}, {"stderr", TO_STDERR}, {"none", TO_NONE}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].name) == len && memcmp(s, names[i].name, len) == 0) {
            to->destination = names[i].destination;
            return true;
        }
    }
    if (len <= 5 || len - 5 >= sizeof to->path || memcmp(s, "file=", 5) != 0)
        return false;
    memcpy(to->path, s + 5, len - 5);
    to->path[len - 5] = '\0';
    to->destination = TO_FILE;
    return true;
}

/* [DEST:]LEVEL; a bare "none" is understood, too. */
static bool parse(const char *s, struct setting *to)
{
    const char *colon = strrchr(s, ':');

    to->destination = TO_SYSLOG;
    if (strcmp(s, "none") == 0) {
        to->destination = TO_NONE;
        return true;
    }
    return parse_level(colon ? colon + 1 : s, &to->level) &&
           (!colon || parse_destination(s, (size_t)(colon - s), to));
}

static bool same(const struct setting *a, const struct setting *b)
{
    return strcmp(a->identifier, b->identifier) == 0 && a->destination == b->destination &&
           a->level == b->level && strcmp(a->path, b->path) == 0 && a->sink == b->sink &&
           a->context == b->context;
}

/* Makes it the current setting; one that was there before is used again, so that opening often costs
 * nothing. */
static void publish(const struct setting *wanted)
{
    struct setting *head = atomic_load(&all);
    struct setting *s = head;

    while (s && !same(s, wanted))
        s = s->older;
    if (!s) {
        s = malloc(sizeof *s);
        if (!s)
            return;
        *s = *wanted;
        s->older = head;
        while (!atomic_compare_exchange_weak(&all, &head, s))
            s->older = head;
    }
    atomic_store(&current, s);
}

void log_open(const char *identifier, const char *fallback)
{
    struct setting wanted = *atomic_load(&current);
    const char *env = secure_getenv("PPK_LOG");
    bool bad = false;

    memset(wanted.path, 0, sizeof wanted.path);
    wanted.identifier = identifier;
    wanted.level = LOG_LEVEL_NOTICE;
    if (env && *env && parse(env, &wanted)) {
        publish(&wanted);
        return;
    }
    bad = env && *env;
    memset(wanted.path, 0, sizeof wanted.path);
    if (!parse(fallback ? fallback : "syslog:notice", &wanted)) {
        wanted.destination = TO_SYSLOG;
        wanted.level = LOG_LEVEL_NOTICE;
    }
    publish(&wanted);
    if (bad)
        log_write(LOG_LEVEL_WARNING, "PPK_LOG: not of the form [DEST:]LEVEL: %s", env);
}

void log_divert(void (*sink)(enum log_level level, const char *line, void *context), void *context)
{
    struct setting wanted = *atomic_load(&current);

    wanted.sink = sink;
    wanted.context = sink ? context : NULL;
    publish(&wanted);
}

static bool wanted_by(const struct setting *s, enum log_level level)
{
    return s->sink || (s->destination != TO_NONE && (int)level <= s->level);
}

bool log_wanted(enum log_level level)
{
    return wanted_by(atomic_load_explicit(&current, memory_order_acquire), level);
}

static void write_syslog(const struct setting *s, enum log_level level, const char *text)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    char line[LINE_MAX_BYTES + 64];
    int n = snprintf(line, sizeof line, "<%d>%s[%ld]: %s", FACILITY_DAEMON | priorities[level], s->identifier,
                     (long)getpid(), text);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return;
    if (n > 0)
        (void)sendto(fd, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1,
                     MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address, sizeof address);
    (void)close(fd);
}

static void write_descriptor(int fd, const struct setting *s, enum log_level level, const char *text)
{
    char line[LINE_MAX_BYTES + 128];
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (!gmtime_r(&now.tv_sec, &utc))
        return;
    int n = snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s[%ld] %s: %s",
                     utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     now.tv_nsec / 1000000, s->identifier, (long)getpid(), level_names[level], text);
    if (n <= 0)
        return;
    size_t len = (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    line[len++] = '\n';
    if (write(fd, line, len) < 0) /* one write, so that lines of several processes stay whole */
        return;
}

/* A reader of a pipe who has fallen asleep costs lines, and keeps nobody waiting. */
static void write_stderr(const struct setting *s, enum log_level level, const char *text)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT))
        write_descriptor(STDERR_FILENO, s, level, text);
}

static void write_file(const struct setting *s, enum log_level level, const char *text)
{
    int fd =
        open(s->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW, 0600);

    if (fd < 0) {
        write_syslog(s, level, text);
        return;
    }
    write_descriptor(fd, s, level, text);
    (void)close(fd);
}

static void write_text(const struct setting *s, enum log_level level, const char *text)
{
    if (s->sink)
        s->sink(level, text, s->context);
    else if (s->destination == TO_SYSLOG)
        write_syslog(s, level, text);
    else if (s->destination == TO_STDERR)
        write_stderr(s, level, text);
    else
        write_file(s, level, text);
}

/* ---- the limit ---- */

/* A kind of line, by its format. No lock: a forked child may find any of it half changed, which costs it a
 * line or lets one through. */
struct kind {
    _Atomic(const char *) format;
    _Atomic uint64_t since; /* clock_ms() */
    _Atomic unsigned written, held_back;
    _Atomic int level;
};

static struct kind kinds[KINDS];
static _Atomic unsigned limit_lines, limit_ms;

void log_limit(unsigned lines, unsigned interval_ms)
{
    atomic_store(&limit_lines, lines);
    atomic_store(&limit_ms, interval_ms);
}

/* May a line of this format be written now? *more are those before it that were not. */
static bool limit_allows(const struct setting *s, enum log_level level, const char *format, unsigned *more)
{
    unsigned lines = atomic_load_explicit(&limit_lines, memory_order_relaxed);
    struct kind *k = &kinds[((uintptr_t)format >> 3) % KINDS];
    uint64_t now;

    *more = 0;
    if (lines == 0 || (s->level >= LOG_LEVEL_DEBUG && !s->sink) || level > LOG_LEVEL_INFO)
        return true;
    now = clock_ms();
    if (atomic_load(&k->format) != format || now - atomic_load(&k->since) >= atomic_load(&limit_ms)) {
        *more = atomic_exchange(&k->held_back, 0);
        if (atomic_exchange(&k->format, format) != format)
            *more = 0; /* of another kind, which had this place */
        atomic_store(&k->since, now);
        atomic_store(&k->written, 0);
        atomic_store(&k->level, (int)level);
    }
    if (atomic_fetch_add(&k->written, 1) < lines)
        return true;
    atomic_fetch_add(&k->held_back, 1);
    return false;
}

void log_flush(void)
{
    const struct setting *s = atomic_load_explicit(&current, memory_order_acquire);
    char text[LINE_MAX_BYTES + 1];

    for (size_t i = 0; i < KINDS; i++) {
        unsigned more = atomic_exchange(&kinds[i].held_back, 0);
        enum log_level level = (enum log_level)atomic_load(&kinds[i].level);
        if (more == 0 || !wanted_by(s, level))
            continue;
        (void)snprintf(text, sizeof text, "%u more lines were held back of the kind \"%s\"", more,
                       atomic_load(&kinds[i].format));
        write_text(s, level, text);
    }
}

void log_write(enum log_level level, const char *format, ...)
{
    const struct setting *s = atomic_load_explicit(&current, memory_order_acquire);
    int kept = errno;
    char raw[2 * LINE_MAX_BYTES];
    char text[LINE_MAX_BYTES + 1];
    unsigned more;
    va_list args;

    if (!wanted_by(s, level) || !limit_allows(s, level, format, &more))
        return;
    va_start(args, format);
    int n = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (n >= 0 && more > 0 && (size_t)n < LINE_MAX_BYTES)
        n += snprintf(raw + n, sizeof raw - (size_t)n, " (and %u more of these before)", more);
    if (n >= 0) {
        (void)text_printable(text, sizeof text, raw, (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1);
        write_text(s, level, text);
    }
    errno = kept;
}
