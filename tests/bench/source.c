/* SPDX-License-Identifier: BSD-2-Clause */
/* A key source without a network, in the place of ppk-skip.so: so the token holds a million PPKs within
 * seconds. The n-th new key has the ID object_id(n), and what was not given has none. Requests are answered
 * at once. */
#include "bench.h"

#include "base/bytes.h"
#include "skip/transport.h"

#include <stdlib.h>

struct skip_wire {
    const struct skip_call *call; /* NULL: nothing is under way */
    size_t server;
};

static const struct skip_host *host;
static _Atomic uint64_t given;

static bool start(const struct skip_host *h, struct fault *fault)
{
    (void)fault;
    host = h;
    return true;
}

static struct skip_wire *wire_new(const struct sks_profile *conf)
{
    (void)conf;
    return calloc(1, sizeof(struct skip_wire));
}

static void wire_rebind(struct skip_wire *wire, const struct sks_profile *conf)
{
    (void)wire;
    (void)conf;
}

static void wire_free(struct skip_wire *wire)
{
    free(wire);
}

static bool wire_ask(struct skip_wire *wire, size_t server, const struct skip_call *call, uint64_t deadline,
                     struct skip_answer *out)
{
    (void)deadline;
    (void)out;
    wire->call = call;
    wire->server = server;
    return true;
}

/* It serves every remote system. */
static bool give_capabilities(struct skip_answer *out)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);

    if (!c)
        return false;
    c->key = true;
    c->remote_system_ids = calloc(2, sizeof *c->remote_system_ids);
    if (c->remote_system_ids)
        c->remote_system_ids[0] = strdup("*");
    out->capabilities = c;
    return c->remote_system_ids && c->remote_system_ids[0];
}

static bool give_key(struct skip_answer *out)
{
    uint8_t id[ID_LEN], value[2 * ID_LEN];

    object_id(given++, id);
    memcpy(value, id, ID_LEN);
    memcpy(value + ID_LEN, id, ID_LEN);
    out->value = host->secret_new(value, sizeof value);
    out->key_id = calloc(1, 2 * ID_LEN + 1);
    if (out->key_id)
        hex_encode(out->key_id, id, ID_LEN);
    return out->value && out->key_id;
}

static bool wire_wait(struct skip_wire *wire, uint64_t until, size_t *server, struct skip_answer *out)
{
    const struct skip_call *call = wire->call;
    bool good = true;

    (void)until;
    if (!call)
        return false;
    wire->call = NULL;
    *server = wire->server;
    *out = (struct skip_answer){.result = SKIP_OK, .status = 200, .processed = true};
    if (call->request == SKIP_REQUEST_CAPABILITIES)
        good = give_capabilities(out);
    else if (call->key_id || call->request == SKIP_REQUEST_ENTROPY)
        out->result = SKIP_NO_SUCH_KEY;
    else
        good = give_key(out);
    if (!good)
        out->result = SKIP_NO_MEMORY;
    return true;
}

static bool wire_drop(struct skip_wire *wire, size_t server)
{
    (void)server;
    wire->call = NULL;
    return true;
}

static void wire_link(struct skip_wire *wire, size_t server, struct skip_link *out)
{
    (void)wire;
    (void)server;
    *out = (struct skip_link){.stage = SKIP_STAGE_ANSWER};
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
    .wire_rebind = wire_rebind,
    .wire_free = wire_free,
    .wire_ask = wire_ask,
    .wire_wait = wire_wait,
    .wire_drop = wire_drop,
    .wire_link = wire_link,
    .wire_wake = wire_wake,
    .after_fork = after_fork,
};
