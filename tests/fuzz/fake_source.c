/* SPDX-License-Identifier: BSD-2-Clause */
/* A transport without a network, in the place of ppk-skip.so: the token's fuzz targets get dynamic PPKs at
 * once. Every key begins with KEY_MARK, so that a target knows one where it should not be. A key ID that
 * begins with "f" is unknown, one that begins with "e" is refused, all others exist. */
#include "module.h"

#include "skip/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct skip_wire {
    const struct sks_profile *profile;
    const struct skip_call *call; /* NULL: nothing is under way */
    size_t server;
};

static const struct skip_host *host;
static unsigned long keys;

static bool start(const struct skip_host *h, struct fault *fault)
{
    (void)fault;
    host = h;
    return true;
}

static struct skip_wire *wire_new(const struct sks_profile *conf)
{
    struct skip_wire *wire = calloc(1, sizeof *wire);

    if (wire != NULL)
        wire->profile = conf;
    return wire;
}

static void wire_free(struct skip_wire *wire)
{
    free(wire);
}

static bool wire_ask(struct skip_wire *wire, size_t server, const struct skip_call *call, uint64_t deadline,
                     struct skip_answer *out)
{
    (void)deadline, (void)out;
    wire->call = call;
    wire->server = server;
    return true;
}

static void give_capabilities(struct skip_answer *out)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);

    if (c != NULL)
        c->remote_system_ids = calloc(2, sizeof *c->remote_system_ids);
    if (c == NULL || c->remote_system_ids == NULL)
        abort();
    c->entropy = c->key = true;
    c->remote_system_ids[0] = strdup("*");
    c->algorithm = strdup("fake"); /* an answer without them is none */
    c->local_system_id = strdup("Alice");
    out->capabilities = c;
}

static void refuse(struct skip_answer *out, enum skip_result result, long status, const char *reason)
{
    out->result = result;
    out->status = status;
    (void)snprintf(out->fault.text, sizeof out->fault.text, "%s", reason);
}

static void give_key(const struct skip_call *call, size_t len, struct skip_answer *out)
{
    static const uint8_t mark[] = KEY_MARK;
    uint8_t value[1024];
    char id[33];

    if (call->key_id != NULL && call->key_id[0] == 'f') {
        refuse(out, SKIP_NO_SUCH_KEY, 404, "no such key");
        return;
    }
    if (call->key_id != NULL && call->key_id[0] == 'e') {
        refuse(out, SKIP_REFUSED, 403, "not for this one");
        return;
    }
    memset(value, (int)(++keys & 0xff), sizeof value);
    memcpy(value, mark, KEY_MARK_LEN);
    (void)snprintf(id, sizeof id, "%032lx", keys);
    out->value = host->secret_new(value, len > sizeof value ? sizeof value : len);
    if (call->request != SKIP_REQUEST_ENTROPY)
        out->key_id = strdup(call->key_id != NULL ? call->key_id : id);
}

static bool wire_wait(struct skip_wire *wire, uint64_t until, size_t *server, struct skip_answer *out)
{
    const struct skip_call *call = wire->call;

    (void)until;
    if (call == NULL)
        return false;
    wire->call = NULL;
    *server = wire->server;
    *out = (struct skip_answer){.result = SKIP_OK, .status = 200, .processed = true};
    if (call->request == SKIP_REQUEST_CAPABILITIES)
        give_capabilities(out);
    else
        give_key(call, call->size > 0 ? call->size / 8 : 32, out);
    return true;
}

static bool wire_drop(struct skip_wire *wire, size_t server)
{
    (void)server;
    wire->call = NULL;
    return true;
}

static void wire_wake(struct skip_wire *wire)
{
    (void)wire;
}

static void after_fork(void)
{
}

extern const struct skip_transport ppk_skip_transport;
__attribute__((visibility("default"))) const struct skip_transport ppk_skip_transport = {
    .version = SKIP_TRANSPORT_VERSION,
    .start = start,
    .wire_new = wire_new,
    .wire_free = wire_free,
    .wire_ask = wire_ask,
    .wire_wait = wire_wait,
    .wire_drop = wire_drop,
    .wire_wake = wire_wake,
    .after_fork = after_fork,
};
