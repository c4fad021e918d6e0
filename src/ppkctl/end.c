/* SPDX-License-Identifier: BSD-2-Clause */
#include "ppkctl/end.h"

#include "base/clock.h"
#include "ppkctl/diagnose.h"
#include "skip/capabilities.h"
#include "skip/loader.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SLICE_MS 200u /* progress is shown so often */
#define GRACE_MS 200u /* for the transport to tell that a request's time is over */

const char *const end_steps[] = {"address", "tcp", "tls", "capabilities"};

/* ---- configuration ---- */

static void file_show(struct end *e)
{
    const struct configuration *c = e->conf;
    struct stat st = {0};
    size_t peers = 0;

    for (size_t i = 0; i < c->n_keyrings; i++)
        peers += c->keyrings[i].n_peers;
    (void)stat(c->path, &st);
    screen_good(e->screen, "file", "mode %04o, user %u; keyrings %zu, peers %zu, sks profiles %zu",
                (unsigned)st.st_mode & 07777, (unsigned)st.st_uid, c->n_keyrings, peers, c->n_profiles);
}

static enum test_code secrets_open(struct end *e, const struct secret *master_key)
{
    struct secret_view view = {0};
    struct fault fault = {""};
    bool good = false;

    if (!e->conf->sealed)
        return TEST_OK;
    if (master_key == NULL) {
        screen_bad(
            e->screen, "master key", "secrets are of type 6, and no master key is at hand",
            "Give --master-key-file FILE, or configure `master-key file FILE`. Under systemd the token "
            "gets it as the credential ppk-master-key.");
        return TEST_CONFIGURATION;
    }
    if (secret_open(master_key, &view))
        good = configuration_unlock(e->conf, view.data, view.len, &fault);
    secret_close(&view);
    if (!good) {
        screen_bad(e->screen, "master key", fault.text, diagnose_configuration(fault.text));
        return TEST_CONFIGURATION;
    }
    screen_good(e->screen, "master key", "opens the secrets of type 6");
    return TEST_OK;
}

enum test_code end_open(struct end *e, const char *path, const struct secret *master_key)
{
    struct text errors = {0};

    screen_title(e->screen, "configuration %s", path);
    e->conf = configuration_load(path, &errors);
    if (e->conf == NULL) {
        const char *text = errors.s != NULL ? errors.s : "no memory left";

        screen_bad(e->screen, strstr(text, "master key") != NULL ? "master key" : "file", text,
                   diagnose_configuration(text));
        text_free(&errors);
        return TEST_CONFIGURATION;
    }
    file_show(e);
    return secrets_open(e, master_key);
}

static void peer_show(struct end *e)
{
    const struct peer *p = e->peer;
    struct text addresses = {0};

    for (size_t i = 0; i < p->n_groups && i < 4; i++) {
        text_printf(&addresses, ", ");
        address_group_print(&p->groups[i], &addresses);
    }
    screen_good(e->screen, "peer", "%s in keyring %s%s%s%s, PPK %s", p->name, p->keyring->name,
                addresses.s != NULL ? addresses.s : "", p->dynamic != NULL ? ", sks profile " : "",
                p->dynamic != NULL ? p->dynamic->name : "",
                peer_ppk_required(p) ? "required" : "not required");
    text_free(&addresses);
}

enum test_code end_peer(struct end *e, const char *keyring, const char *name)
{
    const struct configuration *c = e->conf;
    struct fault fault = {""}, advice = {""};

