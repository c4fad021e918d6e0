/* SPDX-License-Identifier: BSD-2-Clause */
/* ppkctl test, ppkctl connect-test: the whole chain from a configuration to a key that both ends have. */
#include "config/config.h"
#include "ppkctl/end.h"
#include "ppkctl/token.h"
#include "skip/loader.h"

#include <stdlib.h>
#include <string.h>

struct chain {
    const struct options *options;
    struct screen screen;
    const struct secret *master_key;
    struct end near, far;
    const char *far_path; /* NULL: the other end's configuration is not at hand */
    enum test_code code;  /* of the first failure */
    unsigned keys;        /* that were used up */
    unsigned chains;      /* that connect-test has been through */
};

static bool passed(struct chain *c, enum test_code code)
{
    if (c->code == TEST_OK)
        c->code = code;
    return code == TEST_OK;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL || strcmp(a, b) == 0;
}

/* The peer of the configuration that stands for an end which its key source calls `their_id`, and which calls
 * ours `our_id` (NULL: not known): better one that names it than one that names nobody. */
static const struct peer *counterpart(const struct configuration *conf, const char *our_id,
                                      const char *their_id)
{
    const struct peer *unnamed = NULL;

    for (size_t i = 0; i < conf->n_keyrings; i++) {
        for (size_t j = 0; j < conf->keyrings[i].n_peers; j++) {
            const struct peer *p = &conf->keyrings[i].peers[j];

            if (p->dynamic == NULL || !same(p->dynamic->local_system_id, our_id) ||
                !same(p->remote_system_id, their_id))
                continue;
            if (p->remote_system_id != NULL)
                return p;
            unnamed = unnamed != NULL ? unnamed : p;
        }
    }
    return unnamed;
}

/* ---- steps ---- */

/* Does the token start with this configuration, and show the peer? Asks for no key. */
static bool token_test(struct chain *c)
{
    const struct peer *peer = c->near.peer;
    struct token t = {0};
    bool good = token_load(&t, c->options->module, c->near.conf->path) &&
                token_open_peer(&t, peer->keyring->name, peer->name) && token_login(&t, c->master_key);

    if (good)
        screen_good(&c->screen, "token", "\"%s\" shows the peer", t.label);
    else
        screen_bad(&c->screen, "token",
                   "the token does not take this configuration (the reason is on stderr)",
                   "Is it the module that belongs to this ppkctl? Name another one with --module FILE.");
    token_close(&t);
    return passed(c, good ? TEST_OK : TEST_CONFIGURATION);
}

static const struct manual_ppk *manual_find(const struct configuration *conf, struct span id)
{
    for (size_t i = 0; i < conf->n_keyrings; i++)
        for (size_t j = 0; j < conf->keyrings[i].n_peers; j++)
            for (size_t k = 0; k < conf->keyrings[i].peers[j].n_manual; k++)
                if (span_equal(conf->keyrings[i].peers[j].manual[k].id, id))
                    return &conf->keyrings[i].peers[j].manual[k];
    return NULL;
}

/* Are the peer's manual PPKs the same at the other end? */
static bool manual_compare(struct chain *c)
{
    const struct peer *peer = c->near.peer;
    bool good = true;

    for (size_t i = 0; i < peer->n_manual; i++) {
        const struct manual_ppk *ours = &peer->manual[i];
        const struct manual_ppk *theirs = manual_find(c->far.conf, ours->id);
        struct fault fault;

        if (theirs != NULL && secret_equal(ours->key.value, theirs->key.value)) {
            screen_good(&c->screen, "manual PPK", "%.*s: the same at both ends", (int)ours->id.len,
                        (const char *)ours->id.data);
            continue;
        }
        fault_set(&fault,
                  theirs != NULL ? "%.*s: another key at the other end" : "%.*s: missing at the other end",
                  (int)ours->id.len, (const char *)ours->id.data);
        screen_bad(&c->screen, "manual PPK", fault.text,
                   "Configure `ppk manual id ... key ...` with the same ID and key at both ends.");
        good = false;
    }
    return passed(c, good ? TEST_OK : TEST_OTHER_END);
}

