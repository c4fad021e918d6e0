/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of an error, for an operator: which file and line, profile, server, peer; what was expected and
 * what came. */
#ifndef PPK_BASE_FAULT_H
#define PPK_BASE_FAULT_H

struct fault {
    char text[400]; /* terminated; "" as long as nothing went wrong */
};

/* Sets the text (cut if too long; control characters and bytes that are not UTF-8 are shown as \xNN, since
 * much of what a fault quotes comes from a network or a file). `fault` may be NULL. Never a secret. */
__attribute__((format(printf, 2, 3))) void fault_set(struct fault *fault, const char *format, ...);

/* Puts "text: " in front of what is there, as a layer above adds where it happened. */
__attribute__((format(printf, 2, 3))) void fault_prefix(struct fault *fault, const char *format, ...);

#endif
