/* SPDX-License-Identifier: BSD-2-Clause */
/* Does the time of what handles secrets depend on them? Two kinds of input, one fixed and one random, in
 * random order; Welch's t-test on the times, without the slowest tenth (Reparaz, Balasch, Verbauwhede: "Dude,
 * is my code constant time?"). A naive implementation is measured, too, to show that a difference would be
 * seen. */
#include "bench.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SAMPLES = 200000, REPEAT = 8, HEX = 64, BYTES = HEX / 2 };

#define T_MAX 10.0 /* beyond it, there is a difference; below 4.5 there is no sign of one */

struct input {
    char hex[HEX];
    struct secret *secret;
    unsigned kind; /* 0: the fixed one */
} __attribute__((aligned(128)));

static struct secret *reference;
static uint8_t reference_bytes[BYTES];
static volatile unsigned sink;

static void decode(const struct input *in)
{
    uint8_t out[BYTES];

    sink += hex_decode(out, in->hex, HEX) + out[0];
}

static void encode(const struct input *in)
{
    char out[HEX];

    hex_encode(out, (const uint8_t *)in->hex, BYTES);
    sink += (unsigned char)out[0];
}

static void compare(const struct input *in)
{
    sink += secret_equal(in->secret, reference);
}

/* Stops at the first byte that differs. */
static void compare_naively(const struct input *in)
{
    struct secret_view v;
    size_t i = 0;

    if (!secret_open(in->secret, &v))
        return;
    while (i < BYTES && v.data[i] == reference_bytes[i])
        i++;
    secret_close(&v);
    sink += (unsigned)i;
}

static double average(const double *x, size_t n, double *variance)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - sum / (double)n) * (x[i] - sum / (double)n);
    *variance = squares / (double)(n - 1);
    return sum / (double)n;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The t of the two kinds of input. */
static double measure(void (*f)(const struct input *), const struct input *inputs, size_t n, double *times[2],
                      double *all)
{
    size_t counts[2] = {0, 0};
    unsigned seed = 1;
    double mean[2], variance[2];

    for (size_t i = 0; i < SAMPLES; i++) {
        const struct input *in = &inputs[(size_t)rand_r(&seed) % n];
        unsigned kind = in->kind;
        uint64_t before = now_ns();
        for (int r = 0; r < REPEAT; r++)
            f(in);
        times[kind][counts[kind]] = (double)(now_ns() - before);
        all[i] = times[kind][counts[kind]++];
    }
    qsort(all, SAMPLES, sizeof *all, ascending);
    for (int kind = 0; kind < 2; kind++) {
        size_t kept = 0;
        for (size_t i = 0; i < counts[kind]; i++) {
            if (times[kind][i] <= all[SAMPLES * 9 / 10])
                times[kind][kept++] = times[kind][i];
        }
        counts[kind] = kept;
        mean[kind] = average(times[kind], kept, &variance[kind]);
    }
    double error = sqrt(variance[0] / (double)counts[0] + variance[1] / (double)counts[1]);
    double difference = mean[0] - mean[1];
    return error > 0 ? (difference < 0 ? -difference : difference) / error : 0;
}

/* About every other input is the fixed one, which is the reference itself. Random ones lie between them, so
 * that both kinds are alike in what else costs time: caches, and where a line of them ends. */
static bool make_inputs(struct input *inputs, size_t n)
{
    uint8_t bytes[BYTES];

    if (getrandom(reference_bytes, sizeof reference_bytes, 0) != (ssize_t)sizeof reference_bytes)
        return false;
    reference = secret_new(reference_bytes, sizeof reference_bytes);
    for (size_t i = 0; i < n; i++) {
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            return false;
        inputs[i].kind = bytes[0] & 1u;
        if (inputs[i].kind == 0)
            memcpy(bytes, reference_bytes, sizeof bytes);
        hex_encode(inputs[i].hex, bytes, sizeof bytes);
        inputs[i].secret = secret_new(bytes, sizeof bytes);
        if (!inputs[i].secret)
            return false;
    }
    return reference != NULL;
}

bool report_constant_time(void)
{
    static const struct {
        const char *text;
        void (*f)(const struct input *);
        bool naive;
    } rows[] = {
        {"hex_decode of 32 bytes", decode, false},
        {"hex_encode of 32 bytes", encode, false},
        {"secret_equal of 32 bytes", compare, false},
        {"a naive comparison, to see that it shows", compare_naively, true},
    };
    static struct input inputs[256];
    double *room = calloc((size_t)3 * SAMPLES, sizeof *room);
    double *times[2] = {room, room + SAMPLES};
    bool good = room && make_inputs(inputs, sizeof inputs / sizeof *inputs);

    if (good)
        (void)printf("\n%-44s %8s\n", "does the time depend on the secret?", "t");
    for (size_t i = 0; good && i < sizeof rows / sizeof *rows; i++) {
        double t =
            measure(rows[i].f, inputs, sizeof inputs / sizeof *inputs, times, room + (size_t)2 * SAMPLES);
        bool differs = t > T_MAX;
        (void)printf("%-44s %8.1f  %s\n", rows[i].text, t, differs ? "yes" : "no");
        good = differs == rows[i].naive;
    }
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        secret_free(inputs[i].secret);
    secret_free(reference);
    free(room);
    return good;
}
