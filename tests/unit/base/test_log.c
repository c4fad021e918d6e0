/* SPDX-License-Identifier: BSD-2-Clause */
/* The log: destinations, levels, what a line looks like, and that it leaves the host alone. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/test_log.XXXXXX";
static char path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    (void)snprintf(path, sizeof path, "%s/log", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_open("test", "none");
    (void)unlink(path);
    return rmdir(directory);
}

/* What is in the file, which is removed. */
static const char *content(void)
{
    static char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    if (fd >= 0) {
        n = read(fd, buffer, sizeof buffer - 1);
        (void)close(fd);
        (void)unlink(path);
    }
    buffer[n > 0 ? n : 0] = '\0';
    return buffer;
}

static void open_file(const char *level)
{
    char setting[128];

    (void)snprintf(setting, sizeof setting, "file=%s:%s", path, level);
    assert_int_equal(setenv("PPK_LOG", setting, 1), 0);
    log_open("test", NULL);
}

/* Whoever reads standard error may have fallen asleep: lines are lost then, and nobody waits. */
static void a_full_pipe_keeps_nobody_waiting(void **state)
{
    int ends[2], kept = dup(STDERR_FILENO);
    char buffer[4096] = {0};
    size_t lines = 0;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(kept >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    assert_int_equal(setenv("PPK_LOG", "stderr:info", 1), 0);
    log_open("test", NULL);
    (void)alarm(20); /* else it would wait for good */
    for (int i = 0; i < 5000; i++)
        log_write(LOG_LEVEL_INFO, "line %d of many that nobody reads", i);
    (void)alarm(0);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    (void)close(ends[1]);
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            lines += buffer[i] == '\n';
    (void)close(ends[0]);
    assert_in_range(lines, 100, 4999);
}

static void levels(void **state)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug", "trace"};

    (void)state;
    for (int at = 0; at < 6; at++) {
        open_file(names[at]);
        for (int level = 0; level < 6; level++) {
            log_write((enum log_level)level, "line %d", level);
            assert_int_equal(log_wanted((enum log_level)level), level <= at);
        }
        const char *text = content();
        for (int level = 0; level < 6; level++) {
            char line[32];
            (void)snprintf(line, sizeof line, "] %s: line %d\n", names[level], level);
            assert_int_equal(strstr(text, line) != NULL, level <= at);
        }
    }
}

static void lines(void **state)
{
    char long_text[3000], ident[32];
    struct stat st;

    (void)state;
    open_file("info");
    errno = ENOTTY;
    log_write(LOG_LEVEL_INFO, "two\nlines \xff");
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    (void)snprintf(ident, sizeof ident, " test[%ld] info: ", (long)getpid());
    const char *text = content();
    assert_non_null(strstr(text, ident));
    assert_non_null(strstr(text, "two\\x0alines \\xff\n"));
    assert_int_equal(text[10], 'T');
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    log_write(LOG_LEVEL_INFO, "%s", long_text);
    log_write(LOG_LEVEL_INFO, "next");
    text = content();
    const char *first_end = strchr(text, '\n');
    assert_non_null(first_end);
    assert_true(first_end - text > 1000 && first_end - text < 1100);
    assert_non_null(strstr(first_end, "info: next\n"));
}

/* Many lines of one kind */
static void held_back(void **state)
{
    unsigned kept = 0;

    (void)state;
    open_file("info");
    log_limit(5, 200);
    for (int i = 0; i < 100; i++)
        log_write(LOG_LEVEL_WARNING, "a flood: %d", i);
    log_write(LOG_LEVEL_WARNING, "another kind");
    const char *text = content();
    for (const char *at = text; (at = strstr(at, "a flood: ")) != NULL; at++)
        kept++;
    assert_int_equal(kept, 5);
    assert_non_null(strstr(text, "warning: another kind\n"));
    (void)usleep(250000);
    log_write(LOG_LEVEL_WARNING, "a flood: %d", 1);
    /* the compiler may give equal formats one address, or not: the first of the second place may know nothing
     */
    log_flush();
    text = content();
    assert_true(strstr(text, "(and 95 more of these before)\n") != NULL ||
                strstr(text, "95 more lines were held back of the kind \"a flood: %d\"\n") != NULL);
    log_flush();
    assert_string_equal(content(), "");
    for (int i = 0; i < 100; i++)
        log_write(LOG_LEVEL_INFO, "again: %d", i);
    log_flush();
    assert_non_null(strstr(content(), "95 more lines were held back of the kind \"again: %d\"\n"));
    open_file("trace");
    for (int i = 0; i < 100; i++)
        log_write(LOG_LEVEL_TRACE, "traced %d.", i);
    assert_non_null(strstr(content(), "traced 99.\n"));
    log_limit(0, 0);
}

