/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/resolver.h"

#include <event2/dns.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* Who looks up has three seconds in all, less than libevent's five for one name server: after this, the next
 * one is asked. */
#define SERVER_S "1"
/* Servers are read anew for each look-up, so that asking whether failed ones are there again is in vain (and
 * must not be under way when they are forgotten): as late as libevent lets it be. */
#define PROBE_S "3600"

struct lookup {
    struct resolver *resolver; /* NULL: stopped */
    struct evdns_getaddrinfo_request *request;
    resolver_done *done;
    void *context;
};

struct resolver {
    struct event_base *base;
    struct evdns_base *dns;
    struct lookup *lookup; /* that goes on, or NULL */
};

struct resolver *resolver_new(struct event_base *base)
{
    struct resolver *r = calloc(1, sizeof *r);

    if (r == NULL || (r->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE)) == NULL) {
        free(r);
        return NULL;
    }
    r->base = base;
    return r;
}

static void configuration_read(struct evdns_base *dns)
{
    evdns_base_clear_nameservers_and_suspend(dns);
    evdns_base_search_clear(dns);
    evdns_base_clear_host_addresses(dns);
    evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
    evdns_base_set_option(dns, "timeout:", SERVER_S);
    evdns_base_set_option(dns, "initial-probe-timeout:", PROBE_S);
    evdns_base_resume(dns);
}

static void on_answer(int error, struct evutil_addrinfo *found, void *context)
{
    struct lookup *lookup = context;
    const struct lookup own = *lookup;

    free(lookup);
    if (own.resolver == NULL) {
        if (found != NULL)
            evutil_freeaddrinfo(found);
        return;
    }
    own.resolver->lookup = NULL;
    own.done(own.context, found, found != NULL ? NULL : evutil_gai_strerror(error));
}

void resolver_start(struct resolver *r, const char *host, uint16_t port, resolver_done *done, void *context)
{
    const struct evutil_addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct lookup *lookup = calloc(1, sizeof *lookup);
    struct evdns_getaddrinfo_request *request = NULL;
    char service[8];

    if (lookup == NULL) {
        done(context, NULL, "no memory");
        return;
    }
    *lookup = (struct lookup){.resolver = r, .done = done, .context = context};
    r->lookup = lookup;
    snprintf(service, sizeof service, "%u", port);
    configuration_read(r->dns);
    request = evdns_getaddrinfo(r->dns, host, service, &hints, on_answer, lookup);
    if (request != NULL) /* else it was answered at once */
        lookup->request = request;
}

void resolver_stop(struct resolver *r)
{
    if (r->lookup == NULL)
        return;
    r->lookup->resolver = NULL;
    evdns_getaddrinfo_cancel(r->lookup->request);
    r->lookup = NULL;
}

static void dns_free(evutil_socket_t fd, short events, void *dns)
{
    (void)fd;
    (void)events;
    evdns_base_free(dns, 0);
}

void resolver_free(struct resolver *r)
{
    if (r == NULL)
        return;
    resolver_stop(r);
    /* after the answers that the event loop has in hand, which look at it */
    if (event_base_once(r->base, -1, EV_TIMEOUT, dns_free, r->dns, NULL) != 0)
        evdns_base_free(r->dns, 0);
    free(r);
}