    for (size_t i = 0; i < c->n_keyrings; i++) {
        const struct peer *found = keyring_peer_by_name(&c->keyrings[i], name, strlen(name));

        if (found == NULL || (keyring != NULL && strcmp(c->keyrings[i].name, keyring) != 0))
            continue;
        if (e->peer != NULL) {
            fault_set(&fault, "\"%s\" is in keyring \"%s\" and in \"%s\"", name, e->peer->keyring->name,
                      c->keyrings[i].name);
            screen_bad(e->screen, "peer", fault.text, "Say which one with --keyring NAME.");
            return TEST_CONFIGURATION;
        }
        e->peer = found;
    }
    if (e->peer == NULL) {
        fault_set(&fault,
                  keyring != NULL ? "there is no peer \"%s\" in keyring \"%s\""
                                  : "no keyring has a peer \"%s\"",
                  name, keyring);
        fault_set(&advice, "\"ppkctl show keyring --config %s\" lists the peers.", c->path);
        screen_bad(e->screen, "peer", fault.text, advice.text);
        return TEST_CONFIGURATION;
    }
    peer_show(e);
    if (e->peer->dynamic == NULL && e->peer->n_manual == 0) {
        screen_bad(e->screen, "peer", "it has no PPK at all: tunnels with it are not quantum-safe",
                   "Add `ppk dynamic PROFILE required` or `ppk manual ...` to the peer.");
        return TEST_CONFIGURATION;
    }
    return TEST_OK;
}

/* ---- key sources ---- */

const char *end_local_id(const struct end *e)
{
    if (e->capabilities != NULL && e->capabilities->local_system_id != NULL &&
        e->capabilities->local_system_id[0] != '\0')
        return e->capabilities->local_system_id;
    return e->peer->dynamic->local_system_id;
}

const char *end_remote_id(const struct end *e)
{
    struct fault ignored;

    if (e->peer->remote_system_id != NULL || e->capabilities == NULL)
        return e->peer->remote_system_id;
    return skip_capabilities_only_remote(e->capabilities, &ignored);
}

/* Makes one request to a server, and shows that it is under way. */
static bool ask(struct end *e, size_t server, const struct skip_call *call, struct skip_answer *answer)
{
    const struct skip_transport *transport = skip_loader_loaded();
    const struct sks_profile *profile = e->peer->dynamic;
    uint64_t began = clock_ms(), deadline = began + profile->timeout_ms;
    char what[300];
    size_t who;

    memset(answer, 0, sizeof *answer);
    if (!transport->wire_ask(e->wire, server, call, deadline, answer))
        return false;
    (void)snprintf(what, sizeof what, "waiting for %s port %u", profile->servers[server].host,
                   profile->servers[server].port);
    while (clock_ms() < deadline + GRACE_MS) {
        if (transport->wire_wait(e->wire, clock_ms() + SLICE_MS, &who, answer))
            return true;
        screen_wait(e->screen, what, clock_ms() - began);
    }
    (void)transport->wire_drop(e->wire, server);
    answer->result = SKIP_UNREACHABLE;
    fault_set(&answer->fault, "no answer after %u ms", profile->timeout_ms);
    return true;
}

/* Shows how the connection came about, up to where it failed. */
static enum test_code link_show(struct end *e, size_t server, const struct skip_answer *answer)
{
    static const enum test_code codes[] = {[SKIP_STAGE_NAME] = TEST_CONNECT,
                                           [SKIP_STAGE_CONNECT] = TEST_CONNECT,
                                           [SKIP_STAGE_TLS] = TEST_TLS,
                                           [SKIP_STAGE_ANSWER] = TEST_OK};
    const struct sks_profile *profile = e->peer->dynamic;
    const struct kme_server *s = &profile->servers[server];
    struct fault cause, advice;
    struct skip_link link;

    skip_loader_loaded()->wire_link(e->wire, server, &link);
    if (answer->status != 0)
        link.stage = SKIP_STAGE_ANSWER;
    if (link.stage > SKIP_STAGE_NAME)
        screen_good(e->screen, "address", "%s", link.address[0] != '\0' ? link.address : s->host);
    if (link.stage > SKIP_STAGE_CONNECT)
        screen_good(e->screen, "tcp", "port %u, in %u ms", s->port, link.connect_ms);
    if (link.stage == SKIP_STAGE_ANSWER && profile->psk_id != NULL)
        screen_good(e->screen, "tls", "%s, %s, in %u ms; both ends by PSK \"%s\"", link.version, link.suite,
                    link.tls_ms, profile->psk_id);
    else if (link.stage == SKIP_STAGE_ANSWER)
        screen_good(e->screen, "tls", "%s, %s, in %u ms; it is \"%s\", by \"%s\"; we are %s", link.version,
                    link.suite, link.tls_ms, link.subject, link.issuer,
                    profile->certificate != NULL ? profile->certificate : "anonymous");
    if (link.stage == SKIP_STAGE_ANSWER)
        return TEST_OK;
    diagnose_link(profile, s, &link, answer, &cause, &advice);
    screen_bad(e->screen, end_steps[link.stage], cause.text, advice.text);
    screen_skip(e->screen, end_steps + link.stage + 1, END_STEPS - (size_t)link.stage - 1);
    return codes[link.stage];
}

