/* SPDX-License-Identifier: BSD-2-Clause */
/* What other programs measure for us. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool ended_well(pid_t child)
{
    int status = 1;

    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- scripts
 * -------------------------------------------------------------------------------------------------- */

/* "NAME TAB VALUE TAB UNIT TAB TEXT" */
static bool figure_parse(struct figure *f, const char *line)
{
    *f = (struct figure){.value = 0};
    return sscanf(line, "%47[^\t]\t%lf\t%7[^\t]\t%79[^\n]", f->name, &f->value, f->unit, f->text) == 4;
}

static void take_lines(struct results *r, FILE *from)
{
    char line[512];
    struct figure f;

    while (fgets(line, sizeof line, from)) {
        if (!figure_parse(&f, line)) {
            (void)fputs(line, stdout);
            continue;
        }
        if (r->n_figures == 0)
            (void)printf("\n");
        (void)printf("%-60s %10.2f %s\n", f.text, f.value, f.unit);
        (void)fflush(stdout);
        if (r->n_figures < FIGURES_MAX)
            r->figures[r->n_figures++] = f;
    }
}

bool measure_script(struct results *r, const char *script, const char *argument)
{
    union {
        const char *constant[5];
        char *plain[5]; /* posix_spawn() changes none */
    } argv = {.constant = {"python3", "-B", script, argument, NULL}};
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int ends[2];

    (void)fflush(stdout);
    if (setenv("PPK_BUILD", PPK_BUILD_FOLDER, 1) != 0 || setenv("PPK_PLUGIN", PPK_PLUGIN_FILE, 1) != 0 ||
        pipe2(ends, O_CLOEXEC) != 0)
        return false;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int error = posix_spawn(&child, "/usr/bin/python3", &actions, NULL, argv.plain, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    if (error != 0)
        (void)fprintf(stderr, "ppk-bench: /usr/bin/python3: %s\n", strerror(error));
    else if (from)
        take_lines(r, from);
    if (from)
        (void)fclose(from);
    return error == 0 && ended_well(child);
}

/* --- another ppk-bench
 * ---------------------------------------------------------------------------------------- */

/* The results of our own module with PPKs as its objects; those of ours here get them, too. */
static void take_results(struct results *r, const char *path, size_t ours)
{
    json_t *all = json_load_file(path, 0, NULL), *row, *pass;
    size_t i, p;

    json_array_foreach(json_object_get(all, "results"), i, row)
    {
        const char *operation = json_string_value(json_object_get(row, "operation"));
        const char *text = json_string_value(json_object_get(row, "text"));
        const json_t *passes = json_object_get(row, "passes");
        if (!operation || !text || json_array_size(passes) == 0)
            continue;
        struct result *made = results_add(
            r, operation, text, (unsigned)json_integer_value(json_object_get(row, "threads")), ours);
        json_array_foreach(passes, p, pass)
        {
            if (made->n_passes < PASSES_MAX)
                made->passes[made->n_passes++] = json_number_value(pass);
        }
    }
    json_decref(all);
}

void measure_held(struct results *r, const char *directory)
{
    char program[512], json[600], passes[12], pass_ms[12], objects[24];
    union {
        const char *constant[13];
        char *plain[13]; /* posix_spawn() changes none */
    } argv = {.constant = {program, "--only=find-ppk", "--passes", passes, "--pass-ms", pass_ms, "--objects",
                           objects, "--json", json, "held", options.cpu ? "--cpu" : NULL, NULL}};
    posix_spawn_file_actions_t actions;
    size_t ours = 0;
    pid_t child = 0;

    while (ours < r->n_subjects && !r->subjects[ours].ours)
        ours++;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (ours == r->n_subjects || r->subjects[ours].held || n <= 0 || access(PPK_HELD_MODULE, R_OK) != 0)
        return;
    program[n] = '\0';
    (void)snprintf(json, sizeof json, "%s/held.json", directory);
    (void)snprintf(passes, sizeof passes, "%u", options.passes);
    (void)snprintf(pass_ms, sizeof pass_ms, "%u", options.pass_ms);
    (void)snprintf(objects, sizeof objects, "%zu", options.objects_ours);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawn(&child, program, &actions, NULL, argv.plain, environ) == 0 && ended_well(child))
        take_results(r, json, ours);
    else
        (void)fprintf(stderr, "ppk-bench: held PPKs could not be measured\n");
    (void)posix_spawn_file_actions_destroy(&actions);
}
