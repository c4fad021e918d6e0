/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/config.h"
#include "ppk/ppk.h"
#include "ppkctl/ppkctl.h"
#include "ppkctl/progress.h"
#include "ppkctl/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024

/* Always another PPK of the peer. */
static bool key_new(const struct token *t, const char *peer, uint32_t size, CK_OBJECT_HANDLE *key)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = size / 8;
    CK_ATTRIBUTE template[] = {
        {CKA_LABEL, (void *)peer, strlen(peer)},
        {CKA_VALUE_LEN, &len, sizeof len},
    };
    CK_RV rv = t->p11->C_GenerateKey(t->session, &mechanism, template, size > 0 ? 2 : 1, key);

    if (rv != CKR_OK)
        token_say("C_GenerateKey", rv);
    return rv == CKR_OK;
}

/* The PPK of this ID; the token takes the ID as bytes or as hexadecimal text. */
static bool key_find(const struct token *t, const char *peer, const char *id, CK_OBJECT_HANDLE *key)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_LABEL, (void *)peer, strlen(peer)},
        {CKA_ID, (void *)id, strlen(id)},
    };
    CK_ULONG n = 0;
    CK_RV rv = t->p11->C_FindObjectsInit(t->session, template, 4);

    if (rv == CKR_OK) {
        rv = t->p11->C_FindObjects(t->session, key, 1, &n);
        (void)t->p11->C_FindObjectsFinal(t->session);
    }
    if (rv != CKR_OK) {
        token_say("C_FindObjects", rv);
        return false;
    }
    if (n == 0)
        say("nobody has a PPK of this ID for peer \"%s\"", peer);
    return n > 0;
}

/* Is it text that can be shown as it is? */
static bool is_printable(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] <= 0x20 || bytes[i] > 0x7e)
            return false;
    }
    return true;
}

static void id_show(const struct token *t, CK_OBJECT_HANDLE key, struct text *out)
{
    uint8_t id[TEXT_MAX];
    char hex[2 * TEXT_MAX];
    size_t len;

    if (!token_attribute(t, key, CKA_ID, id, sizeof id, &len) || len == 0)
        return;
    hex_encode(hex, id, len);
    text_printf(out, "PPK ID   %.*s", (int)(2 * len), hex);
    if (is_printable(id, len))
        text_printf(out, " (\"%.*s\")", (int)len, (const char *)id);
    text_printf(out, "\n");
}

static void text_show(const struct token *t, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, const char *title,
                      struct text *out)
{
    uint8_t value[TEXT_MAX];
    size_t len;

    if (token_attribute(t, key, type, value, sizeof value, &len) && len > 0)
        text_printf(out, "%-8s %.*s\n", title, (int)len, (const char *)value);
}

static bool number_get(const struct token *t, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, CK_ULONG *number)
{
    size_t len;

    return token_attribute(t, key, type, number, sizeof *number, &len) && len == sizeof *number;
}

static void key_show(const struct token *t, CK_OBJECT_HANDLE key, struct text *out)
{
    CK_BBOOL required = CK_FALSE;
    CK_ULONG number;
    size_t len;

    id_show(t, key, out);
    text_show(t, key, CKA_PPK_PEER, "peer", out);
    text_printf(out, "%-8s %s\n", "keyring", t->label);
    text_show(t, key, CKA_PPK_SKS_PROFILE, "profile", out);
    text_show(t, key, CKA_PPK_REMOTE_SYSTEM_ID, "remote", out);
    if (number_get(t, key, CKA_VALUE_LEN, &number))
        text_printf(out, "%-8s %lu bits\n", "size", 8 * number);
    if (token_attribute(t, key, CKA_PPK_REQUIRED, &required, sizeof required, &len))
        text_printf(out, "%-8s %s\n", "required", required == CK_TRUE ? "yes" : "no");
    if (number_get(t, key, CKA_PPK_SECONDS_LEFT, &number)) {
        if (number == CK_UNAVAILABLE_INFORMATION)
            text_printf(out, "%-8s never\n", "expires");
        else
            text_printf(out, "%-8s in %lu s\n", "expires", number);
    }
}

static bool hmac_show(const struct token *t, CK_OBJECT_HANDLE key, const char *data, struct text *out)
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    uint8_t mac[32];
    char hex[2 * sizeof mac];
    CK_ULONG len = sizeof mac;
    CK_RV rv = t->p11->C_SignInit(t->session, &mechanism, key);

    if (rv == CKR_OK)
        rv = t->p11->C_Sign(t->session, (CK_BYTE_PTR)data, strlen(data), mac, &len);
    if (rv != CKR_OK) {
        token_say("C_Sign", rv);
        return false;
    }
    hex_encode(hex, mac, len);
    text_printf(out, "%-8s %.*s\n", "hmac", (int)(2 * len), hex);
    return true;
}

int fetch_run(const struct options *o, int argc, char **argv)
{
    struct fault fault = {""};
    struct secret *master_key = NULL;
    struct text out = {0};
    CK_OBJECT_HANDLE key;
    struct token t = {0};
    struct progress waiting;
    bool good = false;

    (void)argc;
    (void)setenv("PPK_LOG", "stderr:warning", 0); /* the token tells there why it failed */
    if (o->id != NULL && o->size > 0) {
        say("fetch: --size is for a new PPK, not for the one of an ID");
        return PPKCTL_USAGE;
    }
    if (o->master_key_file != NULL) {
        master_key = config_master_key_read(o->master_key_file, &fault);
        if (master_key == NULL) {
            say("%s", fault.text);
            return PPKCTL_FAILED;
        }
    }
    progress_begin(&waiting, "waiting for a key");
    good = token_load(&t, o->module, o->config_given ? o->config : NULL) &&
           token_open_peer(&t, o->keyring, argv[0]) && token_login(&t, master_key) &&
           (o->id != NULL ? key_find(&t, argv[0], o->id, &key) : key_new(&t, argv[0], o->size, &key));
    progress_end(&waiting);
    if (good) {
        key_show(&t, key, &out);
        good = o->hmac == NULL || hmac_show(&t, key, o->hmac, &out);
    }
    secret_free(master_key);
    token_close(&t);
    return put(&out) == PPKCTL_OK && good ? PPKCTL_OK : PPKCTL_FAILED;
}
