/* SPDX-License-Identifier: BSD-2-Clause */
#include "at_once.h"

#include <stdlib.h>
#include <string.h>

struct skip_wire {
    const struct skip_call *call; /* NULL: nothing is under way */
    size_t server;
};

static const struct skip_host *host;

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
    (void)wire, (void)conf;
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

static bool capabilities(struct skip_answer *out)
{
    struct skip_capabilities *c = calloc(1, sizeof *c);

    out->capabilities = c;
    if (c == NULL || (c->remote_system_ids = calloc(2, sizeof *c->remote_system_ids)) == NULL)
        return false;
    c->entropy = c->key = true;
    c->remote_system_ids[0] = strdup("*");
    c->algorithm = strdup("at once");
    c->local_system_id = strdup("Alice");
    return c->remote_system_ids[0] != NULL && c->algorithm != NULL && c->local_system_id != NULL;
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
    if (!(call->request == SKIP_REQUEST_CAPABILITIES ? capabilities(out) : at_once_key(host, call, out)))
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
    (void)wire, (void)server;
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