/* Finds, in the other end's configuration, the peer that means us. */
static bool far_peer(struct chain *c)
{
    const char *local = end_local_id(&c->near), *remote = end_remote_id(&c->near);
    const struct peer *p = counterpart(c->far.conf, remote, local);
    struct fault fault, advice;

    if (p != NULL)
        return passed(c, end_peer(&c->far, p->keyring->name, p->name));
    fault_set(&fault, "no peer there stands for this end: system \"%s\", seen from \"%s\"",
              local != NULL ? local : "?", remote != NULL ? remote : "?");
    fault_set(
        &advice,
        "At the other end `remote-system-id` of the peer has to be \"%s\", and `local-system-id` of its "
        "sks profile (if it is there) \"%s\"; or correct these two at this end.",
        local != NULL ? local : "?", remote != NULL ? remote : "?");
    screen_bad(&c->screen, "peer", fault.text, advice.text);
    return passed(c, TEST_OTHER_END);
}

/* Does the other end's key source have the name by which this end asks for keys? */
static bool names_compare(struct chain *c)
{
    const char *remote = end_remote_id(&c->near), *theirs = end_local_id(&c->far);
    struct fault fault;

    if (same(remote, theirs)) {
        screen_good(&c->screen, "system IDs", "\"%s\" and \"%s\" know each other", end_local_id(&c->near),
                    remote != NULL ? remote : theirs);
        return true;
    }
    fault_set(&fault, "this end asks for keys with \"%s\", but the other end's key source is \"%s\"", remote,
              theirs);
    screen_bad(&c->screen, "system IDs", fault.text,
               "Correct `remote-system-id` of the peer at this end, or `kme server` at the other.");
    return passed(c, TEST_OTHER_END);
}

static bool near_test(struct chain *c, const char *path, const char *keyring, const char *peer)
{
    struct end *e = &c->near;

    if (!passed(c, end_open(e, path, c->master_key)) || !passed(c, end_peer(e, keyring, peer)) ||
        !token_test(c))
        return false;
    if (e->peer->dynamic == NULL)
        return true;
    (void)passed(c, end_connect(e));
    return e->wire != NULL && passed(c, end_entropy(e));
}

static bool far_test(struct chain *c)
{
    struct end *e = &c->far;

    screen_say(&c->screen, "-- the other end --");
    if (!passed(c, end_open(e, c->far_path, c->master_key)))
        return false;
    if (!manual_compare(c) || c->near.peer->dynamic == NULL)
        return c->near.peer->dynamic == NULL;
    if (!far_peer(c))
        return false;
    (void)passed(c, end_connect(e));
    return e->wire != NULL && names_compare(c);
}

/* A new key, and the same one at the other end. */
static void keys_test(struct chain *c)
{
    const char *id;

    screen_title(&c->screen, "key");
    if (!passed(c, end_key_new(&c->near)))
        return;
    c->keys++;
    id = c->near.key.key_id;
    if (c->far_path == NULL) {
        screen_note(
            &c->screen, "other end",
            "not compared: give --other-end FILE, or run there \"ppkctl fetch PEER --id %s\", with its name "
            "for this end",
            id);
        return;
    }
    if (!passed(c, end_key_by_id(&c->far, id)))
        return;
    if (secret_equal(c->near.key.value, c->far.key.value)) {
        screen_good(&c->screen, "key by ID", "the other end has the same key");
        return;
    }
    screen_bad(
        &c->screen, "key by ID", "the other end has another key of the same ID",
        "The two key sources do not agree: their store or their link is damaged; look into both logs.");
    (void)passed(c, TEST_OTHER_END);
}

/* ---- whole chains ---- */

