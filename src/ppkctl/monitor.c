/* SPDX-License-Identifier: BSD-2-Clause */
/* "ppkctl monitor": the status, again and again. On a terminal the screen is redrawn, and cut to its size;
 * else each picture follows the other. */
#include "ppkctl/view.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SCREEN_ON  "\033[?1049h\033[?25l"
#define SCREEN_OFF "\033[?25h\033[?1049l"

enum { INTERVAL_S = 2 };

static volatile sig_atomic_t ended, resized;

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static void on_resize(int number)
{
    (void)number;
    resized = 1;
}

/* ---- the picture ---- */

enum colour { PLAIN, BOLD, GREEN, YELLOW, RED };

struct picture {
    struct text *out;
    bool colours;
    size_t rows, columns; /* that are left, and of a line; 0: no bound */
    bool bounded;
};

/* Writes a line, cut to the width, in a colour. `s` is printable already. */
static void draw(struct picture *p, enum colour colour, const char *s)
{
    static const char *const codes[] = {
        [PLAIN] = "", [BOLD] = "\033[1m", [GREEN] = "\033[32m", [YELLOW] = "\033[33m", [RED] = "\033[31m"};
    size_t len = strlen(s), take = 0;

    if (p->bounded && p->rows == 0)
        return;
    /* cut between characters */
    for (size_t column = 0; take < len && (!p->bounded || column < p->columns); column++) {
        size_t step = utf8_step(s + take, len - take);
        take += step > 0 ? step : 1;
    }
    if (p->colours && colour != PLAIN)
        text_printf(p->out, "%s", codes[colour]);
    text_append(p->out, s, take);
    if (p->colours && colour != PLAIN)
        text_printf(p->out, "\033[0m");
    if (p->bounded)
        p->rows--;
    text_printf(p->out, p->bounded ? "\033[K%s" : "%s\n", p->bounded && p->rows > 0 ? "\n" : "");
}

