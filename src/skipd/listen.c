/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

int socket_bind(const struct skipd_listen *l, struct text *ready, struct fault *fault)
{
    struct sockaddr_storage a = l->address;
    socklen_t len = sizeof a;
    char host[INET6_ADDRSTRLEN] = "";
    const void *address = NULL;
    uint16_t port = 0;
    static const char *const WORDS[] = {
        [LISTEN_SKIP] = "listen", [LISTEN_ETSI014] = "listen-etsi014", [LISTEN_PEERS] = "listen-peers"};
    const int one = 1;
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (a.ss_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    address = a.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&a)->sin_addr
                                     : (void *)&((struct sockaddr_in6 *)&a)->sin6_addr;
    inet_ntop(a.ss_family, address, host, sizeof host);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, l->address_len) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        fault_set(fault, "line %u: listen at %s: %s", l->line, host, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                        : ((struct sockaddr_in6 *)&a)->sin6_port);
    text_printf(ready, a.ss_family == AF_INET ? "%s %s:%u\n" : "%s [%s]:%u\n", WORDS[l->kind], host, port);
    return fd;
}
