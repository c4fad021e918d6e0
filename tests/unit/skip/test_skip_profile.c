/* SPDX-License-Identifier: BSD-2-Clause */
/* Which server is asked: those that fail, are silent or slow, and how long that may take. */
#include "made_up.h"

static void first_server_is_asked(void **state)
{
    (void)state;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(fake.log, "0c 0k 0i ");
    assert_int_equal(fake.wires, 1);
    assert_counts(SKIP_REQUEST_CAPABILITIES, 1, 1, 0);
    assert_counts(SKIP_REQUEST_KEY, 1, 1, 0);
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 1, 1, 0);
}

static void broken_fails_over(void **state)
{
    (void)state;
    fake.key[0].result = fake.key[1].result = SKIP_UNREACHABLE;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "kme:3");
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 3, 1, 2);
    /* Both are set aside now. */
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i 2i ");
}

static void all_broken(void **state)
{
    struct skip_server_status status;
    (void)state;
    for (size_t i = 0; i < SERVERS; i++)
        fake.key[i].result = SKIP_UNREACHABLE;
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_non_null(strstr(fault.text, "192.0.2.1:1: made up; [2001:db8::2]:2: made up; kme:3: made up"));
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
    /* As a last resort each is asked again, once. */
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_string_not_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
    assert_int_equal(strlen(fake.log), 9 * 3);
    skip_profile_status(profile, 1, &status);
    assert_string_equal(status.server, "[2001:db8::2]:2");
    assert_int_equal(status.failures, 1);
    assert_in_range(status.aside_ms, 1, SKIP_ASIDE_MIN_MS * 2);
    assert_string_equal(status.reason.text, "made up");
}

static void words_are_final(void **state)
{
    static const struct {
        enum skip_result result;
        long status;
    } cases[] = {{SKIP_NO_SUCH_KEY, 400}, {SKIP_REFUSED, 403}, {SKIP_REFUSED, 400}};
    (void)state;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct skip_server_status status;
        fake.log[0] = 0;
        fake.key[0] = (struct behaviour){.result = cases[i].result, .status = cases[i].status};
        assert_int_equal(get("00ff", "Bob"), cases[i].result);
        assert_string_equal(fake.log, "0i ");
        skip_profile_status(profile, 0, &status);
        assert_int_equal(status.failures, 0);
    }
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 4, 1, 3);
}

/* "No such key" of the second means nothing if the first may have given it away without our hearing it. */
static void lost_key(void **state)
{
    (void)state;
    fake.key[0].result = SKIP_UNREACHABLE;
    fake.key[1] = (struct behaviour){.result = SKIP_NO_SUCH_KEY, .status = 400};
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_non_null(strstr(fault.text, "192.0.2.1:1"));
    assert_non_null(strstr(fault.text, "[2001:db8::2]:2"));
}

static void not_lost_key(void **state)
{
    (void)state;
    fake.key[0] = (struct behaviour){.result = SKIP_UNREACHABLE, .untouched = true};
    fake.key[1] = (struct behaviour){.result = SKIP_NO_SUCH_KEY, .status = 400};
    assert_int_equal(get("00ff", "Bob"), SKIP_NO_SUCH_KEY);
}

static void time_is_shared(void **state)
{
    uint64_t start = clock_ms();
    (void)state;
    conf.timeout_ms = 300;
    fake.capabilities[0].delay_ms = NEVER;
    fake.key[1].delay_ms = NEVER;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_string_equal(last_server, "kme:3");
    assert_in_range(clock_ms() - start, 150, 299);
}

static void time_is_bounded(void **state)
{
    uint64_t start = clock_ms();
    struct skip_key key;
    (void)state;
    conf.timeout_ms = 200;
    for (size_t i = 0; i < SERVERS; i++)
        fake.key[i].delay_ms = NEVER;
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_in_range(clock_ms() - start, 195, 290);
    conf.timeout_ms = 5000;
    start = clock_ms();
    assert_int_equal(skip_key_new(profile, "Bob", 0, start + 100, &key, &fault), SKIP_UNREACHABLE);
    assert_in_range(clock_ms() - start, 95, 190);
    assert_int_equal(skip_key_new(profile, "Bob", 0, start, &key, &fault), SKIP_UNREACHABLE);
}

static void silent_is_hedged(void **state)
{
    uint64_t start;
    struct skip_server_status status;
    (void)state;
    conf.hedge_ms = 50;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    fake.log[0] = 0;
    fake.key[0].delay_ms = NEVER;
    start = clock_ms();
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "[2001:db8::2]:2");
    assert_in_range(clock_ms() - start, 48, 150);
    assert_string_equal(fake.log, "0i 1c 1i ");
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 3, 2, 1);
    /* It is set aside: the next does not wait for it. */
    skip_profile_status(profile, 0, &status);
    assert_int_equal(status.failures, 1);
    start = clock_ms();
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_in_range(clock_ms() - start, 0, 40);
}

/* The first one may still win the race. */
static void slow_may_win(void **state)
{
    (void)state;
    conf.hedge_ms = 30;
    fake.key[0].delay_ms = 400;
    fake.key[1].delay_ms = fake.key[2].delay_ms = 900;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    assert_string_equal(fake.log, "0c 0i 1c 1i 2c 2i ");
}

