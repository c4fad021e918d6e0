/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames (sync_message.h) in and out of evbuffers, with no key left behind in freed or reused memory. */
#ifndef PPK_SKIPD_FRAMES_H
#define PPK_SKIPD_FRAMES_H

#include "skipd/sync_message.h"

#include <event2/buffer.h>

/* Appends a message. False: no memory, or a member out of bounds. */
bool frames_send(struct evbuffer *out, const struct sync_message *m);

enum frames_result {
    FRAMES_ALL,       /* all whole frames have been handled; a part of one may be left */
    FRAMES_STOPPED,   /* `handle` returned false */
    FRAMES_MALFORMED, /* what is there is no frame */
    FRAMES_NO_MEMORY, /* there is no working memory for the next one, which holds a key, and stays */
};

/* Calls `handle` for every whole frame. A key in the message is valid during the call only. When `handle`
 * returns false, the buffer is not touched any more (it may have been freed). */
enum frames_result frames_receive(struct evbuffer *in,
                                  bool (*handle)(void *context, const struct sync_message *m), void *context);

#endif
