/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/frames.h"

#include "base/secret.h"
#include "skipd/buffer.h"

#include <openssl/crypto.h>
#include <string.h>

/* A frame with a key in it, in working memory of its own length, since a peer may let many wait. */
static bool send_secret(struct evbuffer *out, const struct sync_message *m)
{
    uint8_t *scratch = secmem_alloc(SYNC_FRAME_MAX), *frame = NULL;
    size_t len = scratch != NULL ? sync_encode(m, scratch) : 0;

    if (len > 0)
        frame = secmem_alloc(len);
    if (frame != NULL)
        memcpy(frame, scratch, len);
    secmem_free(scratch);
    return frame != NULL && buffer_add_secret(out, frame, len);
}

bool frames_send(struct evbuffer *out, const struct sync_message *m)
{
    uint8_t frame[SYNC_FRAME_MAX];
    size_t len = 0;

    if (m->type == SYNC_PUT)
        return send_secret(out, m);
    len = sync_encode(m, frame);
    return len > 0 && evbuffer_add(out, frame, len) == 0;
}

/* Overwrites the first `len` bytes where they lie, and drains them. */
static void wipe_and_drain(struct evbuffer *in, size_t len)
{
    struct evbuffer_iovec v[16];
    int n = evbuffer_peek(in, (ev_ssize_t)len, NULL, v, 16);
    size_t left = len;

    for (int i = 0; i < n && i < 16; i++) {
        size_t part = v[i].iov_len < left ? v[i].iov_len : left;

        OPENSSL_cleanse(v[i].iov_base, part);
        left -= part;
    }
    evbuffer_drain(in, len);
}

/* The next frame, which is there as a whole. */
static enum frames_result receive_one(struct evbuffer *in, size_t len, bool secret,
                                      bool (*handle)(void *context, const struct sync_message *m),
                                      void *context)
{
    uint8_t plain[SYNC_FRAME_MAX], *frame = secret ? secmem_alloc(len) : plain;
    enum frames_result r = FRAMES_ALL;
    struct sync_message m;

    if (frame == NULL)
        return FRAMES_NO_MEMORY;
    evbuffer_copyout(in, frame, len);
    wipe_and_drain(in, len);
    if (!sync_decode(&m, frame, len))
        r = FRAMES_MALFORMED;
    else if (!handle(context, &m))
        r = FRAMES_STOPPED;
    if (secret)
        secmem_free(frame);
    return r;
}

enum frames_result frames_receive(struct evbuffer *in,
                                  bool (*handle)(void *context, const struct sync_message *m), void *context)
{
    uint8_t header[SYNC_HEADER_LEN];
    enum frames_result r = FRAMES_ALL;

    while (r == FRAMES_ALL && evbuffer_copyout(in, header, sizeof header) == (ev_ssize_t)sizeof header) {
        size_t len = sync_frame_len(header);

        if (len == 0)
            return FRAMES_MALFORMED;
        if (evbuffer_get_length(in) < len)
            break;
        r = receive_one(in, len, header[2] == SYNC_PUT, handle, context);
    }
    return r;
}
