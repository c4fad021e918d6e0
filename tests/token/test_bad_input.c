/* SPDX-License-Identifier: BSD-2-Clause */
/* Key sources that are down, slow, somebody else's, or talk nonsense: the CK_RV, a log line that names
 * profile, server and reason, a bounded wait, and never a key object. Seen through the token, in the three
 * ways that it asks: search by peer, search by ID, C_GenerateKey. */
#include "conf.h"
#include "derive.h"
#include "guard.h"
#include "source.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 600

static struct source *source;
static CK_SESSION_HANDLE s;

enum way { BY_PEER, BY_ID, GENERATE, WAYS };
static const char *const way_name[WAYS] = {"search by peer", "search by ID", "C_GenerateKey"};

enum outcome {
    ODD_SIZE,        /* by ID fine, since no size was asked for; else NOTHING_TO_HAVE */
    NOTHING_TO_HAVE, /* CKR_DEVICE_ERROR in every way */
    REFUSED,         /* the same, or CKR_FUNCTION_REJECTED */
    NO_SUCH_KEY,     /* by ID: no object, CKR_OK; else as REFUSED */
    FINE,            /* a key */
};

struct bad {
    const char *what;
    enum source_mode mode;
    bool certificates; /* the profile authenticates by certificates, not by a PSK */
    int status;
    const char *headers, *body;
    int cut;
    enum outcome outcome;
    const char *reason; /* words of which the log has at least one, case ignored, divided by | */
};

#define GOOD_BODY "{\"keyId\":\"@ID@\",\"key\":\"@KEY@\"}"
#define CANNED(what, status, body, outcome, reason)                                                          \
    {                                                                                                        \
        what, SOURCE_CANNED, false, status, "", body, 0, outcome, reason                                     \
    }
