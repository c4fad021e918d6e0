/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/frames.h"

#include "base/secret.h"
#include "skipd/buffer.h"

#include <openssl/crypto.h>

bool frames_send(struct evbuffer *out, const struct sync_message *m)
{
    uint8_t small[SYNC_FRAME_MAX], *frame = small;
    size_t len = 0;

    if (m->type == SYNC_PUT) {
        frame = secmem_alloc(SYNC_FRAME_MAX);
        if (frame == NULL)
            return false;
    }
    len = sync_encode(m, frame);
    if (frame == small)
        return len > 0 && evbuffer_add(out, frame, len) == 0;
    if (len > 0)
        return buffer_add_secret(out, frame, len);
    secmem_free(frame);
    return false;
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

enum frames_result frames_receive(struct evbuffer *in,
                                  bool (*handle)(void *context, const struct sync_message *m), void *context)
{
    uint8_t header[SYNC_HEADER_LEN];
    struct sync_message *m = NULL;
    uint8_t *frame = NULL;
    enum frames_result r = FRAMES_ALL;

    while (r == FRAMES_ALL && evbuffer_copyout(in, header, sizeof header) == (ev_ssize_t)sizeof header) {
        size_t len = sync_frame_len(header);

        if (len == 0) {
            r = FRAMES_MALFORMED;
            break;
        }
        if (evbuffer_get_length(in) < len)
            break;
        if (frame == NULL)
            frame = secmem_alloc(SYNC_FRAME_MAX + sizeof *m);
        if (frame == NULL) {
            r = FRAMES_MALFORMED;
            break;
        }
        m = (struct sync_message *)(void *)(frame + SYNC_FRAME_MAX);
        evbuffer_copyout(in, frame, len);
        wipe_and_drain(in, len);
        if (!sync_decode(m, frame, len))
            r = FRAMES_MALFORMED;
        else if (!handle(context, m))
            r = FRAMES_STOPPED;
    }
    secmem_free(frame);
    return r;
}
