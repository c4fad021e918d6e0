/* SPDX-License-Identifier: BSD-2-Clause */
/* "ppkctl show sks-profile": in the words of the routers at the other end. */
#include "ppkctl/view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void line(struct text *out, const char *title, const char *value)
{
    text_printf(out, "%-22s:", title);
    view_text(out, value);
    text_printf(out, "\n");
}

static void error_show(struct text *out, const char *error, int64_t at)
{
    if (error == NULL)
        return;
    text_printf(out, "%-22s:", "Last error");
    view_time(out, at);
    text_printf(out, ": ");
    view_text(out, error);
    text_printf(out, "\n");
}

static void server_show(const struct status_server *s, struct text *out)
{
    static const char *const states[] = {[STATUS_SERVER_IDLE] = "Not asked yet",
                                         [STATUS_SERVER_UP] = "Connected",
                                         [STATUS_SERVER_DOWN] = "Failed"};
    const char *colon = strrchr(s->name, ':');
    size_t len = colon != NULL ? (size_t)(colon - s->name) : strlen(s->name);
    char *host = strndup(s->name, len);

    text_printf(out, "\nServer\n");
    line(out, "IP", host != NULL ? host : s->name);
    line(out, "Port", colon != NULL ? colon + 1 : NULL);
    free(host);
    if (s->failures > 0)
        text_printf(out, "%-22s:%s (%" PRIu64 " in a row)\n", "Status", states[s->state], s->failures);
    else
        line(out, "Status", states[s->state]);
    error_show(out, s->last_error, s->last_error_at);
    if (!s->told)
        return;
    line(out, "Entropy", s->capabilities.entropy ? "true" : "false");
    line(out, "Key", s->capabilities.key ? "true" : "false");
    line(out, "Algorithm", s->capabilities.algorithm);
    line(out, "Local identifier", s->capabilities.local);
    for (size_t i = 0; i < s->capabilities.n_remotes; i++)
        line(out, i == 0 ? "Remote identifier" : "", s->capabilities.remotes[i]);
}

static void milliseconds(struct text *out, const struct status_request *r, unsigned percent)
{
    if (r->passed == 0)
        text_printf(out, " %9s", "-");
    else
        text_printf(out, " %9.1f", (double)histogram_percentile(r->latency, percent) / 1000);
}

static void profile_show(const struct status_profile *p, struct text *out)
{
    static const char *const requests[STATUS_REQUESTS] = {"Capability request", "Key request",
                                                          "Key-id request", "Entropy request"};

    line(out, "Profile Name", p->name);
    line(out, "My identifier", p->local_system_id);
    line(out, "Type", p->type);
    error_show(out, p->last_error, p->last_error_at);
    for (size_t i = 0; i < p->n_servers; i++)
        server_show(&p->servers[i], out);
    text_printf(out, "\n%-22s %10s %10s %10s %9s %9s %9s\n", "Counters", "Total", "Passed", "Failed",
                "p50 ms", "p90 ms", "p99 ms");
    for (size_t i = 0; i < STATUS_REQUESTS; i++) {
        const struct status_request *r = &p->requests[i];
        text_printf(out, "%-22s %10" PRIu64 " %10" PRIu64 " %10" PRIu64, requests[i], r->total, r->passed,
                    r->failed);
        milliseconds(out, r, 50);
        milliseconds(out, r, 90);
        milliseconds(out, r, 99);
        text_printf(out, "\n");
    }
}

bool view_profiles(const struct view *v, const char *name, struct text *out)
{
    bool any = false;

    for (size_t i = 0; i < v->sum.n_profiles; i++) {
        if (name != NULL && strcmp(v->sum.profiles[i].name, name) != 0)
            continue;
        text_printf(out, "%s", any ? "\n" : "");
        profile_show(&v->sum.profiles[i], out);
        any = true;
    }
    return any;
}
