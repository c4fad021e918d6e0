/* SPDX-License-Identifier: BSD-2-Clause */
/* The built module as the fuzz targets of PKCS#11 use it: loaded by its path, with two tokens of manual PPKs
 * and one of dynamic PPKs (fake_source.c). Every configured key's value begins with KEY_MARK, which is in no
 * input: wherever a target sees it, the token has given a PPK away. */
#ifndef FUZZ_MODULE_H
#define FUZZ_MODULE_H

#include "ppk/pkcs11-3.h"
#include "ppk/ppk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_MARK                                                                                             \
    {                                                                                                        \
        0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15, 0xf3, 0x9c, 0xc0, 0x60                               \
    }
#define KEY_MARK_HEX "9e3779b97f4a7c15f39cc060"
#define KEY_MARK_LEN 12

#define MODULE_SLOTS 3 /* main, strict (derived keys stay inside), dynamic */

/* The function list 3.0: set by module_load(). */
extern const CK_FUNCTION_LIST_3_0 *f;

/* Loads the module and calls C_Initialize; ends the program with a message if that fails. */
void module_load(void);

/* Ends the program, after a message, unless this holds: a finding. */
#define must(condition) module_must((condition), #condition, __FILE__, __LINE__)
void module_must(bool holds, const char *what, const char *file, int line);

/* The same for what came out of the token: no configured key's value may be in it. */
void module_no_key(const void *data, size_t len);

/* An input that is taken apart from its beginning; past its end come zeros. */
struct input {
    const uint8_t *at;
    size_t left;
};
uint8_t input_byte(struct input *in);
CK_ULONG input_number(struct input *in); /* of up to eight bytes, often small */
size_t input_below(struct input *in, size_t n);

/* The next up to `len` bytes in a block of their own from malloc(), whose length goes to *got, so that ASan
 * sees a read beyond. Freed by input_free(). */
void *input_block(struct input *in, size_t len, size_t *got);
void *input_room(size_t len); /* the same, empty, to be written to */
void input_free(void);

/* A template for a call that reads it: known and unknown types, values that fit and that do not, NULL with
 * and without a length, lengths beyond all bounds (which the token must refuse before it reads). */
struct fuzz_template {
    CK_ATTRIBUTE *a;
    CK_ULONG n;
};
struct fuzz_template input_template(struct input *in);

/* A template for C_GetAttributeValue: buffers that are as long as they say. */
struct fuzz_template input_template_read(struct input *in);
void template_check_read(const struct fuzz_template *t, const struct fuzz_template *asked, CK_RV rv);

/* Any mechanism with any parameter, of which every pointer is to a block. Handles in it are among these. */
CK_MECHANISM input_mechanism(struct input *in, const CK_OBJECT_HANDLE *handles, size_t n);

#endif
