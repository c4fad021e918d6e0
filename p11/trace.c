/* SPDX-License-Identifier: BSD-2-Clause */
#include "p11/trace.h"

#include "base/bytes.h"
#include "p11/mechanism.h"
#include "p11/template.h"

#include <stdarg.h>
#include <string.h>

enum { ATTRIBUTES_MAX = 32, VALUE_MAX = 64 };

#define NAME(constant)                                                                                       \
    {                                                                                                        \
        constant, #constant                                                                                  \
    }
struct name {
    CK_ULONG value;
    const char *name;
};

static const struct name classes[] = {NAME(CKO_DATA),        NAME(CKO_CERTIFICATE), NAME(CKO_PUBLIC_KEY),
                                      NAME(CKO_PRIVATE_KEY), NAME(CKO_SECRET_KEY),  NAME(CKO_MECHANISM)};
static const struct name key_types[] = {
    NAME(CKK_GENERIC_SECRET), NAME(CKK_AES),         NAME(CKK_SHA_1_HMAC),
    NAME(CKK_SHA256_HMAC),    NAME(CKK_SHA384_HMAC), NAME(CKK_SHA512_HMAC),
    NAME(CKK_HKDF),           NAME(CKK_RSA),         NAME(CKK_EC),
};
static const struct name users[] = {NAME(CKU_SO), NAME(CKU_USER), NAME(CKU_CONTEXT_SPECIFIC)};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void name_print(struct text *out, const struct name *names, size_t n, CK_ULONG value)
{
    for (size_t i = 0; i < n; i++) {
        if (names[i].value == value) {
            text_printf(out, "%s", names[i].name);
            return;
        }
    }
    text_printf(out, "0x%lx", value);
}

static void mechanism_print(struct text *out, CK_MECHANISM_TYPE type)
{
    const struct mechanism *m = mechanism_find(type);

    if (m != NULL)
        text_printf(out, "%s", m->name);
    else
        text_printf(out, "mechanism 0x%lx", type);
}

static void ulong_print(struct text *out, const CK_ATTRIBUTE *a)
{
    CK_ULONG value;

    memcpy(&value, a->pValue, sizeof value); /* may be anywhere */
    if (a->type == CKA_CLASS)
        name_print(out, classes, COUNT(classes), value);
    else if (a->type == CKA_KEY_TYPE)
        name_print(out, key_types, COUNT(key_types), value);
    else if (a->type == CKA_KEY_GEN_MECHANISM)
        mechanism_print(out, value);
    else
        text_printf(out, "%lu", value);
}

/* The value, if it is one of a kind that never is a key's; else how long it is. */
static void value_print(struct text *out, const struct attribute_row *row, const CK_ATTRIBUTE *a)
{
    const CK_ULONG len = a->ulValueLen;

    if (row != NULL && row->form == FORM_BOOL && len == sizeof(CK_BBOOL)) {
        text_printf(out, "%s", *(const CK_BBOOL *)a->pValue != CK_FALSE ? "CK_TRUE" : "CK_FALSE");
    } else if (row != NULL && row->form == FORM_ULONG && len == sizeof(CK_ULONG)) {
        ulong_print(out, a);
    } else if (row != NULL && row->form == FORM_TEXT && len <= VALUE_MAX) {
        text_printf(out, "\"");
        text_append(out, a->pValue, len);
        text_printf(out, "\"");
    } else if (a->type == CKA_ID && len <= VALUE_MAX) {
        char hex[2 * VALUE_MAX];
        hex_encode(hex, a->pValue, len);
        text_append(out, hex, 2 * len);
    } else {
        text_printf(out, "%lu bytes", len);
    }
}

