/* SPDX-License-Identifier: BSD-2-Clause */
/* A line: the connection to one server of a profile, as libcurl's easy handle, with what its callbacks keep.
 * For the transport only. */
#ifndef PPK_SKIP_LINE_H
#define PPK_SKIP_LINE_H

#include "skip/tls.h"

#include <curl/curl.h>

enum line_state { LINE_IDLE, LINE_ASKED, LINE_OVER };

struct line {
    struct skip_wire *wire;
    const struct kme_server *server;
    CURL *easy;
    enum line_state state;
    CURLcode code; /* of LINE_OVER */
    const struct skip_call *call;
    uint64_t began;
    int fd;            /* the kept-alive connection's socket, or -1 */
    unsigned answers;  /* that came over it */
    uint64_t answered; /* when the last one did */
    bool ends;         /* the server has been seen to end connections behind an answer */
    char *body;        /* in the arena */
    size_t len, room;
    size_t header_bytes;
    unsigned sent; /* how often the request went out */
    bool body_large, headers_large, no_memory, resend_refused;
    struct tls_peer tls;
    char error[CURL_ERROR_SIZE];
};

/* The lines of a profile. */
struct skip_wire {
    const struct sks_profile *profile;
    CURLM *multi;
    _Atomic bool woken;
    bool resolves;             /* a server is named by a host name */
    struct curl_slist *posted; /* headers of a POST */
    struct line lines[];
};

/* Makes its easy handle; the rest of it is there. False: no memory. */
bool line_prepare(struct line *l);

/* Forgets the request that is over, wiping what came of it. */
void line_clear(struct line *l);

/* libcurl closes a socket; also for where libcurl may not be called any more. */
int line_close(void *line, curl_socket_t fd);

/* Why there is no whole answer, in an operator's words. */
void line_failed(const struct line *l, struct skip_answer *out);

/* How the connection of the last request came about. */
void line_link(struct line *l, struct skip_link *out);

#endif