static const struct bad bads[] = {
    {"hung after accept", SOURCE_HANG, false, 0, "", "", 0, NOTHING_TO_HAVE,
     "time|no answer|no complete answer"},
    {"hung after the TLS handshake", SOURCE_HANG_TLS, false, 0, "", "", 0, NOTHING_TO_HAVE,
     "time|no answer|no complete answer"},
    {"slow drip", SOURCE_DRIP, false, 0, "", "", 0, NOTHING_TO_HAVE, "time|no answer|no complete answer"},
    {"closes", SOURCE_CLOSE, false, 0, "", "", 0, NOTHING_TO_HAVE, "clos|connection|empty|reply"},
    {"no TLS at all", SOURCE_PLAIN, false, 0, "", "", 0, NOTHING_TO_HAVE, "tls|ssl"},
    {"no TLS at all, certificates", SOURCE_PLAIN, true, 0, "", "", 0, NOTHING_TO_HAVE, "tls|ssl"},
    {"certificate for another name", SOURCE_WRONG_NAME, true, 0, "", "", 0, NOTHING_TO_HAVE,
     "name|address|match|certificate"},
    {"certificate of an unknown CA", SOURCE_UNKNOWN_CA, true, 0, "", "", 0, NOTHING_TO_HAVE,
     "certificate|issuer|verif"},
    {"certificate where a PSK is expected", SOURCE_NO_PSK, false, 0, "", "", 0, NOTHING_TO_HAVE,
     "psk|certificate|pre-shared"},
    {"another PSK", SOURCE_WRONG_PSK, false, 0, "", "", 0, NOTHING_TO_HAVE,
     "tls|psk|handshake|binder|alert|decrypt"},
    {"an endless body", SOURCE_HUGE, false, 0, "", "", 0, NOTHING_TO_HAVE,
     "large|long|big|size|bound|limit|more than"},
    {"100,000 brackets", SOURCE_NESTED, false, 0, "", "", 0, NOTHING_TO_HAVE,
     "large|long|big|size|json|nest|deep|limit|more than"},
    {"redirect", SOURCE_CANNED, false, 302, "Location: https://127.0.0.1:1/key\r\n", GOOD_BODY, 0,
     NOTHING_TO_HAVE, "302|redirect"},
    {"redirect for good", SOURCE_CANNED, false, 301, "Location: /key?size=256\r\n", GOOD_BODY, 0,
     NOTHING_TO_HAVE, "301|redirect"},
    CANNED("400", 400, GOOD_BODY, NO_SUCH_KEY, "400|no such"),
    CANNED("401", 401, GOOD_BODY, REFUSED, "401|refuse|auth"),
    CANNED("403", 403, GOOD_BODY, REFUSED, "403|refuse|forbid"),
    CANNED("404", 404, GOOD_BODY, NO_SUCH_KEY, "404|no such|found"),
    CANNED("410", 410, GOOD_BODY, NO_SUCH_KEY, "410|no such|gone"),
    CANNED("418", 418, GOOD_BODY, REFUSED, "418"),
    CANNED("429", 429, GOOD_BODY, NOTHING_TO_HAVE, "429|busy"),
    CANNED("500", 500, GOOD_BODY, NOTHING_TO_HAVE, "500"),
    CANNED("503", 503, GOOD_BODY, NOTHING_TO_HAVE, "503"),
    CANNED("204", 204, "", NOTHING_TO_HAVE, "204|empty|json"),
    CANNED("206", 206, GOOD_BODY, NOTHING_TO_HAVE, "206"),
    CANNED("999", 999, GOOD_BODY, NOTHING_TO_HAVE, "999"),
    CANNED("an empty body", 200, "", NOTHING_TO_HAVE, "json|empty"),
    {"a truncated body", SOURCE_CANNED, false, 200, "", GOOD_BODY, 10, NOTHING_TO_HAVE,
     "clos|transfer|trunc|partial|short|end"},
    CANNED("truncated JSON", 200, "{\"keyId\":\"@ID@\",\"key\":\"@KEY@\"", NOTHING_TO_HAVE, "json"),
    CANNED("no JSON", 200, "@KEY@", NOTHING_TO_HAVE, "json"),
    CANNED("HTML", 200, "<html><body>key: @KEY@</body></html>", NOTHING_TO_HAVE, "json"),
    CANNED("an array", 200, "[\"@ID@\",\"@KEY@\"]", NOTHING_TO_HAVE, "json|object"),
    CANNED("an object in an array", 200, "[{\"keyId\":\"@ID@\",\"key\":\"@KEY@\"}]", NOTHING_TO_HAVE,
           "json|object"),
    CANNED("null", 200, "null", NOTHING_TO_HAVE, "json|object"),
    CANNED("text behind the JSON", 200, GOOD_BODY " x", NOTHING_TO_HAVE, "json|end"),
    CANNED("two JSON texts", 200, GOOD_BODY GOOD_BODY, NOTHING_TO_HAVE, "json|end|more than"),
    CANNED("an error that looks like an answer", 200, "{\"error\":\"@KEY@\"}", NOTHING_TO_HAVE, "key"),
    CANNED("no key", 200, "{\"keyId\":\"@ID@\"}", NOTHING_TO_HAVE, "key"),
    CANNED("no keyId", 200, "{\"key\":\"@KEY@\"}", NOTHING_TO_HAVE, "keyId"),
    CANNED("key is a number", 200, "{\"keyId\":\"@ID@\",\"key\":12345678}", NOTHING_TO_HAVE, "key"),
    CANNED("key is null", 200, "{\"keyId\":\"@ID@\",\"key\":null}", NOTHING_TO_HAVE, "key"),
    CANNED("key is an array", 200, "{\"keyId\":\"@ID@\",\"key\":[\"@KEY@\"]}", NOTHING_TO_HAVE, "key"),
    CANNED("key is an object", 200, "{\"keyId\":\"@ID@\",\"key\":{\"key\":\"@KEY@\"}}", NOTHING_TO_HAVE,
           "key"),
    CANNED("keyId is a number", 200, "{\"keyId\":1,\"key\":\"@KEY@\"}", NOTHING_TO_HAVE, "keyId"),
    CANNED("keyId is true", 200, "{\"keyId\":true,\"key\":\"@KEY@\"}", NOTHING_TO_HAVE, "keyId"),
    CANNED("keyId is empty", 200, "{\"keyId\":\"\",\"key\":\"@KEY@\"}", NOTHING_TO_HAVE, "keyId"),
    CANNED("keyId with a NUL", 200, "{\"keyId\":\"ab\\u0000cd\",\"key\":\"@KEY@\"}", NOTHING_TO_HAVE,
           "keyId|json|nul"),
    CANNED("key with a NUL", 200, "{\"keyId\":\"@ID@\",\"key\":\"@KEY@\\u0000\"}", NOTHING_TO_HAVE,
           "key|json|nul"),
    CANNED("key not hex", 200, "{\"keyId\":\"@ID@\",\"key\":\"zz@KEY@\"}", NOTHING_TO_HAVE, "hex|size|bits"),
    CANNED(
        "key not hex at its end", 200,
        "{\"keyId\":\"@ID@\",\"key\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg\"}",
        NOTHING_TO_HAVE, "hex"),
    CANNED("key in Base64", 200,
           "{\"keyId\":\"@ID@\",\"key\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}", NOTHING_TO_HAVE,
           "hex|size|bits"),
    CANNED("key of odd length", 200, "{\"keyId\":\"@ID@\",\"key\":\"0@KEY@\"}", NOTHING_TO_HAVE,
           "hex|odd|size|bits"),
    CANNED("key with a blank", 200, "{\"keyId\":\"@ID@\",\"key\":\" @KEY@\"}", NOTHING_TO_HAVE,
           "hex|odd|size|bits"),
    CANNED("key with 0x", 200, "{\"keyId\":\"@ID@\",\"key\":\"0x@KEY@\"}", NOTHING_TO_HAVE, "hex|size|bits"),
    CANNED("an empty key", 200, "{\"keyId\":\"@ID@\",\"key\":\"\"}", NOTHING_TO_HAVE, "key|size|bits"),
    CANNED("a key of 16 bytes", 200, "{\"keyId\":\"@ID@\",\"key\":\"00112233445566778899aabbccddeeff\"}",
           NOTHING_TO_HAVE, "size|bits|bytes"),
    CANNED("a key of 33 bytes", 200, "{\"keyId\":\"@ID@\",\"key\":\"00@KEY@\"}", ODD_SIZE, "size|bits|bytes"),
    CANNED("a key of 64 bytes", 200, "{\"keyId\":\"@ID@\",\"key\":\"@KEY@@KEY@\"}", ODD_SIZE,
           "size|bits|bytes"),
    CANNED("key twice", 200, "{\"keyId\":\"@ID@\",\"key\":\"@KEY@\",\"key\":\"@KEY@\"}", NOTHING_TO_HAVE,
           "duplicate|twice"),
    CANNED("keyId twice", 200, "{\"keyId\":\"@ID@\",\"keyId\":\"@ID@\",\"key\":\"@KEY@\"}", NOTHING_TO_HAVE,
           "duplicate|twice"),
    CANNED("not UTF-8", 200, "{\"keyId\":\"\xff\xfe\",\"key\":\"@KEY@\"}", NOTHING_TO_HAVE, "json|utf"),
    CANNED("a broken escape", 200, "{\"keyId\":\"\\ud800\",\"key\":\"@KEY@\"}", NOTHING_TO_HAVE,
           "json|utf|escape"),
    {"a length that is none", SOURCE_CANNED, false, 200, "Content-Length: -5\r\n", GOOD_BODY, 0,
     NOTHING_TO_HAVE, "127.0.0.1"},
    {"chunked that is not", SOURCE_CANNED, false, 200, "Transfer-Encoding: chunked\r\n", GOOD_BODY, 0,
     NOTHING_TO_HAVE, "127.0.0.1"},
    {"gzip that is not asked for", SOURCE_CANNED, false, 200, "Content-Encoding: gzip\r\n", "\x1f\x8b\x08", 0,
     NOTHING_TO_HAVE, "json|encoding"},
    /* and what is right, so that this test can tell */
    CANNED("a good answer", 200, GOOD_BODY, FINE, NULL),
    CANNED("members that nobody knows", 200,
           "{\"a\":[1,2,{\"key\":\"b\"}],\"keyId\":\"@ID@\",\"key\":\"@KEY@\",\"z\":null}", FINE, NULL),
    CANNED("white space", 200, " {\r\n\t\"keyId\" : \"@ID@\" ,\n\"key\":\"@KEY@\" }\n", FINE, NULL),
    {"a good answer, certificates", SOURCE_CANNED, true, 200, "", GOOD_BODY, 0, FINE, NULL},
};

