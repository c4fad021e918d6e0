/* SPDX-License-Identifier: BSD-2-Clause */
/* "ppkctl show ppk" and "show statistics": the PPKs of each keyring, and what became of them. */
#include "ppkctl/view.h"

#include <inttypes.h>
#include <string.h>

struct row {
    const char *title;
    enum status_keyring_number number;
};

static const struct row ppk_rows[] = {
    {"Peers", STATUS_PEERS},
    {"  with dynamic PPKs", STATUS_PEERS_DYNAMIC},
    {"  PPK required", STATUS_PEERS_REQUIRED},
    {"Manual PPKs", STATUS_MANUAL},
    {"Dynamic PPKs held", STATUS_HELD},
    {"  unused", STATUS_UNUSED},
    {"Fetched ahead", STATUS_POOLED},
};

static const struct row statistics_rows[] = {
    {"PPKs fetched, new", STATUS_FETCHED},
    {"PPKs fetched by ID", STATUS_FETCHED_BY_ID},
    {"PPKs used", STATUS_USED},
    {"PPKs expired", STATUS_EXPIRED},
    {"PPKs destroyed", STATUS_DESTROYED},
    {"PPK Identity Mismatch", STATUS_MISMATCHES},
    {"PPK Retrieve Failure", STATUS_FAILURES},
    {"  of required", STATUS_FAILURES_REQUIRED},
    {"IKE SAs, dynamic PPK", STATUS_SAS_DYNAMIC},
    {"IKE SAs, manual PPK", STATUS_SAS_MANUAL},
    {"PPK Auth Failure", STATUS_AUTH_FAILURES},
    {"  of required", STATUS_AUTH_FAILURES_REQUIRED},
};

static void rows_show(const struct status_keyring *k, const struct row *rows, size_t n, struct text *out)
{
    for (size_t i = 0; i < n; i++)
        text_printf(out, "%-22s:%" PRIu64 "\n", rows[i].title, k->n[rows[i].number]);
}

static void keyring_show(const struct status_keyring *k, const struct row *rows, size_t n, bool first,
                         struct text *out)
{
    text_printf(out, "%s%-22s:", first ? "" : "\n", "Keyring");
    view_text(out, k->name);
    text_printf(out, "\n");
    rows_show(k, rows, n, out);
}

/* Is it there in a process that has not ended, so that it can be told what it holds? */
static bool is_present(const struct view *v, const char *name)
{
    for (size_t i = 0; i < v->directory.n; i++)
        for (size_t k = 0; k < v->directory.files[i].process.n_keyrings; k++)
            if (v->directory.files[i].life != PROCESS_DEAD &&
                strcmp(v->directory.files[i].process.keyrings[k].name, name) == 0)
                return true;
    return false;
}

void view_ppk(const struct view *v, struct text *out)
{
    bool first = true;

    for (size_t i = 0; i < v->sum.n_keyrings; i++) {
        const struct status_keyring *k = &v->sum.keyrings[i];
        if (!is_present(v, k->name))
            continue;
        keyring_show(k, ppk_rows, sizeof ppk_rows / sizeof ppk_rows[0], first, out);
        first = false;
    }
}

void view_statistics(const struct view *v, struct text *out)
{
    text_printf(out, "%-22s:%" PRIu64 " live, %" PRIu64 " ended\n\n", "Clients", v->live, v->ended);
    for (size_t i = 0; i < v->sum.n_keyrings; i++)
        keyring_show(&v->sum.keyrings[i], statistics_rows, sizeof statistics_rows / sizeof statistics_rows[0],
                     i == 0, out);
    for (size_t i = 0; i < v->sum.n_profiles; i++) {
        const struct status_profile *p = &v->sum.profiles[i];
        struct status_request all = {0};
        for (size_t k = 0; k < STATUS_REQUESTS; k++) {
            all.total += p->requests[k].total;
            all.passed += p->requests[k].passed;
            all.failed += p->requests[k].failed;
        }
        text_printf(out, "\n%-22s:", "Profile Name");
        view_text(out, p->name);
        text_printf(out, "\n%-22s:%" PRIu64 "\n%-22s:%" PRIu64 "\n%-22s:%" PRIu64 "\n", "Total request",
                    all.total, "Request success", all.passed, "Request failed", all.failed);
    }
}
