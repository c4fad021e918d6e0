/* SPDX-License-Identifier: BSD-2-Clause */
/* "ppkctl show clients": the processes that use the token. */
#include "ppkctl/view.h"

#include <inttypes.h>
#include <pwd.h>

static void owner_show(uid_t uid, struct text *out)
{
    char buffer[4096];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != NULL)
        text_printf(out, " %-12s", found->pw_name);
    else
        text_printf(out, " %-12lu", (unsigned long)uid);
}

void view_clients(const struct view *v, struct text *out)
{
    text_printf(out, "%-8s %-6s %-12s %-23s %8s  %-20s %s\n", "PID", "State", "User", "Since", "Sessions",
                "Keyrings", "Executable");
    for (size_t i = 0; i < v->directory.n; i++) {
        const struct status_file *f = &v->directory.files[i];
        struct text names = {0};
        uint64_t sessions = 0;

        for (size_t k = 0; k < f->process.n_keyrings; k++) {
            sessions += f->process.keyrings[k].n[STATUS_SESSIONS];
            text_printf(&names, "%s", k > 0 ? "," : "");
            view_text(&names, f->process.keyrings[k].name);
        }
        text_printf(out, "%-8" PRIu64 " %-6s", f->process.pid, view_life(f->life));
        owner_show(f->owner, out);
        text_printf(out, " ");
        view_time(out, f->process.since);
        text_printf(out, " %8" PRIu64 "  %-20s ", sessions, names.s != NULL ? names.s : "-");
        view_text(out, f->process.executable);
        text_printf(out, "\n");
        text_free(&names);
    }
}