static void appends_and_survives(void **state)
{
    char link_path[80];

    (void)state;
    open_file("info");
    log_write(LOG_LEVEL_INFO, "one");
    log_open("test", NULL); /* again */
    log_write(LOG_LEVEL_INFO, "two");
    const char *text = content(); /* removes the file, as a log rotation does */
    assert_non_null(strstr(text, "one\n"));
    assert_non_null(strstr(text, "two\n"));
    log_write(LOG_LEVEL_INFO, "three");
    assert_non_null(strstr(content(), "three\n"));
    (void)snprintf(link_path, sizeof link_path, "%s.target", path);
    assert_int_equal(symlink(link_path, path), 0); /* a link is not followed */
    log_write(LOG_LEVEL_INFO, "four");
    assert_int_equal(access(link_path, F_OK), -1);
    assert_int_equal(unlink(path), 0);
}

static void nowhere(void **state)
{
    (void)state;
    assert_int_equal(setenv("PPK_LOG", "none", 1), 0);
    log_open("test", NULL);
    assert_false(log_wanted(LOG_LEVEL_ERROR));
    log_write(LOG_LEVEL_ERROR, "lost");
    assert_int_equal(unsetenv("PPK_LOG"), 0);
    log_open("test", "none:trace");
    assert_false(log_wanted(LOG_LEVEL_ERROR));
    log_open("test", NULL); /* syslog:notice */
    assert_true(log_wanted(LOG_LEVEL_NOTICE));
    assert_false(log_wanted(LOG_LEVEL_INFO));
}

struct caught {
    char line[1100];
    int lines;
    enum log_level level;
};

static void catch_line(enum log_level level, const char *line, void *context)
{
    struct caught *c = context;

    c->lines++;
    c->level = level;
    (void)snprintf(c->line, sizeof c->line, "%s", line);
}

static void diversion(void **state)
{
    struct caught c = {.lines = 0};

    (void)state;
    open_file("error");
    log_divert(catch_line, &c);
    assert_true(log_wanted(LOG_LEVEL_TRACE));
    log_write(LOG_LEVEL_TRACE, "to %s", "us");
    assert_int_equal(c.lines, 1);
    assert_int_equal(c.level, LOG_LEVEL_TRACE);
    assert_string_equal(c.line, "to us");
    assert_string_equal(content(), "");
    log_divert(NULL, NULL);
    log_write(LOG_LEVEL_ERROR, "to the file");
    assert_int_equal(c.lines, 1);
    assert_non_null(strstr(content(), "to the file\n"));
}

static void bad_settings(void **state)
{
    static const char *const bad[] = {"loud",    "syslog", "file=:info", "file:info",
                                      "stderr:", ":info",  "tape:info",  "stderr:loud"};
    struct caught c = {.lines = 0};

    (void)state;
    log_divert(catch_line, &c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        c.lines = 0;
        assert_int_equal(setenv("PPK_LOG", bad[i], 1), 0);
        log_open("test", "none");
        assert_int_equal(c.lines, 1);
        assert_non_null(strstr(c.line, "PPK_LOG"));
        assert_non_null(strstr(c.line, bad[i]));
    }
    log_divert(NULL, NULL);
    assert_int_equal(unsetenv("PPK_LOG"), 0);
}

/* Nothing on standard output or error unless asked, and then on standard error. */
static void standard_error(void **state)
{
    int kept = dup(STDERR_FILENO);
    int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);

    (void)state;
    assert_true(kept >= 0 && to >= 0);
    assert_true(dup2(to, STDERR_FILENO) >= 0);
    log_open("test", NULL);
    log_write(LOG_LEVEL_ERROR, "to the system's log");
    log_open("test", "stderr:info");
    log_write(LOG_LEVEL_INFO, "to standard error");
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    (void)close(to);
    const char *text = content();
    assert_null(strstr(text, "to the system's log"));
    assert_non_null(strstr(text, "info: to standard error\n"));
}

/* No descriptor is kept open between lines. */
static void descriptors(void **state)
{
    int before = dup(STDERR_FILENO);

    (void)state;
    (void)close(before);
    open_file("info");
    log_write(LOG_LEVEL_INFO, "x");
    (void)unsetenv("PPK_LOG");
    log_open("test", "syslog:info");
    log_write(LOG_LEVEL_INFO, "x");
    int after = dup(STDERR_FILENO);
    (void)close(after);
    assert_int_equal(before, after);
    (void)content();
}

static void *writer(void *arg)
{
    for (int i = 0; i < 200; i++) {
        log_write(LOG_LEVEL_INFO, "thread %d", *(int *)arg);
        if (i % 50 == 0)
            log_open("test", NULL);
    }
    return NULL;
}

static void threads(void **state)
{
    pthread_t ids[4];
    int numbers[4];
    int lines_seen = 0;

    (void)state;
    open_file("info");
    for (int i = 0; i < 4; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&ids[i], NULL, writer, &numbers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(ids[i], NULL), 0);
    for (const char *at = content(); (at = strchr(at, '\n')); at++)
        lines_seen++;
    assert_int_equal(lines_seen, 800);
    (void)unsetenv("PPK_LOG");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(a_full_pipe_keeps_nobody_waiting),
        cmocka_unit_test(lines),
        cmocka_unit_test(held_back),
        cmocka_unit_test(appends_and_survives),
        cmocka_unit_test(nowhere),
        cmocka_unit_test(diversion),
        cmocka_unit_test(bad_settings),
        cmocka_unit_test(descriptors),
        cmocka_unit_test(standard_error),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