/* Who was asked only just before another won is no worse for that; who was silent too long is. */
static void a_late_one_is_not_blamed(void **state)
{
    struct skip_server_status status;
    (void)state;
    conf.hedge_ms = 300;
    conf.n_servers = 2;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    fake.key[0].delay_ms = 320;
    fake.key[1].delay_ms = NEVER;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    assert_string_equal(fake.log, "0c 0i 0i 1c 1i ");
    skip_profile_status(profile, 1, &status);
    assert_int_equal(status.failures, 0);
    fake.key[0].delay_ms = NEVER;
    fake.key[1].delay_ms = 0;
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "[2001:db8::2]:2");
    skip_profile_status(profile, 0, &status);
    assert_int_equal(status.failures, 1);
}

/* Another's no is not waited out if a hedged one has it. */
static void hedged_no(void **state)
{
    (void)state;
    conf.hedge_ms = 30;
    conf.n_servers = 2;
    fake.key[0].delay_ms = 150;
    fake.key[1] = (struct behaviour){.result = SKIP_NO_SUCH_KEY, .status = 400};
    assert_int_equal(get("00ff", "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
}

static void all_silent_hedged(void **state)
{
    uint64_t start = clock_ms();
    (void)state;
    conf.hedge_ms = 30;
    conf.timeout_ms = 250;
    for (size_t i = 0; i < SERVERS; i++)
        fake.capabilities[i].delay_ms = NEVER;
    assert_int_equal(get("00ff", "Bob"), SKIP_UNREACHABLE);
    assert_in_range(clock_ms() - start, 245, 350);
    assert_string_equal(fake.log, "0c 1c 2c ");
    assert_counts(SKIP_REQUEST_CAPABILITIES, 3, 0, 3);
    assert_counts(SKIP_REQUEST_KEY_BY_ID, 1, 0, 1);
}

static void comes_back(void **state)
{
    struct skip_server_status status;
    (void)state;
    conf.n_servers = 2;
    fake.key[0].result = SKIP_UNREACHABLE;
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    fake.key[0].result = SKIP_OK;
    skip_profile_status(profile, 0, &status);
    usleep((useconds_t)(status.aside_ms + 5) * 1000);
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    assert_string_equal(last_server, "192.0.2.1:1");
    skip_profile_status(profile, 0, &status);
    assert_int_equal(status.failures, 0);
    assert_int_equal(status.aside_ms, 0);
}

static unsigned lines_of(const char *path, const char *what)
{
    char line[512];
    unsigned n = 0;
    log_flush();
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, what) != NULL;
    fclose(f);
    return n;
}

static void fail_once_more(const char *text)
{
    struct skip_server_status status;
    fake.key[0] = (struct behaviour){.result = text ? SKIP_UNREACHABLE : SKIP_OK, .text = text};
    skip_profile_status(profile, 0, &status);
    usleep((useconds_t)(status.aside_ms + 5) * 1000);
    for (int i = 0; i < 2; i++) /* the second time as the last resort */
        assert_int_equal(get(NULL, "Bob"), text ? SKIP_UNREACHABLE : SKIP_OK);
}

/* Of a server's state each change is told, and each other reason, but not each failure. */
static void changes_are_told(void **state)
{
    char path[] = "/tmp/ppk-test-XXXXXX", sink[64];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    snprintf(sink, sizeof sink, "file=%s:notice", path);
    log_open("test", sink);
    conf.n_servers = 1;
    fail_once_more("no answer after 7 ms");
    fail_once_more("no answer after 13 ms");
    assert_int_equal(lines_of(path, "qkd"), 1);
    assert_int_equal(lines_of(path, "192.0.2.1:1: no answer after 7 ms; set aside"), 1);
    fail_once_more("its certificate has expired");
    assert_int_equal(lines_of(path, "qkd"), 2);
    assert_int_equal(lines_of(path, "its certificate has expired; still set aside"), 1);
    fail_once_more(NULL);
    assert_int_equal(lines_of(path, "qkd"), 3);
    assert_int_equal(lines_of(path, "answers again"), 1);
    log_open("test", "none");
    unlink(path);
}

static void asks_to_be_left_alone(void **state)
{
    struct skip_server_status status;
    (void)state;
    fake.key[0] = (struct behaviour){.result = SKIP_UNREACHABLE, .status = 429, .retry_after_s = 7};
    assert_int_equal(get(NULL, "Bob"), SKIP_OK);
    skip_profile_status(profile, 0, &status);
    assert_in_range(status.aside_ms, 6000, 7000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(first_server_is_asked),
        TEST(broken_fails_over),
        TEST(all_broken),
        TEST(words_are_final),
        TEST(lost_key),
        TEST(not_lost_key),
        TEST(time_is_shared),
        TEST(time_is_bounded),
        TEST(silent_is_hedged),
        TEST(slow_may_win),
        TEST(a_late_one_is_not_blamed),
        TEST(hedged_no),
        TEST(all_silent_hedged),
        TEST(comes_back),
        TEST(changes_are_told),
        TEST(asks_to_be_left_alone),
    };
    log_open("test", "none");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
