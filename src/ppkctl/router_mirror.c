/* SPDX-License-Identifier: BSD-2-Clause */
/* Ours, as the router at the other end of each peer has to have it. */
#include "ppkctl/router.h"

#include "config/words.h"

#include <stdio.h>
#include <string.h>

const char *const router_kinds[ROUTER_KINDS] = {
    [ROUTER_IOS_XR] = "ios-xr", [ROUTER_IOS_XE] = "ios-xe", [ROUTER_OURS] = "ppk.conf"};

/* How each kind says it. */
static const struct {
    const char *keyring, *profile, *match, *keyring_local, *key_source;
} syntax[ROUTER_KINDS] = {
    [ROUTER_IOS_XR] = {"keyring", "ikev2 profile", "match identity remote address", "keyring", "sks profile"},
    [ROUTER_IOS_XE] = {"crypto ikev2 keyring", "crypto ikev2 profile", "match identity remote address",
                       "keyring local", "crypto skip-client"},
    [ROUTER_OURS] = {"keyring", "ikev2 profile", "match identity remote address", "keyring", "sks profile"},
};

static const char *our_address(const char *address)
{
    return address != NULL ? address : "<address of this host>";
}

/* The address as a group of one host, as this kind writes it. */
static void host_print(const char *address, struct text *out)
{
    const char *shown = our_address(address);

    if (strchr(shown, ':') != NULL)
        text_printf(out, "%s/128\n", shown);
    else
        text_printf(out, "%s 255.255.255.255\n", shown);
}

static bool secret_there(const struct config_secret *s)
{
    return s->value != NULL || s->sealed != NULL;
}

/* A line: keywords, a name as a word, the rest. */
static void name_print(const char *keywords, const char *name, const char *rest, struct text *out)
{
    text_printf(out, "%s ", keywords);
    words_print(out, name);
    text_printf(out, "%s\n", rest);
}

static void id_print(struct span id, struct text *out)
{
    struct text word = {0};

    text_append(&word, (const char *)id.data, id.len);
    words_print(out, word.s != NULL ? word.s : "");
    out->failed = out->failed || word.failed;
    text_free(&word);
}

static void peer_print(const struct peer *p, enum router_kind kind, const char *address, struct text *out)
{
    const char *local = p->dynamic != NULL ? p->dynamic->local_system_id : NULL;

    name_print(" peer", local != NULL ? local : "linux", "", out);
    text_printf(out, "  address ");
    host_print(address, out);
    if (p->dynamic != NULL)
        name_print("  ppk dynamic", p->dynamic->name, p->dynamic_required ? " required" : "", out);
    if (local != NULL && kind == ROUTER_OURS)
        name_print("  remote-system-id", local, "", out);
    for (size_t i = 0; i < p->n_manual; i++) {
        text_printf(out, "  ppk manual id ");
        id_print(p->manual[i].id, out);
        text_printf(out, " key <the same PPK as here>%s\n", p->manual[i].required ? " required" : "");
    }
    if (secret_there(&p->psk))
        text_printf(out, "  pre-shared-key <the same key as here>\n");
}

static void profile_print(const struct peer *p, enum router_kind kind, const char *address, struct text *out)
{
    const char *name = p->keyring->name;
    char keyring[40];

    name_print(syntax[kind].profile, name, "", out);
    text_printf(out, " %s ", syntax[kind].match);
    host_print(address, out);
    (void)snprintf(keyring, sizeof keyring, " %s", syntax[kind].keyring_local);
    name_print(keyring, name, "", out);
    name_print(" keyring ppk", name, "", out);
}

static void key_source_print(const struct peer *p, enum router_kind kind, struct text *out)
{
    const struct sks_profile *s = p->dynamic;
    const char *remote = p->remote_system_id != NULL ? p->remote_system_id : "the other system";

    text_printf(out, "! its own key source, which is synchronized with this end's: SKIP system \"%s\"\n",
                remote);
    name_print(syntax[kind].key_source, s->name,
               kind == ROUTER_IOS_XE                           ? ""
               : s->type == SKS_ETSI014 && kind == ROUTER_OURS ? " type etsi014"
                                                               : " type remote",
               out);
    text_printf(out, " %sserver ipv4 <address of its key source> port <its port>\n",
                kind == ROUTER_IOS_XE ? "" : "kme ");
    if (kind == ROUTER_IOS_XE)
        text_printf(out, " psk id <its identity there> key hex <its PSK there>\n");
    if (kind == ROUTER_OURS && s->psk_id != NULL)
        text_printf(out, " tls psk id <its identity there> key hex <its PSK there>\n");
    if (kind == ROUTER_OURS && p->remote_system_id != NULL)
        name_print(" local-system-id", p->remote_system_id, "", out);
}

void router_mirror(const struct configuration *c, enum router_kind kind, const char *address,
                   struct text *out)
{
    bool first = true;

    for (size_t i = 0; i < c->n_keyrings; i++) {
        for (size_t j = 0; j < c->keyrings[i].n_peers; j++) {
            const struct peer *p = &c->keyrings[i].peers[j];

            text_printf(out, "%s! at the other end of peer \"%s\" (keyring \"%s\"); fill in what is in <>\n",
                        first ? "" : "!\n", p->name, c->keyrings[i].name);
            first = false;
            name_print(syntax[kind].keyring, c->keyrings[i].name, "", out);
            peer_print(p, kind, address, out);
            text_printf(out, "!\n");
            profile_print(p, kind, address, out);
            if (p->dynamic != NULL) {
                text_printf(out, "!\n");
                key_source_print(p, kind, out);
            }
            if (p->dynamic != NULL && p->dynamic->type == SKS_ETSI014 && kind != ROUTER_OURS)
                text_printf(out,
                            "! note: this end's key source speaks ETSI GS QKD 014; the router's has to speak "
                            "SKIP\n");
        }
    }
    text_printf(out, "!\n");
}