static void capabilities_show(struct end *e, const struct skip_capabilities *c)
{
    struct text remotes = {0};

    for (char **id = c->remote_system_ids; id != NULL && *id != NULL && remotes.len < 200; id++)
        text_printf(&remotes, "%s\"%s\"", remotes.len > 0 ? ", " : "", *id);
    screen_good(e->screen, "capabilities", "it is \"%s\" and shares keys with %s; entropy %s; algorithm %s",
                c->local_system_id != NULL ? c->local_system_id : "",
                remotes.s != NULL ? remotes.s : "nobody", c->entropy ? "yes" : "no",
                c->algorithm != NULL ? c->algorithm : "not told");
    text_free(&remotes);
}

/* What does not fit: our own name, the other end's, or what is asked for? */
static void capabilities_advice(const struct peer *peer, const struct skip_capabilities *c,
                                const struct skip_call *call, struct fault *advice)
{
    const struct sks_profile *profile = peer->dynamic;
    const char *ours = profile->local_system_id, *theirs = c->local_system_id;
    struct fault ignored;

    if (ours != NULL && theirs != NULL && strcmp(ours, theirs) != 0)
        fault_set(advice,
                  "If this is the right key source, say `local-system-id %s` in sks profile %s; else correct "
                  "`kme server`.",
                  theirs, profile->name);
    else if (call->remote == NULL ||
             (c->key && !c->delivery.told && !skip_capabilities_allow(c, call, NULL, &ignored)))
        fault_set(
            advice,
            "Correct `remote-system-id` of peer %s; if it is right, let the key source serve that system "
            "(skipd.conf: a peer of this name). \"ppkctl capabilities\" shows whom it serves.",
            peer->name);
    else
        fault_set(advice,
                  "Make `key-size` and `entropy` of sks profile %s fit what \"ppkctl capabilities\" shows, "
                  "or configure the key source.",
                  profile->name);
}

/* Does it serve what the peer needs? */
static enum test_code capabilities_check(struct end *e, const struct skip_capabilities *c)
{
    const struct sks_profile *profile = e->peer->dynamic;
    struct skip_call call = {.request = SKIP_REQUEST_KEY, .size = profile->key_size};
    struct fault fault = {""}, advice;

    call.remote = e->peer->remote_system_id != NULL ? e->peer->remote_system_id
                                                    : skip_capabilities_only_remote(c, &fault);
    if (call.remote != NULL && skip_capabilities_allow(c, &call, profile->local_system_id, &fault) &&
        (!profile->entropy || c->entropy)) {
        capabilities_show(e, c);
        return TEST_OK;
    }
    if (fault.text[0] == '\0')
        fault_set(&fault, "it gives no entropy, but the sks profile asks for it");
    capabilities_advice(e->peer, c, &call, &advice);
    screen_bad(e->screen, "capabilities", fault.text, advice.text);
    return TEST_CAPABILITIES;
}

static enum test_code server_test(struct end *e, size_t server, struct skip_capabilities **out)
{
    const struct sks_profile *profile = e->peer->dynamic;
    struct skip_call call = {.request = SKIP_REQUEST_CAPABILITIES, .remote = e->peer->remote_system_id};
    struct fault advice;
    struct skip_answer answer;
    enum test_code code = TEST_OK;

