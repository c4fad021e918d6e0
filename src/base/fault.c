/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fault.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The formatted text, made printable, into `room` bytes. Returns its length. */
__attribute__((format(printf, 3, 0))) static size_t print(char *out, size_t room, const char *format,
                                                          va_list args)
{
    char raw[2 * sizeof((struct fault *)0)->text];
    int kept = errno;
    int n = vsnprintf(raw, sizeof raw, format, args);

    errno = kept;
    if (n < 0)
        n = 0;
    size_t len = (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    return text_printable(out, room, raw, len);
}

void fault_set(struct fault *fault, const char *format, ...)
{
    struct fault made;
    va_list args;

    if (!fault)
        return;
    va_start(args, format); /* into a copy: the arguments may point into the fault */
    (void)print(made.text, sizeof made.text, format, args);
    va_end(args);
    memcpy(fault->text, made.text, strlen(made.text) + 1);
}

void fault_prefix(struct fault *fault, const char *format, ...)
{
    struct fault made;
    va_list args;

    if (!fault)
        return;
    va_start(args, format);
    size_t n = print(made.text, sizeof made.text, format, args);
    va_end(args);
    if (fault->text[0] && n + 2 < sizeof made.text) {
        memcpy(made.text + n, ": ", 2);
        n += 2;
        (void)text_printable(made.text + n, sizeof made.text - n, fault->text, strlen(fault->text));
    }
    memcpy(fault->text, made.text, strlen(made.text) + 1);
}