static void start(bool certificates, unsigned port)
{
    if (certificates)
        harness_conf(CONF_DYNAMIC " tls trustpoint %s\n timeout %d\n", port, source->trustpoint, TIMEOUT_MS);
    else
        harness_conf(CONF_DYNAMIC CONF_PSK " timeout %d\n", port, TIMEOUT_MS);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
}

static CK_RV ask(enum way way, CK_OBJECT_HANDLE *o, size_t *n)
{
    struct template t = {.n = 0};
    CK_RV rv;
    uint8_t id[16];
    template_number(&t, CKA_CLASS, CKO_SECRET_KEY);
    template_text(&t, CKA_LABEL, "peer1");
    *o = 0;
    if (way == GENERATE) {
        CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
        rv = f->C_GenerateKey(s, &m, t.a, t.n, o);
        *n = rv == CKR_OK;
        return rv;
    }
    source_fresh_id(id);
    if (way == BY_ID)
        template_bytes(&t, CKA_ID, id, 16);
    *n = object_search(s, &t, o, 1, &rv);
    return rv;
}

static bool log_has_word(const char *log, const char *words)
{
    char copy[200], *save = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
        if (strcasestr(log, w))
            return true;
    return false;
}

/* Is there a line that names profile, server and reason? */
static void expect_log(const struct bad *b, unsigned port)
{
    char server[40], copy[20000], *save = NULL;
    bool named = false;
    const char *log = harness_log();
    snprintf(server, sizeof server, "127.0.0.1:%u", port);
    snprintf(copy, sizeof copy, "%s", log);
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        named |= strstr(l, "qkd") && strstr(l, server) && log_has_word(l, b->reason);
    expect(named, "no line names the profile, %s and the reason (%s): %.1500s", server, b->reason, log);
}