static void template_print(struct text *out, const CK_ATTRIBUTE *template, CK_ULONG n, bool looked,
                           bool values)
{
    if (!looked || template == NULL) {
        text_printf(out, "%lu attributes", n);
        return;
    }
    text_printf(out, "{");
    for (CK_ULONG i = 0; i < n && i < ATTRIBUTES_MAX; i++) {
        const CK_ATTRIBUTE *a = &template[i];
        const struct attribute_row *row = attribute_row(a->type);
        text_printf(out, "%s", i > 0 ? ", " : "");
        if (row != NULL)
            text_printf(out, "%s=", row->name);
        else
            text_printf(out, "attribute 0x%lx=", a->type);
        if (a->ulValueLen == CK_UNAVAILABLE_INFORMATION)
            text_printf(out, "unavailable");
        else if (values && a->pValue != NULL)
            value_print(out, row, a);
        else
            text_printf(out, "%lu bytes", a->ulValueLen);
    }
    text_printf(out, n > ATTRIBUTES_MAX ? ", ...}" : "}");
}

/* Did the call look at its templates and mechanisms, so that they are there? */
static bool looked_at(CK_RV rv)
{
    switch (rv) {
    case CKR_OK:
    case CKR_DEVICE_ERROR:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_ATTRIBUTE_SENSITIVE:
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_BUFFER_TOO_SMALL:
    case CKR_TEMPLATE_INCOMPLETE:
    case CKR_TEMPLATE_INCONSISTENT:
        return true;
    default:
        return false;
    }
}

static void argument_print(struct text *out, char kind, CK_RV rv, va_list *args)
{
    const bool looked = looked_at(rv), values = rv == CKR_OK || rv == CKR_DEVICE_ERROR;

    if (kind == 'm') {
        const CK_MECHANISM *m = va_arg(*args, const CK_MECHANISM *);
        if (m == NULL || !(looked || rv == CKR_MECHANISM_PARAM_INVALID || rv == CKR_MECHANISM_INVALID)) {
            text_printf(out, "mechanism");
            return;
        }
        mechanism_print(out, m->mechanism);
        if (m->ulParameterLen > 0)
            text_printf(out, "(%lu bytes)", m->ulParameterLen);
    } else if (kind == 't' || kind == 'v') {
        const CK_ATTRIBUTE *template = va_arg(*args, const CK_ATTRIBUTE *);
        template_print(out, template, va_arg(*args, CK_ULONG), looked, kind == 't' ? values : rv == CKR_OK);
    } else if (kind == 'O' || kind == 'P' || kind == 'N') {
        const CK_ULONG *given = va_arg(*args, const CK_ULONG *);
        const char *what = kind == 'O' ? "object " : kind == 'P' ? "session " : "";
        if (rv == CKR_OK && given != NULL)
            text_printf(out, "-> %s%lu", what, *given);
        else
            text_printf(out, "->");
    } else if (kind == 'u') {
        name_print(out, users, COUNT(users), va_arg(*args, CK_ULONG));
    } else if (kind == 'y') {
        mechanism_print(out, va_arg(*args, CK_ULONG));
    } else {
        CK_ULONG value = va_arg(*args, CK_ULONG);
        if (kind == 'n')
            text_printf(out, "%lu bytes", value);
        else if (kind == 'f')
            text_printf(out, "flags 0x%lx", value);
        else
            text_printf(out, "%s %lu", kind == 's' ? "session" : kind == 'S' ? "slot" : "object", value);
    }
}

void trace_end(uint64_t began, enum function function, CK_RV rv, const char *arguments, ...)
{
    uint64_t took = clock_us() - (began & ~UINT64_C(1));
    struct text out = {0};
    va_list args;

    va_start(args, arguments);
    for (const char *a = arguments; *a != '\0'; a++) {
        text_printf(&out, "%s", a > arguments ? ", " : "");
        argument_print(&out, *a, rv, &args);
    }
    va_end(args);
    log_write(LOG_LEVEL_TRACE, "%s(%s) = %s, %llu us", returns_function(function), out.s != NULL ? out.s : "",
              returns_name(rv), (unsigned long long)took);
    text_free(&out);
}
