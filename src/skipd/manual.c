/* SPDX-License-Identifier: BSD-2-Clause */
/* Prints skipd.conf(5), from the table of its commands, for the build. */
#include "config/config.h"
#include "skipd/conf.h"

#include <stdio.h>

int main(void)
{
    struct text page = {0};
    int code = 1;

    config_manual(&skipd_language, &page);
    if (!page.failed && fwrite(page.s, 1, page.len, stdout) == page.len && fflush(stdout) == 0)
        code = 0;
    text_free(&page);
    return code;
}