static void check(const struct bad *b, enum way way, unsigned port)
{
    CK_OBJECT_HANDLE o;
    size_t n;
    expect_case("%s, %s", b->what, way_name[way]);
    harness_log_clear();
    uint64_t before = harness_ms();
    CK_RV rv = ask(way, &o, &n);
    uint64_t ms = harness_ms() - before;
    expect(ms < TIMEOUT_MS + (HARNESS_ASAN || HARNESS_TSAN ? 3000 : 1000), "took %lu ms", (unsigned long)ms);
    if (b->outcome == FINE || (b->outcome == ODD_SIZE && way == BY_ID)) {
        expect_rv(CKR_OK, rv);
        expect(n == 1, "%zu objects", n);
        return;
    }
    if (b->outcome == NO_SUCH_KEY && way == BY_ID)
        expect_rv(CKR_OK, rv);
    else if (b->outcome == NOTHING_TO_HAVE || b->outcome == ODD_SIZE)
        expect_rv(CKR_DEVICE_ERROR, rv);
    else
        expect_rv_in(rv, CKR_DEVICE_ERROR, CKR_FUNCTION_REJECTED);
    expect(n == 0 && o == 0, "%zu objects, handle %lu", n, o);
    struct template everything = {.n = 0};
    CK_OBJECT_HANDLE found[16];
    size_t all = object_search(s, &everything, found, 16, NULL);
    expect(all == 3, "%zu objects are there, not 3", all);
    if (!(b->outcome == NO_SUCH_KEY && way == BY_ID))
        expect_log(b, port);
    expect(strstr(harness_log(), SOURCE_PSK_HEX) == NULL, "the TLS PSK is in the log");
}

