/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/store.h"

#include <string.h>

#define STORE_LINE(name) {#name, &store_##name},

static const struct {
    const char *name;
    const struct store_kind *kind;
} store_kinds[] = {STORE_KINDS(STORE_LINE)};

const struct store_kind *store_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof store_kinds / sizeof store_kinds[0]; i++)
        if (strcmp(store_kinds[i].name, name) == 0)
            return store_kinds[i].kind;
    return NULL;
}

const char *store_kind_name(size_t n)
{
    return n < sizeof store_kinds / sizeof store_kinds[0] ? store_kinds[n].name : "";
}
