/* SPDX-License-Identifier: BSD-2-Clause */
#include "skipd/store.h"

#include <string.h>

static const struct store_kind *const store_kinds[] = {&store_sqlite, &store_postgresql};

const struct store_kind *store_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof store_kinds / sizeof store_kinds[0]; i++)
        if (strcmp(store_kinds[i]->name, name) == 0)
            return store_kinds[i];
    return NULL;
}
