/* SPDX-License-Identifier: BSD-2-Clause */
#include "guard.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096UL

struct mapping {
    struct mapping *next;
    void *start;
    size_t len;
};
static _Thread_local struct mapping *mappings;

/* Short-lived buffers are many: those of one page are used again. */
static _Thread_local struct mapping *spare;

static struct mapping *map(size_t pages)
{
    if (pages == 1 && spare) {
        struct mapping *m = spare;
        spare = m->next;
        mprotect(m->start, PAGE, PROT_READ | PROT_WRITE);
        return m;
    }
    struct mapping *m = malloc(sizeof *m);
    if (!m)
        abort();
    m->len = (pages + 1) * PAGE;
    m->start = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->start == MAP_FAILED || mprotect((char *)m->start + pages * PAGE, PAGE, PROT_NONE) != 0) {
        perror("guard pages");
        abort();
    }
    return m;
}

void *guard_buffer(size_t len)
{
    size_t pages = len ? (len + PAGE - 1) / PAGE : 1;
    struct mapping *m = map(pages);
    m->next = mappings;
    mappings = m;
    memset(m->start, 0xA5, pages * PAGE);
    return (char *)m->start + pages * PAGE - len;
}

void *guard_copy(const void *data, size_t len)
{
    void *p = guard_buffer(len);
    if (len)
        memcpy(p, data, len);
    return p;
}

void *guard_frozen(const void *data, size_t len)
{
    void *p = guard_copy(data, len);
    mprotect(mappings->start, mappings->len - PAGE, PROT_READ);
    return p;
}

static void unmap(struct mapping *m)
{
    munmap(m->start, m->len);
    free(m);
}

void guard_release(void)
{
    while (mappings) {
        struct mapping *m = mappings;
        mappings = m->next;
        if (m->len == 2 * PAGE) {
            m->next = spare;
            spare = m;
        } else {
            unmap(m);
        }
    }
}

void guard_end(void)
{
    guard_release();
    while (spare) {
        struct mapping *m = spare;
        spare = m->next;
        unmap(m);
    }
}
