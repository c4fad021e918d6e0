/* SPDX-License-Identifier: BSD-2-Clause */
/* The status page: HTML with its style inside, no script; it loads itself anew. */
#include "base/clock.h"
#include "skipd/admin.h"
#include "skipd/statistics.h"

#include <string.h>

typedef unsigned long long ull;

/* One bar of a chart is a minute. Units of the SVG. */
#define BAR        4
#define CHART_W    (STATISTICS_MINUTES * BAR)
#define CHART_H    72
#define CHART_TOP  6
#define CHART_LEFT 44

static const char STYLE[] =
    ":root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--line:#dde1e7;--text:#1b2430;--soft:#5a6675;"
    "--good:#12794a;--goodbg:#dcf3e6;--warn:#8a5a00;--warnbg:#fff0cc;--bad:#b3261e;--badbg:#fce4e2;"
    "--blue:#2563a8}"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1b212a;--line:#323b47;--text:#e6eaf0;"
    "--soft:#9aa7b6;--good:#62d39a;--goodbg:#143726;--warn:#f1bf52;--warnbg:#3d3010;--bad:#ff8a80;"
    "--badbg:#47191a;--blue:#6aaef5}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--text);"
    "font:15px/1.45 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}"
    "main{max-width:70rem;margin:0 auto;padding:1.5rem}"
    "header{display:flex;flex-wrap:wrap;align-items:center;gap:.4rem 1rem;margin-bottom:1rem}"
    "h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.02rem;margin:0 0 .6rem}"
    "header small{color:var(--soft);margin-left:auto}"
    ".pill{border-radius:1rem;padding:.1rem .75rem;font-weight:600;white-space:nowrap}"
    ".good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}"
    ".pill.good{background:var(--goodbg)}.pill.warn{background:var(--warnbg)}.pill.bad{background:var(--"
    "badbg)}"
    ".notice{border-left:4px solid currentColor;padding:.4rem .8rem;margin:.4rem 0;border-radius:4px}"
    ".notice.warn{background:var(--warnbg)}.notice.bad{background:var(--badbg)}"
    "section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:1rem "
    "0;"
    "overflow-x:auto}"
    "dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.8rem;margin:1rem 0}"
    "dl div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.7rem .9rem}"
    "dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.55rem;font-weight:600;"
    "font-variant-numeric:tabular-nums}dd small{font-size:.85rem;font-weight:400;color:var(--soft)}"
    "table{border-collapse:collapse;width:100%}th,td{padding:.4rem .7rem;text-align:left;"
    "border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}"
    "thead th{border-top:0;color:var(--soft);font-weight:500;font-size:.85rem}"
    ".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.zero{color:var(--soft)}"
    "svg{display:block;width:100%;height:auto;margin-bottom:.6rem}svg text{fill:var(--soft);font-size:11px}"
    "svg .axis{stroke:var(--line)}.delivered{fill:var(--blue)}.failed{fill:var(--bad)}"
    "footer{color:var(--soft);font-size:.85rem}a{color:var(--blue)}";

/* A text of somebody's, as text. */
static void html(struct text *out, const char *s)
{
    char shown[1024];

    text_printable(shown, sizeof shown, s, strlen(s));
    for (const char *p = shown; *p != '\0'; p++)
        switch (*p) {
        case '&':
            text_printf(out, "&amp;");
            break;
        case '<':
            text_printf(out, "&lt;");
            break;
        case '>':
            text_printf(out, "&gt;");
            break;
        case '"':
            text_printf(out, "&quot;");
            break;
        case '\'':
            text_printf(out, "&#39;");
            break;
        default:
            text_append(out, p, 1);
        }
}

