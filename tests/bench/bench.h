/* SPDX-License-Identifier: BSD-2-Clause */
/* ppk-bench: the same operations on several PKCS#11 modules, side by side. */
#ifndef PPK_BENCH_H
#define PPK_BENCH_H

#include "ppk/pkcs11-3.h"

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* --- modules (module.c) --- */

/* What is measured: a PKCS#11 module, or OpenSSL itself as the limit of what a module can reach. */
struct subject {
    char name[64];
    char path[512];
    bool bare; /* OpenSSL's EVP_MAC with a reused context; no functions */
    bool ours;
    bool held; /* ours, with PPKs of a key source inside the process as its objects */
    char version[32];
    CK_FUNCTION_LIST_PTR f;
    CK_SLOT_ID slot;
    CK_MECHANISM_TYPE prf_plus; /* the number by which the module knows it, or 0 */
    uint64_t init_ns;           /* what C_Initialize took */
    CK_SESSION_HANDLE holder;   /* the session that owns the objects to be found */
    CK_OBJECT_HANDLE *objects;
    size_t n_objects;
    double grown; /* bytes of the process for them, in all */
};

/* Loads `what`: a path, or one of nss, softhsm2, openssl, held. False: `why` says it. `conf` is a directory
 * for the files that a module needs. */
bool subject_open(struct subject *s, const char *what, const char *conf, char *why, size_t why_size);
void subject_close(struct subject *s);

/* Only C_Initialize and the first search that finds nothing; for the cold start. */
bool module_load(struct subject *s, const char *path, char *why, size_t why_size);
bool module_first_search(struct subject *s, char *why, size_t why_size);

/* The nanoseconds of a search by CKA_LABEL that finds something, the best of many; 0: it failed. */
uint64_t module_find_label(struct subject *s, char *label);

/* The nanoseconds of the first C_SignInit, which may prepare and test the cryptography; 0: it failed. */
uint64_t module_first_sign(struct subject *s);

/* The ID of the n-th object: spread, as real IDs are. */
enum { ID_LEN = 16 };
static inline void object_id(uint64_t n, unsigned char id[ID_LEN])
{
    const uint64_t halves[2] = {n * 0x9e3779b97f4a7c15u, (n ^ 0x5bd1e995u) * 0xc2b2ae3d27d4eb4fu};

    memcpy(id, halves, sizeof halves);
}

/* --- clock.c --- */

uint64_t now_ns(void);
uint64_t cpu_ns(void); /* of the thread */

/* --- operations (operations.c) --- */

enum { THREADS_MAX = 16, FIND_THREADS_COUNT = 10000 /* objects for many threads */ };

struct operation;

struct worker {
    struct subject *subject;
    const struct operation *op;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key, seed_key;
    EVP_MAC_CTX *mac;
    const uint32_t *place; /* in the memory that is read */
    uint64_t iterations, random;
    uint64_t started, ended;
    uint64_t cpu; /* nanoseconds of its thread's processor time */
    CK_RV rv;     /* of the first call that failed */
};

struct operation {
    const char *name, *text;
    bool bare;      /* OpenSSL itself can do it */
    bool machine;   /* needs neither a module nor OpenSSL; beside the latter */
    bool needs_prf; /* only modules that have prf+ */
    bool ours;      /* only our own module */
    bool finds;     /* depends on the number of objects */
    bool held;      /* only where the objects are PPKs, and nothing else is done there */
    CK_MECHANISM_TYPE mechanism;
    const char *digest;
    CK_ULONG seed, out; /* bytes */
    bool (*prepare)(struct worker *w);
    bool (*once)(struct worker *w);
    void (*finish)(struct worker *w);
};

extern const struct operation operations[];
extern const size_t n_operations;

/* Lets the subject hold `n` objects, with the IDs 0 to n-1. False: `rv` says why. */
bool objects_grow(struct subject *s, size_t n, CK_RV *rv);

/* --- results (report.c, goals.c) --- */

enum { SUBJECTS_MAX = 8, PASSES_MAX = 64, FIGURES_MAX = 64 };

struct result {
    char operation[48];
    char text[80];
    unsigned threads;
    size_t subject;
    double passes[PASSES_MAX]; /* nanoseconds per operation, or bytes */
    unsigned n_passes;
    char error[64]; /* why there is none */
};

/* What a program of its own has measured, one value. */
struct figure {
    char name[48], unit[8], text[80];
    double value;
};

struct results {
    struct subject subjects[SUBJECTS_MAX];
    size_t n_subjects;
    struct result *all;
    size_t n, room;
    struct figure figures[FIGURES_MAX];
    size_t n_figures;
};

/* A new one; never NULL: ends the program without memory. */
struct result *results_add(struct results *r, const char *operation, const char *text, unsigned threads,
                           size_t subject);
const struct result *results_find(const struct results *r, const char *operation, unsigned threads,
                                  size_t subject);
double result_best(const struct result *r);
double result_median(const struct result *r);
const char *result_unit(const struct result *r);

void report_table(const struct results *r);
bool report_json(const struct results *r, const char *path);

/* Processors, system, OpenSSL and modules with their versions, in a line without its end. */
void report_machine(FILE *to, const struct results *r);

/* Compares with the goals of the project, where the figures are there for it: a table in Markdown. */
void report_goals(const struct results *r);

/* The same as a JSON array; the caller's. */
struct json_t *goals_json(const struct results *r);

/* Writes SVG charts of the growth with objects, threads and peers: PREFIX-objects.svg and so on (chart.c). */
bool report_charts(const struct results *r, const char *prefix);

/* Whether the time of what decodes and compares secrets depends on them (constant.c). False: it does, or the
 * check would not have seen it. */
bool report_constant_time(void);

/* --- measurements --- */

struct options {
    unsigned passes;
    unsigned pass_ms;
    unsigned threads[5];
    size_t n_threads;
    size_t objects; /* for modules that are not ours */
    size_t objects_ours;
    const char *only; /* part of an operation's name */
    const char *json;
    const char *svg;
    bool goals;
    bool network;
    bool all;
    bool constant;
    const char *ike_sa; /* rounds, or NULL */
    bool cpu;           /* processor time instead of the clock's */
};
extern struct options options;

/* Is this wanted (--only)? */
bool wanted(const char *name);

/* Everything that is done by calls in this process (measure.c). */
void measure_operations(struct results *r);
void measure_finds(struct results *r);

/* Cold starts of all modules, and what our own costs with 1 to 10,000 peers configured (process.c).
 * `directory` is for its files. */
void measure_cold(struct results *r, unsigned passes);
void measure_peers(struct results *r, unsigned passes, const char *directory);

/* Held PPKs, by another ppk-bench, since they are to have a process for themselves (programs.c). */
void measure_held(struct results *r, const char *directory);

/* Runs a script of the source folder, whose lines "NAME TAB VALUE TAB UNIT TAB TEXT" become figures, and are
 * shown; others are shown as they are. False: it failed. */
bool measure_script(struct results *r, const char *script, const char *argument);

#endif