/* Every case is its own token, so that no server is still set aside. */
static void test_bad_input(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++)
        for (int way = 0; way < WAYS; way++) {
            const struct bad *b = &bads[i];
            /* By peer and C_GenerateKey make the same request: take turns. What takes its full time is asked
             * for once. */
            bool slow = b->mode == SOURCE_HANG || b->mode == SOURCE_HANG_TLS || b->mode == SOURCE_DRIP;
            if ((slow && way != (int)(i % WAYS)) || (!slow && way == (i & 1 ? BY_PEER : GENERATE)))
                continue;
            source_reset(source);
            atomic_store(&source->status, b->status);
            atomic_store(&source->cut, b->cut);
            snprintf(source->headers, sizeof source->headers, "%s", b->headers);
            snprintf(source->body, sizeof source->body, "%s", b->body);
            atomic_store(&source->mode, (int)b->mode);
            start(b->certificates, source->port);
            check(b, (enum way)way, source->port);
            expect_ok(f->C_Finalize(NULL));
        }
}

/* The key's hex of a refused answer is not in the log either. */
static void test_no_secret_in_the_log(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{\"keyId\":\"@ID@\",\"key\":\"5ec2e7%s\"}", "5ec2e7%s",
                                         "{\"keyId\":\"@ID@\",\"key\":\"5ec2e7%s\",\"key\":1}",
                                         "{\"key\":\"5ec2e7%s\"}", "{\"keyId\":1,\"key\":\"5ec2e7%s\"}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (int status = 200; status <= 500; status += 100) {
            CK_OBJECT_HANDLE o;
            size_t n;
            source_reset(source);
            atomic_store(&source->status, status);
            snprintf(source->body, sizeof source->body, bodies[i],
                     "00112233445566778899aabbccddeeff0011223344556677");
            atomic_store(&source->mode, SOURCE_CANNED);
            start(false, source->port);
            harness_log_clear();
            expect_case("body %zu, status %d", i, status);
            for (int way = 0; way < WAYS; way++)
                ask((enum way)way, &o, &n);
            expect(!strstr(harness_log(), "5ec2e7") && !strstr(harness_log(), "ccddeeff"),
                   "the log has (a part of) the key: %.1000s", harness_log());
            expect_ok(f->C_Finalize(NULL));
        }
}