/* "3 d 4 h", "12 min", "5 s" */
static void duration(struct text *out, uint64_t ms)
{
    ull s = ms / 1000;

    if (s >= 86400)
        text_printf(out, "%llu d %llu h", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        text_printf(out, "%llu h %llu min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        text_printf(out, "%llu min", s / 60);
    else
        text_printf(out, "%llu s", s);
}

/* ---- the state as a whole ---- */

struct state {
    struct store_queue_state store;
    size_t links, down;
    struct minute_counts minutes[STATISTICS_MINUTES];
    uint64_t now;
};

static void state_read(const struct service *s, struct state *st)
{
    const struct skipd_conf *conf = service_conf(s);

    memset(st, 0, sizeof *st);
    st->now = clock_ms();
    store_queue_state(service_queue(s), &st->store);
    for (size_t i = 0; i < conf->n_peers; i++) {
        const char *why = NULL;

        if (conf->peers[i].n_addresses == 0)
            continue;
        st->links++;
        st->down += !service_link_is_up(s, &conf->peers[i], &why);
    }
    statistics_minutes(st->minutes);
}

static void header(const struct service *s, const struct state *st, struct text *out)
{
    const struct skipd_conf *conf = service_conf(s);
    bool well = st->store.fault.text[0] == '\0';

    text_printf(out, "<header><h1>Key source ");
    html(out, conf->system_id);
    text_printf(out, "</h1><span class=\"pill %s\" id=\"state\">%s</span><small>skipd " PPK_VERSION ", up ",
                !well          ? "bad"
                : st->down > 0 ? "warn"
                               : "good",
                !well          ? "store failing"
                : st->down > 0 ? "link down"
                               : "working");
    duration(out, st->now - statistics_totals()->began_ms);
    text_printf(out, "</small></header>\n");
    if (!well) {
        text_printf(out, "<p class=\"notice bad\">No key can be kept or delivered: ");
        html(out, st->store.fault.text);
        text_printf(out, "</p>\n");
    }
    for (size_t i = 0; i < conf->n_peers; i++) {
        const char *why = "";

        if (conf->peers[i].n_addresses == 0 || service_link_is_up(s, &conf->peers[i], &why))
            continue;
        text_printf(out, "<p class=\"notice warn\">No new keys for peer <b>");
        html(out, conf->peers[i].name);
        text_printf(out, "</b>: it ");
        html(out, why[0] != '\0' ? why : "is being connected to");
        text_printf(out, "</p>\n");
    }
}

static void tile(struct text *out, const char *name, ull value, const char *of)
{
    text_printf(out, "<div><dt>%s</dt><dd>%llu%s</dd></div>", name, value, of);
}

static void tiles(const struct service *s, const struct state *st, struct text *out)
{
    const struct statistics_totals *t = statistics_totals();
    ull delivered = 0, failed = 0;
    struct text of = {0};

    for (size_t i = STATISTICS_MINUTES - 60; i < STATISTICS_MINUTES; i++) {
        delivered += st->minutes[i].delivered;
        failed += st->minutes[i].failed;
    }
    text_printf(out, "<dl>");
    text_printf(&of, " <small>of %u</small>", service_conf(s)->max_keys);
    tile(out, "Keys waiting", st->store.waiting, of.s != NULL ? of.s : "");
    text_free(&of);
    tile(out, "Delivered, last hour", delivered, "");
    tile(out, "Failures, last hour", failed, "");
    text_printf(&of, " <small>of %zu</small>", st->links);
    tile(out, "Links up", st->links - st->down, of.s != NULL ? of.s : "");
    text_free(&of);
    tile(out, "Open connections", t->open, "");
    tile(out, "Store queue", st->store.depth, "");
    text_printf(out, "</dl>\n");
}

/* ---- charts ---- */

static uint32_t count_of(const struct minute_counts *m, bool failed)
{
    return failed ? m->failed : m->delivered;
}

static void chart(const struct state *st, bool failed, struct text *out)
{
    const char *what = failed ? "failed" : "delivered";
    uint32_t most = 1;

    for (size_t i = 0; i < STATISTICS_MINUTES; i++)
        if (count_of(&st->minutes[i], failed) > most)
            most = count_of(&st->minutes[i], failed);
    text_printf(out, "<h2>%s</h2><svg id=\"chart-%s\" role=\"img\" aria-label=\"%s\" viewBox=\"0 0 %d %d\">",
                failed ? "Failures per minute" : "Keys delivered per minute", what,
                failed ? "Failures per minute, last three hours"
                       : "Keys delivered per minute, last three hours",
                CHART_LEFT + CHART_W, CHART_TOP + CHART_H + 18);
    text_printf(out,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%u</text><text x=\"%d\" y=\"%d\" "
                "text-anchor=\"end\">0</text>",
                CHART_LEFT - 6, CHART_TOP + 4, most, CHART_LEFT - 6, CHART_TOP + CHART_H + 4);
    for (int hour = 0; hour <= 3; hour++) {
        static const char *const AGO[] = {"3 h ago", "2 h ago", "1 h ago", "now"};
        int x = CHART_LEFT + hour * 60 * BAR;

        text_printf(
            out, "<path class=\"axis\" d=\"M%d %dV%d\"/><text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>",
            x, CHART_TOP, CHART_TOP + CHART_H, x, CHART_TOP + CHART_H + 14,
            hour == 0   ? "start"
            : hour == 3 ? "end"
                        : "middle",
            AGO[hour]);
    }
    text_printf(out, "<path class=\"axis\" d=\"M%d %dH%d\"/>", CHART_LEFT, CHART_TOP + CHART_H,
                CHART_LEFT + CHART_W);
    for (size_t i = 0; i < STATISTICS_MINUTES; i++) {
        uint32_t n = count_of(&st->minutes[i], failed);
        unsigned h = (unsigned)((uint64_t)n * CHART_H / most);

        if (n == 0)
            continue;
        h = h < 2 ? 2 : h;
        text_printf(out,
                    "<rect class=\"%s\" x=\"%zu\" y=\"%u\" width=\"%d\" height=\"%u\"><title>%u, %zu min "
                    "ago</title></rect>",
                    what, CHART_LEFT + i * BAR, CHART_TOP + CHART_H - h, BAR - 1, h, n,
                    STATISTICS_MINUTES - 1 - i);
    }
    text_printf(out, "</svg>\n");
}

/* ---- tables ---- */

static void cell(struct text *out, ull value, const char *otherwise)
{
    text_printf(out, "<td class=\"n %s\">%llu</td>", value == 0 ? "zero" : otherwise, value);
}

/* The bucket that this part (of 100) of the keys was confirmed within. */
static void latency(struct text *out, const struct peer_counts *p, unsigned percent)
{
    uint64_t all = 0, sum = 0;
    unsigned b = 0;

    for (unsigned i = 0; i < STATISTICS_BUCKETS; i++)
        all += p->latency[i];
    if (all == 0) {
        text_printf(out, "<td class=\"n zero\">–</td>");
        return;
    }
    for (sum = p->latency[0]; sum * 100 < all * percent; sum += p->latency[b])
        b++;
    if (b < STATISTICS_BUCKETS - 1)
        text_printf(out, "<td class=\"n\">≤ %u ms</td>", statistics_bounds_ms[b]);
    else
        text_printf(out, "<td class=\"n bad\">&gt; %u ms</td>", statistics_bounds_ms[STATISTICS_BUCKETS - 2]);
}

static void peers(const struct service *s, struct text *out)
{
    static const struct peer_counts NONE = {0};
    const struct skipd_conf *conf = service_conf(s);

    text_printf(
        out, "<section id=\"peers\"><h2>Peers and links</h2><table><thead><tr><th>Peer</th><th>Link</th>"
             "<th class=\"n\">Keys sent</th><th class=\"n\">Not taken</th><th class=\"n\">Half within</th>"
             "<th class=\"n\">95 %% within</th><th class=\"n\">Keys received</th><th class=\"n\">Refused</th>"
             "</tr></thead><tbody>\n");
    for (size_t i = 0; i < conf->n_peers; i++) {
        const struct peer_counts *p = statistics_peer_find(conf->peers[i].name);
        const char *why = "";
        bool up = service_link_is_up(s, &conf->peers[i], &why);
        ull lost = 0, refused = 0;

        p = p != NULL ? p : &NONE;
        for (unsigned r = SYNC_OK + 1; r <= SYNC_NO_ANSWER; r++)
            lost += p->sent[r];
        for (unsigned r = SYNC_OK + 1; r < SYNC_RESULTS; r++)
            refused += p->received[r];
        text_printf(out, "<tr><th scope=\"row\">");
        html(out, conf->peers[i].name);
        text_printf(out, "</th><td class=\"%s\">", up ? "good" : conf->peers[i].n_addresses > 0 ? "bad" : "");
        text_printf(out, up ? "● up" : "○ ");
        if (!up)
            html(out, why[0] != '\0' ? why : "connecting");
        text_printf(out, "</td>");
        cell(out, p->sent[SYNC_OK], "");
        cell(out, lost, "bad");
        latency(out, p, 50);
        latency(out, p, 95);
        cell(out, p->received[SYNC_OK], "");
        cell(out, refused, "bad");
        text_printf(out, "</tr>\n");
    }
    text_printf(out, "</tbody></table></section>\n");
}

static void client_row(const struct state *st, const char *name, const char *system_id, struct text *out)
{
    static const struct client_counts NONE = {0};
    const struct client_counts *c = statistics_client_find(name);

    c = c != NULL ? c : &NONE;
    text_printf(out, "<tr><th scope=\"row\">");
    html(out, name[0] != '\0' ? name : "nobody's");
    text_printf(out, "</th><td>");
    html(out, system_id);
    text_printf(out, "</td>");
    cell(out, client_counts_sum(c, REQUEST_KEY, OUTCOME_OK), "");
    cell(out, client_counts_sum(c, REQUEST_KEY_BY_ID, OUTCOME_OK), "");
    cell(out,
         client_counts_sum(c, REQUEST_KINDS, OUTCOME_REJECTED) +
             client_counts_sum(c, REQUEST_KINDS, OUTCOME_NOT_FOUND) +
             client_counts_sum(c, REQUEST_KINDS, OUTCOME_LIMITED),
         "warn");
    cell(out, client_counts_sum(c, REQUEST_KINDS, OUTCOME_FORBIDDEN), "warn");
    cell(out,
         client_counts_sum(c, REQUEST_KINDS, OUTCOME_UNAVAILABLE) +
             client_counts_sum(c, REQUEST_KINDS, OUTCOME_FAILED),
         "bad");
    text_printf(out, "<td class=\"n\">");
    if (c->last_ms != 0) {
        duration(out, st->now - c->last_ms);
        text_printf(out, " ago");
    } else {
        text_printf(out, "never");
    }
    text_printf(out, "</td></tr>\n");
}

static void clients(const struct service *s, const struct state *st, struct text *out)
{
    const struct skipd_conf *conf = service_conf(s);

    text_printf(
        out, "<section id=\"clients\"><h2>Clients</h2><table><thead><tr><th>Client</th><th>System ID</th>"
             "<th class=\"n\">New keys</th><th class=\"n\">Keys by ID</th><th class=\"n\">Rejected</th>"
             "<th class=\"n\">Forbidden</th><th class=\"n\">Not served</th><th class=\"n\">Last request</th>"
             "</tr></thead><tbody>\n");
    for (size_t i = 0; i < conf->n_clients; i++)
        client_row(st, conf->clients[i].name, conf->clients[i].system_id, out);
    if (statistics_client_find("") != NULL)
        client_row(st, "", "", out);
    text_printf(out, "</tbody></table></section>\n");
}

void admin_page(const struct service *s, struct text *out)
{
    struct state st;

    state_read(s, &st);
    text_printf(
        out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" "
             "content=\"10\"><meta name=\"viewport\" content=\"width=device-width\"><title>");
    html(out, service_conf(s)->system_id);
    text_printf(out, " – skipd</title><style>%s</style></head><body><main>\n", STYLE);
    header(s, &st, out);
    tiles(s, &st, out);
    text_printf(out, "<section>");
    chart(&st, false, out);
    chart(&st, true, out);
    text_printf(out, "</section>\n");
    peers(s, out);
    clients(s, &st, out);
    text_printf(
        out,
        "<footer>Counted since the process began, %llu connections ended before TLS. The page loads itself "
        "anew every 10 seconds. <a href=\"/metrics\">OpenMetrics</a>, <a href=\"/health\">health</a>."
        "</footer></main></body></html>\n",
        (ull)statistics_totals()->handshakes_failed);
}