static void chain_run(struct chain *c, const char *path, const char *keyring, const char *peer)
{
    static const char *const key_steps[] = {"other end", "key"};
    bool with_far = c->far_path != NULL, dynamic;

    c->near.screen = c->far.screen = &c->screen;
    if (!near_test(c, path, keyring, peer)) {
        screen_skip(&c->screen, with_far ? key_steps : key_steps + 1, with_far ? 2 : 1);
        goto out;
    }
    dynamic = c->near.peer->dynamic != NULL;
    if (with_far && !far_test(c))
        screen_skip(&c->screen, key_steps + 1, 1);
    else if (dynamic && !c->options->no_key)
        keys_test(c);
out:
    end_close(&c->near);
    end_close(&c->far);
}

static bool chain_begin(struct chain *c, const struct options *o, struct secret **master_key)
{
    struct fault fault = {""};

    (void)setenv("PPK_LOG", "stderr:error", 0); /* the token tells there why it does not start */
    *c = (struct chain){.options = o};
    screen_begin(&c->screen, o->quiet);
    if (o->master_key_file == NULL)
        return true;
    *master_key = config_master_key_read(o->master_key_file, &fault);
    c->master_key = *master_key;
    if (*master_key == NULL)
        say("%s", fault.text);
    return *master_key != NULL;
}

static int chain_end(struct chain *c)
{
    if (c->keys > 0)
        screen_say(&c->screen, "%u test key%s used up, and destroyed here: no tunnel gets %s.", c->keys,
                   c->keys == 1 ? " is" : "s are", c->keys == 1 ? "it" : "them");
    screen_say(&c->screen, c->code == TEST_OK ? "All is well." : "Not well: exit code %d.", (int)c->code);
    skip_shutdown();
    return (int)c->code;
}

int test_run(const struct options *o, int argc, char **argv)
{
    struct secret *master_key = NULL;
    struct chain c;
    int code = TEST_CONFIGURATION;

    (void)argc;
    if (chain_begin(&c, o, &master_key)) {
        c.far_path = o->other_end;
        chain_run(&c, o->config, o->keyring, argv[0]);
        code = chain_end(&c);
    }
    secret_free(master_key);
    return code;
}

/* All peers of one end that the other one could be. */
static size_t direction_run(struct chain *c, const char *near, const char *far)
{
    struct configuration *a = load(near), *b = load(far);
    size_t pairs = 0;

    if (a == NULL || b == NULL) {
        (void)passed(c, TEST_CONFIGURATION);
        goto out;
    }
    c->far_path = far;
    for (size_t i = 0; i < a->n_keyrings; i++) {
        for (size_t j = 0; j < a->keyrings[i].n_peers; j++) {
            const struct peer *p = &a->keyrings[i].peers[j];

            if (p->dynamic == NULL ||
                counterpart(b, p->remote_system_id, p->dynamic->local_system_id) == NULL)
                continue;
            if (c->chains++ > 0)
                screen_say(&c->screen, " ");
            screen_say(&c->screen, "== %s, peer %s, to %s ==", near, p->name, far);
            chain_run(c, near, a->keyrings[i].name, p->name);
            pairs++;
        }
    }
out:
    configuration_free(a);
    configuration_free(b);
    return pairs;
}

int connect_test_run(const struct options *o, int argc, char **argv)
{
    struct secret *master_key = NULL;
    struct chain c;
    size_t pairs;
    int code = TEST_CONFIGURATION;

    (void)argc;
    if (chain_begin(&c, o, &master_key)) {
        pairs = direction_run(&c, argv[0], argv[1]);
        if (c.code != TEST_CONFIGURATION || pairs > 0)
            pairs += direction_run(&c, argv[1], argv[0]);
        if (pairs == 0 && c.code == TEST_OK) {
            say("no peers of %s and %s stand for each other: compare their system IDs", argv[0], argv[1]);
            (void)passed(&c, TEST_OTHER_END);
        }
        code = chain_end(&c);
    }
    secret_free(master_key);
    return code;
}