    screen_title(e->screen, "key source %s port %u (sks profile %s)", profile->servers[server].host,
                 profile->servers[server].port, profile->name);
    if (!ask(e, server, &call, &answer)) {
        screen_bad(e->screen, "address", answer.fault.text, "Correct the sks profile.");
        return TEST_CONNECT;
    }
    code = link_show(e, server, &answer);
    if (code != TEST_OK)
        goto out;
    if (answer.result == SKIP_OK) {
        code = capabilities_check(e, answer.capabilities);
        *out = answer.capabilities;
        answer.capabilities = NULL;
    } else if (answer.result == SKIP_REFUSED && answer.status != 401 && answer.status != 403 &&
               e->peer->remote_system_id != NULL) {
        screen_note(e->screen, "capabilities", "not told (status %ld): system IDs cannot be checked",
                    answer.status);
    } else {
        diagnose_answer(profile, &call, &answer, &advice);
        screen_bad(e->screen, "capabilities", answer.fault.text, advice.text);
        code = TEST_CAPABILITIES;
    }
out:
    skip_answer_clear(&answer);
    return code;
}

enum test_code end_connect(struct end *e)
{
    const struct sks_profile *profile = e->peer->dynamic;
    const struct skip_transport *transport;
    enum test_code result = TEST_OK;
    struct fault fault = {""};
    bool good = false;

    transport = skip_loader_transport(&fault);
    e->wire = transport != NULL ? transport->wire_new(profile) : NULL;
    if (e->wire == NULL) {
        screen_bad(e->screen, "transport", transport != NULL ? "no memory left" : fault.text,
                   "ppk-skip.so belongs beside the token: is the package libppk-pkcs11 whole?");
        return TEST_CONFIGURATION;
    }
    for (size_t i = 0; i < profile->n_servers; i++) {
        struct skip_capabilities *capabilities = NULL;
        enum test_code code = server_test(e, i, &capabilities);

        if (code == TEST_OK && !good) {
            good = true;
            e->server = i;
            e->capabilities = capabilities;
            capabilities = NULL;
        }
        skip_capabilities_free(capabilities);
        if (result == TEST_OK)
            result = code;
    }
    if (!good) {
        transport->wire_free(e->wire);
        e->wire = NULL;
    }
    return result;
}

/* ---- keys ---- */

static enum test_code answer_take(struct end *e, const struct skip_call *call, const char *step)
{
    struct fault advice;

    if (!ask(e, e->server, call, &e->key) || e->key.result != SKIP_OK) {
        diagnose_answer(e->peer->dynamic, call, &e->key, &advice);
        screen_bad(e->screen, step, e->key.fault.text, advice.text);
        return TEST_KEY;
    }
    return TEST_OK;
}

static void key_drop(struct end *e)
{
    skip_answer_clear(&e->key);
    memset(&e->key, 0, sizeof e->key);
}

enum test_code end_entropy(struct end *e)
{
    const struct skip_call call = {.request = SKIP_REQUEST_ENTROPY, .size = 256};
    enum test_code code;

    if (!e->peer->dynamic->entropy)
        return TEST_OK;
    code = answer_take(e, &call, "entropy");
    if (code == TEST_OK)
        screen_good(e->screen, "entropy", "%zu bits came", 8 * secret_len(e->key.value));
    key_drop(e);
    return code;
}

enum test_code end_key_new(struct end *e)
{
    const struct skip_call call = {
        .request = SKIP_REQUEST_KEY, .remote = end_remote_id(e), .size = e->peer->dynamic->key_size};
    uint64_t began = clock_ms();
    enum test_code code = answer_take(e, &call, "new key");

    if (code == TEST_OK)
        screen_good(e->screen, "new key", "ID %s, %zu bits, in %llu ms", e->key.key_id,
                    8 * secret_len(e->key.value), (unsigned long long)(clock_ms() - began));
    return code;
}

enum test_code end_key_by_id(struct end *e, const char *key_id)
{
    const struct skip_call call = {
        .request = SKIP_REQUEST_KEY_BY_ID, .remote = end_remote_id(e), .key_id = key_id};

    return answer_take(e, &call, "key by ID");
}

void end_close(struct end *e)
{
    key_drop(e);
    skip_capabilities_free(e->capabilities);
    if (e->wire != NULL)
        skip_loader_loaded()->wire_free(e->wire);
    configuration_free(e->conf);
    *e = (struct end){.screen = e->screen};
}