__attribute__((format(printf, 3, 4))) static void drawf(struct picture *p, enum colour colour,
                                                        const char *format, ...)
{
    char raw[8192], shown[8192];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (n < 0)
        return;
    (void)text_printable(shown, sizeof shown, raw, (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1);
    draw(p, colour, shown);
}

static void profiles_draw(struct picture *p, const struct view *v)
{
    static const char *const states[] = {
        [STATUS_SERVER_IDLE] = "idle", [STATUS_SERVER_UP] = "up", [STATUS_SERVER_DOWN] = "DOWN"};
    static const enum colour colours[] = {
        [STATUS_SERVER_IDLE] = YELLOW, [STATUS_SERVER_UP] = GREEN, [STATUS_SERVER_DOWN] = RED};

    for (size_t i = 0; i < v->sum.n_profiles; i++) {
        const struct status_profile *profile = &v->sum.profiles[i];
        drawf(p, BOLD, "sks profile %-28s %9s %9s %9s %9s %9s", profile->name, "total", "passed", "failed",
              "p50 ms", "p99 ms");
        for (size_t r = 0; r < STATUS_REQUESTS; r++) {
            const struct status_request *request = &profile->requests[r];
            if (request->total == 0)
                continue;
            drawf(p, request->failed > 0 ? YELLOW : PLAIN,
                  "  %-38s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9.1f %9.1f", status_request_names[r],
                  request->total, request->passed, request->failed,
                  (double)histogram_percentile(request->latency, 50) / 1000,
                  (double)histogram_percentile(request->latency, 99) / 1000);
        }
        for (size_t s = 0; s < profile->n_servers; s++) {
            const struct status_server *server = &profile->servers[s];
            bool down = server->state == STATUS_SERVER_DOWN && server->last_error != NULL;
            drawf(p, colours[server->state], "  %-38s %-4s%s%s", server->name, states[server->state],
                  down ? " " : "", down ? server->last_error : "");
        }
    }
}

static void keyrings_draw(struct picture *p, const struct view *v)
{
    drawf(p, BOLD, "%-20s %7s %7s %7s %7s %7s %7s %9s %9s %9s", "keyring", "held", "unused", "ahead", "used",
          "expired", "IKE SAs", "auth fail", "retr fail", "required");
    for (size_t i = 0; i < v->sum.n_keyrings; i++) {
        const uint64_t *n = v->sum.keyrings[i].n;
        uint64_t required = n[STATUS_FAILURES_REQUIRED] + n[STATUS_AUTH_FAILURES_REQUIRED];
        bool failed = n[STATUS_FAILURES] + n[STATUS_AUTH_FAILURES] > 0;
        drawf(p,
              required > 0 ? RED
              : failed     ? YELLOW
                           : PLAIN,
              "%-20s %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %9" PRIu64
              " %9" PRIu64 " %9" PRIu64,
              v->sum.keyrings[i].name, n[STATUS_HELD], n[STATUS_UNUSED], n[STATUS_POOLED], n[STATUS_USED],
              n[STATUS_EXPIRED], n[STATUS_SAS_DYNAMIC] + n[STATUS_SAS_MANUAL], n[STATUS_AUTH_FAILURES],
              n[STATUS_FAILURES], required);
    }
}

static void picture_draw(struct picture *p, const struct view *v)
{
    struct text now = {0}, clients = {0};

    view_time(&now, (int64_t)time(NULL));
    drawf(p, BOLD, "PPKs  %" PRIu64 " live, %" PRIu64 " ended  %s", v->live, v->ended,
          now.s != NULL ? now.s : "");
    draw(p, PLAIN, "");
    keyrings_draw(p, v);
    draw(p, PLAIN, "");
    profiles_draw(p, v);
    draw(p, PLAIN, "");
    view_clients(v, &clients);
    bool first = true;
    for (char *at = clients.s, *end; at != NULL && *at != '\0'; at = end + 1) {
        end = strchrnul(at, '\n');
        bool last = *end == '\0';
        *end = '\0';
        draw(p, first ? BOLD : PLAIN, at);
        first = false;
        if (last)
            break;
    }
    text_free(&now);
    text_free(&clients);
}

/* ---- the terminal ---- */

static struct termios before;

static bool keys_begin(void)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* Waits for the interval's end, a key, or a signal. False: it is to end. */
static bool pause_for(unsigned seconds, bool keys)
{
    struct timespec now, end;
    struct pollfd key = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};

    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    resized = 0;
    for (;;) {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left = (end.tv_sec - now.tv_sec) * INT64_C(1000) + (end.tv_nsec - now.tv_nsec) / 1000000;
        char c;
        if (ended)
            return false;
        if (left <= 0 || resized)
            return true;
        int n = poll(&key, 1, left > 1000 ? 1000 : (int)left);
        if (n > 0 && (read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 'Q'))
            return false;
    }
}

static bool picture_put(const struct options *o, bool terminal)
{
    struct winsize size = {0};
    struct text out = {0};
    struct picture p = {.out = &out, .bounded = terminal};
    struct view v;
    bool good = view_read(&v, o);

    if (terminal) {
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
            size = (struct winsize){.ws_row = 24, .ws_col = 80};
        const char *no_colour = getenv("NO_COLOR");
        p.colours = no_colour == NULL || no_colour[0] == '\0';
        p.rows = size.ws_row;
        p.columns = size.ws_col;
        text_printf(&out, "\033[H");
    }
    if (good) {
        picture_draw(&p, &v);
        text_printf(&out, terminal ? "\033[J" : "\n");
    }
    view_clear(&v);
    if (!good) {
        text_free(&out);
        return false;
    }
    return put(&out) == PPKCTL_OK;
}

int monitor_run(const struct options *o, int argc, char **argv)
{
    const struct sigaction end = {.sa_handler = on_end}, resize = {.sa_handler = on_resize};
    bool terminal = isatty(STDOUT_FILENO) != 0, keys = terminal && keys_begin(), good = true;

    (void)argc;
    (void)argv;
    (void)sigaction(SIGINT, &end, NULL);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGHUP, &end, NULL);
    (void)sigaction(SIGWINCH, &resize, NULL);
    if (terminal)
        (void)fputs(SCREEN_ON, stdout);
    for (uint32_t n = 0; good; n++) {
        good = picture_put(o, terminal);
        if (!good || (o->count > 0 && n + 1 == o->count) ||
            !pause_for(o->interval > 0 ? o->interval : INTERVAL_S, keys))
            break;
    }
    if (terminal) {
        (void)fputs(SCREEN_OFF, stdout);
        (void)fflush(stdout);
    }
    if (keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return good ? PPKCTL_OK : PPKCTL_FAILED;
}