/* An answer to GET /key/{id} for another key is none. */
static void test_other_id(void **state)
{
    (void)state;
    static const struct bad other = {
        "another keyId", SOURCE_CANNED, false, 200, "", "{\"keyId\":\"@OTHER@\",\"key\":\"@KEY@\"}", 0,
        NOTHING_TO_HAVE, "keyId|ID"};
    source_reset(source);
    atomic_store(&source->mode, SOURCE_CANNED);
    snprintf(source->body, sizeof source->body, "%s", other.body);
    start(false, source->port);
    check(&other, BY_ID, source->port);
    /* the same bytes in another case are the same ID */
    f->C_Finalize(NULL);
    start(false, source->port);
    static const uint8_t id[16] = {0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    snprintf(source->body, sizeof source->body,
             "{\"keyId\":\"ABcdEF0102030405060708090a0B0C0d\",\"key\":\"@KEY@\"}");
    object_by_id(s, id, 16);
}

/* Two different keys under one ID: the second is none, the first stays. */
static void test_id_again(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE a = 0, b = 0;
    size_t n;
    source_reset(source);
    atomic_store(&source->mode, SOURCE_CANNED);
    snprintf(source->body, sizeof source->body,
             "{\"keyId\":\"00000000000000000000000000000001\",\"key\":\"@KEY@\"}");
    start(false, source->port);
    expect_ok(ask(GENERATE, &a, &n));
    harness_log_clear();
    CK_RV rv = ask(GENERATE, &b, &n);
    expect(rv != CKR_OK, "another key under the same ID");
    expect(*harness_log() != '\0', "nothing is in the log");
    expect(object_number(s, a, CKA_CLASS) == CKO_SECRET_KEY, "the first is gone");
}

static unsigned closed_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void test_down(void **state)
{
    (void)state;
    static const struct bad down = {"down",          SOURCE_GOOD,      false, 0, "", "", 0,
                                    NOTHING_TO_HAVE, "refused|connect"};
    unsigned port = closed_port();
    for (int way = 0; way < WAYS; way++) {
        start(false, port);
        check(&down, (enum way)way, port);
        expect_ok(f->C_Finalize(NULL));
    }
}

/* The first server of two is hung or down, the second gives the key, within one bound. */
static void test_second_server(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o;
    size_t n;
    source_reset(source);
    harness_conf(CONF_DYNAMIC " kme server ipv4 127.0.0.1 port %u\n" CONF_PSK, closed_port(), source->port);
    require_ok(f->C_Initialize(NULL));
    s = harness_session_rw("dynamic");
    for (int way = 0; way < WAYS; way++) {
        expect_case("%s", way_name[way]);
        expect_ok(ask((enum way)way, &o, &n));
        expect(n >= 1, "%zu objects", n);
    }
}

/* After the key source works again, so does the token, without being initialized anew. */
static void test_recovery(void **state)
{
    (void)state;
    CK_OBJECT_HANDLE o;
    size_t n;
    CK_RV rv = CKR_OK;
    source_reset(source);
    atomic_store(&source->mode, SOURCE_CANNED);
    atomic_store(&source->status, 500);
    start(false, source->port);
    expect_rv(CKR_DEVICE_ERROR, ask(BY_PEER, &o, &n));
    source_reset(source);
    for (int i = 0; i < 100; i++) {
        rv = ask(BY_PEER, &o, &n);
        if (rv == CKR_OK)
            break;
        usleep(100000);
    }
    expect_rv(CKR_OK, rv);
    expect(n == 1, "%zu objects", n);
}

/* A search that failed leaves the session without an active search, or one that C_FindObjectsFinal ends. */
static void test_session_after_failure(void **state)
{
    (void)state;
    CK_ATTRIBUTE label = {CKA_LABEL, (void *)(uintptr_t) "peer1", 5};
    CK_OBJECT_HANDLE o;
    CK_ULONG n = 99;
    start(false, closed_port());
    expect_ok(f->C_FindObjectsInit(s, &label, 1));
    expect_rv(CKR_DEVICE_ERROR, f->C_FindObjects(s, &o, 1, &n));
    expect_rv_in(f->C_FindObjectsFinal(s), CKR_OK, CKR_OPERATION_NOT_INITIALIZED);
    expect_ok(f->C_FindObjectsInit(s, NULL, 0));
    expect_ok(f->C_FindObjects(s, &o, 1, &n));
    expect(n == 1, "%lu objects", n);
    expect_ok(f->C_FindObjectsFinal(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOKEN_TEST(test_bad_input), TOKEN_TEST(test_no_secret_in_the_log),
        TOKEN_TEST(test_other_id),  TOKEN_TEST(test_id_again),
        TOKEN_TEST(test_down),      TOKEN_TEST(test_second_server),
        TOKEN_TEST(test_recovery),  TOKEN_TEST(test_session_after_failure),
    };
    harness_load();
    source = source_start(harness_directory());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    source_stop(source);
    return failed;
}
