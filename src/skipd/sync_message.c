/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/sync_message.h"

#include <string.h>

/* Writing: `failed` stays once something did not fit. */
struct writer {
    uint8_t *out;
    size_t len, room;
    bool failed;
};

static void write_bytes(struct writer *w, const void *data, size_t len)
{
    if (w->failed || len > w->room - w->len) {
        w->failed = true;
        return;
    }
    if (len > 0)
        memcpy(w->out + w->len, data, len);
    w->len += len;
}

static void write_number(struct writer *w, uint64_t n, size_t octets)
{
    uint8_t b[8];

    for (size_t i = 0; i < octets; i++)
        b[i] = (uint8_t)(n >> (8 * (octets - 1 - i)));
    write_bytes(w, b, octets);
}

static void write_text(struct writer *w, const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > SYSTEM_ID_MAX)
        w->failed = true;
    write_number(w, len, 1);
    write_bytes(w, text, len);
}

/* Reading, the same way. */
struct reader {
    const uint8_t *in;
    size_t len;
    bool failed;
};

static const uint8_t *read_bytes(struct reader *r, size_t len)
{
    const uint8_t *p = r->in;

    if (r->failed || len > r->len) {
        r->failed = true;
        return NULL;
    }
    r->in += len;
    r->len -= len;
    return p;
}

static uint64_t read_number(struct reader *r, size_t octets)
{
    const uint8_t *p = read_bytes(r, octets);
    uint64_t n = 0;

    for (size_t i = 0; p != NULL && i < octets; i++)
        n = n << 8 | p[i];
    return n;
}

static void read_system_id(struct reader *r, char out[static SYSTEM_ID_MAX + 1])
{
    size_t len = (size_t)read_number(r, 1);
    const uint8_t *p = read_bytes(r, len);

    out[0] = '\0';
    if (p == NULL)
        return;
    memcpy(out, p, len);
    out[len] = '\0';
    if (strlen(out) != len || !system_id_is_concrete(out))
        r->failed = true;
}

static void put_write(struct writer *w, const struct sync_put *p)
{
    if (p->id_len == 0 || p->id_len > KEY_ID_MAX || p->key.len == 0 || p->key.len > SYNC_KEY_MAX ||
        p->ttl_s == 0 || p->ttl_s > SYNC_TTL_MAX)
        w->failed = true;
    write_number(w, p->number, 8);
    write_number(w, p->ttl_s, 4);
    write_number(w, p->id_len, 1);
    write_bytes(w, p->id, p->id_len);
    write_text(w, p->initiator);
    write_text(w, p->responder);
    write_number(w, p->key.len, 2);
    write_bytes(w, p->key.data, p->key.len);
}

static void put_read(struct reader *r, struct sync_put *p)
{
    const uint8_t *id = NULL;

    p->number = read_number(r, 8);
    p->ttl_s = (uint32_t)read_number(r, 4);
    p->id_len = (size_t)read_number(r, 1);
    id = read_bytes(r, p->id_len);
    read_system_id(r, p->initiator);
    read_system_id(r, p->responder);
    p->key.len = (size_t)read_number(r, 2);
    p->key.data = read_bytes(r, p->key.len);
    if (r->failed || p->id_len == 0 || p->id_len > KEY_ID_MAX || p->key.len == 0 ||
        p->key.len > SYNC_KEY_MAX || p->ttl_s == 0 || p->ttl_s > SYNC_TTL_MAX) {
        r->failed = true;
        return;
    }
    memcpy(p->id, id, p->id_len);
}

size_t sync_encode(const struct sync_message *m, uint8_t out[static SYNC_FRAME_MAX])
{
    struct writer w = {out, SYNC_HEADER_LEN, SYNC_FRAME_MAX, false};

    switch (m->type) {
    case SYNC_HELLO:
        write_text(&w, m->hello.system_id);
        break;
    case SYNC_PUT:
        put_write(&w, &m->put);
        break;
    case SYNC_ACK:
        write_number(&w, m->ack.number, 8);
        write_number(&w, m->ack.result, 1);
        break;
    case SYNC_PING:
    case SYNC_PONG:
        write_number(&w, m->ping.number, 8);
        break;
    default:
        return 0;
    }
    if (w.failed)
        return 0;
    out[0] = (uint8_t)((w.len - SYNC_HEADER_LEN) >> 8);
    out[1] = (uint8_t)(w.len - SYNC_HEADER_LEN);
    out[2] = (uint8_t)m->type;
    out[3] = SYNC_VERSION;
    return w.len;
}

size_t sync_frame_len(const uint8_t header[static SYNC_HEADER_LEN])
{
    size_t len = SYNC_HEADER_LEN + (size_t)(header[0] << 8 | header[1]);

    return header[3] == SYNC_VERSION && len <= SYNC_FRAME_MAX ? len : 0;
}

bool sync_decode(struct sync_message *m, const uint8_t *frame, size_t len)
{
    struct reader r = {frame + SYNC_HEADER_LEN, len - SYNC_HEADER_LEN, false};

    if (len < SYNC_HEADER_LEN || sync_frame_len(frame) != len)
        return false;
    m->type = (enum sync_type)frame[2];
    switch (frame[2]) {
    case SYNC_HELLO:
        read_system_id(&r, m->hello.system_id);
        break;
    case SYNC_PUT:
        put_read(&r, &m->put);
        break;
    case SYNC_ACK:
        m->ack.number = read_number(&r, 8);
        m->ack.result = (uint8_t)read_number(&r, 1);
        if (m->ack.result >= SYNC_RESULTS)
            return false;
        break;
    case SYNC_PING:
    case SYNC_PONG:
        m->ping.number = read_number(&r, 8);
        break;
    default:
        return false;
    }
    return !r.failed && r.len == 0;
}
