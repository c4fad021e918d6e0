/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_find.h"

#include <ppk/ppk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NAMES_MAX    1024

static CK_OBJECT_CLASS class_data = CKO_DATA, class_secret = CKO_SECRET_KEY;
static CK_UTF8CHAR application[] = PPK_PEER_APPLICATION;

/* Up to max handles; *count says how many. The search is ended on every path. */
static CK_RV search(struct ppk_session *session, CK_ATTRIBUTE *template, CK_ULONG entries,
                    CK_OBJECT_HANDLE *handles, CK_ULONG max, CK_ULONG *count, char text[static PPK_TEXT_MAX])
{
    CK_RV rv = session->p11->C_FindObjectsInit(session->handle, template, entries), ended;

    *count = 0;
    if (rv != CKR_OK)
        return ppk_rv_text(text, "C_FindObjectsInit", rv);
    rv = session->p11->C_FindObjects(session->handle, handles, max, count);
    ended = session->p11->C_FindObjectsFinal(session->handle);
    if (rv != CKR_OK)
        return ppk_rv_text(text, "C_FindObjects", rv);
    if (*count > max)
        *count = 0;
    return ended == CKR_OK ? ended : ppk_rv_text(text, "C_FindObjectsFinal", ended);
}

/* One attribute of fixed size. CKR_OK, CKR_ATTRIBUTE_TYPE_INVALID: the object does not have it, or another
 * code: it could not be read. */
static CK_RV read_fixed(struct ppk_session *session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type,
                        void *value, CK_ULONG len)
{
    CK_ATTRIBUTE attribute = {type, value, len};
    CK_RV rv = session->p11->C_GetAttributeValue(session->handle, handle, &attribute, 1);

    return rv == CKR_OK && attribute.ulValueLen != len ? CKR_ATTRIBUTE_VALUE_INVALID : rv;
}

/* A text, terminated; empty if there is none, or one too long or with a NUL in it. */
static void read_text(struct ppk_session *session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type,
                      char text[static PPK_NAME_MAX])
{
    CK_ATTRIBUTE attribute = {type, text, PPK_NAME_MAX - 1};
    CK_RV rv;

    memset(text, 0, PPK_NAME_MAX);
    rv = session->p11->C_GetAttributeValue(session->handle, handle, &attribute, 1);
    if (rv != CKR_OK || attribute.ulValueLen >= PPK_NAME_MAX || strlen(text) != attribute.ulValueLen)
        memset(text, 0, PPK_NAME_MAX);
}

/* What cannot be read is not taken for "not required". */
static CK_RV peer_read(struct ppk_session *session, CK_OBJECT_HANDLE handle, struct ppk_peer *peer,
                       char text[static PPK_TEXT_MAX])
{
    CK_BBOOL required = CK_FALSE;
    CK_RV rv = read_fixed(session, handle, CKA_PPK_KIND, &peer->kind, sizeof peer->kind);

    peer->native = rv == CKR_OK;
    if (!peer->native)
        peer->kind = PPK_KIND_NONE;
    if (rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID)
        rv = read_fixed(session, handle, CKA_PPK_REQUIRED, &required, sizeof required);
    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID)
        return ppk_rv_text(text, "C_GetAttributeValue", rv);
    peer->required = required != CK_FALSE;
    read_text(session, handle, CKA_LABEL, peer->name);
    read_text(session, handle, CKA_PPK_LOCAL_SYSTEM_ID, peer->local_system_id);
    peer->known = true;
    return CKR_OK;
}

/* A module without vendor attributes may refuse to search for them: that is "no such peer", not a failure. */
static bool means_unknown_attribute(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
           rv == CKR_TEMPLATE_INCONSISTENT;
}

static CK_RV peer_search(struct ppk_session *session, CK_ATTRIBUTE_TYPE type, void *value, size_t len,
                         struct ppk_peer *peer, char text[static PPK_TEXT_MAX])
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class_data, sizeof class_data},
        {CKA_APPLICATION, application, sizeof application - 1},
        {type, value, len},
    };
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;
    CK_RV rv = search(session, template, COUNT(template), &handle, 1, &count, text);

    if (means_unknown_attribute(rv))
        return CKR_OK;
    if (rv == CKR_OK && count == 1)
        rv = peer_read(session, handle, peer, text);
    return rv;
}

/* Up to max of the token's peers. */
static CK_RV peers_all(struct ppk_session *session, CK_OBJECT_HANDLE *handles, CK_ULONG max, CK_ULONG *count,
                       char text[static PPK_TEXT_MAX])
{
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class_data, sizeof class_data},
        {CKA_APPLICATION, application, sizeof application - 1},
    };

    return search(session, template, COUNT(template), handles, max, count, text);
}

CK_RV ppk_find_keyring(struct ppk_session *session, struct ppk_answer *answer)
{
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;
    CK_RV rv = peers_all(session, &handle, 1, &count, answer->text);

    if (rv != CKR_OK && !means_unknown_attribute(rv))
        return rv;
    answer->keyring = rv == CKR_OK && count == 1;
    answer->fact = PPK_YES;
    return CKR_OK;
}

/* Makes capital letters small. */
static void lower(char *text)
{
    for (; *text; text++) {
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
    }
}

/* IKE compares the names of hosts, mailboxes and most parts of a DN without their case, and a peer must not
 * be another one by its spelling: in small letters, or among the names of all peers, if they are not too many
 * to be read each time somebody unknown comes. */
static CK_RV peer_of_any_case(struct ppk_session *session, const char identity[static PPK_NAME_MAX],
                              struct ppk_peer *peer, char text[static PPK_TEXT_MAX])
{
    CK_OBJECT_HANDLE handles[NAMES_MAX];
    char small[PPK_NAME_MAX], name[PPK_NAME_MAX];
    CK_ULONG count = 0;
    CK_RV rv = CKR_OK;

    memcpy(small, identity, sizeof small);
    lower(small);
    if (!strpbrk(small, "abcdefghijklmnopqrstuvwxyz")) /* an address, for example: it has no other spelling */
        return CKR_OK;
    if (strcmp(small, identity) != 0) /* else it was searched for before */
        rv = peer_search(session, CKA_LABEL, small, strlen(small), peer, text);
    if (rv == CKR_OK && !peer->known)
        rv = peers_all(session, handles, NAMES_MAX, &count, text);
    if (means_unknown_attribute(rv))
        return CKR_OK;
    for (CK_ULONG i = 0; rv == CKR_OK && i < count && !peer->known; i++) {
        read_text(session, handles[i], CKA_LABEL, name);
        lower(name);
        if (strcmp(name, small) == 0)
            rv = peer_read(session, handles[i], peer, text);
    }
    return rv;
}

CK_RV ppk_find_peer(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    struct ppk_peer by_identity = {0}, by_address = {0};
    unsigned char address[sizeof ask->address];
    char identity[PPK_NAME_MAX];
    CK_RV rv = CKR_OK;

    memcpy(address, ask->address, sizeof address);
    memcpy(identity, ask->identity, sizeof identity);
    if (identity[0])
        rv = peer_search(session, CKA_LABEL, identity, strlen(identity), &by_identity, answer->text);
    if (rv == CKR_OK && identity[0] && !by_identity.known)
        rv = peer_of_any_case(session, identity, &by_identity, answer->text);
    if (rv == CKR_OK && ask->address_len)
        rv = peer_search(session, CKA_PPK_PEER_ADDRESS, address, ask->address_len, &by_address, answer->text);
    if (rv != CKR_OK)
        return rv;
    /* The identity is the more particular of the two; required is what either of them says. */
    answer->peer = by_identity.known ? by_identity : by_address;
    answer->peer.required = by_identity.required || by_address.required;
    answer->keyring = answer->peer.known;
    if (ask->keyring && !answer->keyring)
        rv = ppk_find_keyring(session, answer);
    answer->fact = answer->peer.known ? PPK_YES : PPK_NO;
    return rv;
}

CK_RV ppk_find_any(struct ppk_session *session, struct ppk_answer *answer)
{
    CK_ATTRIBUTE keys[] = {{CKA_CLASS, &class_secret, sizeof class_secret}};
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;
    CK_RV rv = peers_all(session, &handle, 1, &count, answer->text);

    if (rv == CKR_OK && !count)
        rv = search(session, keys, COUNT(keys), &handle, 1, &count, answer->text);
    if (rv == CKR_OK) {
        answer->fact = count ? PPK_YES : PPK_NO;
        snprintf(answer->text, sizeof answer->text, "the token holds neither peers nor secret keys");
    }
    return rv;
}

CK_RV ppk_find_describe(struct ppk_session *session, CK_OBJECT_HANDLE handle, struct ppk_answer *answer)
{
    CK_ATTRIBUTE id = {CKA_ID, NULL, 0};
    CK_ULONG kind = PPK_KIND_NONE;
    CK_RV rv = session->p11->C_GetAttributeValue(session->handle, handle, &id, 1);

    if (rv == CKR_OK && (id.ulValueLen == 0 || id.ulValueLen > PPK_ID_MAX)) {
        snprintf(answer->text, sizeof answer->text, "the PPK in the token has no usable CKA_ID (%lu bytes)",
                 id.ulValueLen);
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    if (rv == CKR_OK) {
        free(answer->id);
        answer->id = id.pValue = malloc(id.ulValueLen);
        rv = id.pValue ? session->p11->C_GetAttributeValue(session->handle, handle, &id, 1) : CKR_HOST_MEMORY;
    }
    if (rv != CKR_OK)
        return ppk_rv_text(answer->text, "C_GetAttributeValue(CKA_ID)", rv);
    answer->id_len = id.ulValueLen;
    read_fixed(session, handle, CKA_PPK_KIND, &kind, sizeof kind);
    answer->key = (struct ppk_key){handle, session->generation, kind == PPK_KIND_DYNAMIC};
    answer->fact = PPK_YES;
    return CKR_OK;
}

/* One search by ID. A native token is asked with the peer, so that it knows which key source has the PPK. */
static CK_RV id_search(struct ppk_session *session, const struct ppk_ask *ask, void *id, size_t len,
                       struct ppk_answer *answer)
{
    struct ppk_peer peer = ask->peer;
    char remote[PPK_NAME_MAX];
    CK_ATTRIBUTE template[4] = {
        {CKA_CLASS, &class_secret, sizeof class_secret},
        {CKA_ID, id, len},
    };
    CK_OBJECT_HANDLE handle;
    CK_ULONG entries = 2, count;
    CK_RV rv;

    memcpy(remote, ask->remote_system_id, sizeof remote);
    if (peer.native && peer.name[0])
        template[entries++] = (CK_ATTRIBUTE){CKA_LABEL, peer.name, strlen(peer.name)};
    if (peer.native && peer.kind == PPK_KIND_DYNAMIC && remote[0])
        template[entries++] = (CK_ATTRIBUTE){CKA_PPK_REMOTE_SYSTEM_ID, remote, strlen(remote)};
    rv = search(session, template, entries, &handle, 1, &count, answer->text);
    if (rv == CKR_OK && count == 1)
        rv = ppk_find_describe(session, handle, answer);
    return rv;
}

static int nibble(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Implementations differ on whether a PPK ID is raw bytes or their hex text; a native token knows that
 * itself. */
static CK_RV other_form_search(struct ppk_session *session, const struct ppk_ask *ask,
                               struct ppk_answer *answer)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char *other = malloc(ask->id_len * 2 + 1);
    bool is_hex = ask->id_len % 2 == 0;
    CK_RV rv = CKR_OK;

    if (!other)
        return ppk_rv_text(answer->text, "malloc", CKR_HOST_MEMORY);
    for (size_t i = 0; is_hex && i < ask->id_len; i++)
        is_hex = nibble(ask->id[i]) >= 0;
    if (is_hex) {
        for (size_t i = 0; i < ask->id_len / 2; i++)
            other[i] = (unsigned char)(nibble(ask->id[2 * i]) * 16 + nibble(ask->id[2 * i + 1]));
        rv = id_search(session, ask, other, ask->id_len / 2, answer);
    }
    if (rv == CKR_OK && answer->fact != PPK_YES) {
        for (size_t i = 0; i < ask->id_len; i++) {
            other[2 * i] = (unsigned char)digits[ask->id[i] >> 4];
            other[2 * i + 1] = (unsigned char)digits[ask->id[i] & 15];
        }
        rv = id_search(session, ask, other, ask->id_len * 2, answer);
    }
    free(other);
    return rv;
}

CK_RV ppk_find_by_id(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    CK_RV rv;

    answer->fact = PPK_NO;
    snprintf(answer->text, sizeof answer->text, "no PPK with this ID in the token");
    if (!ask->id_len)
        return CKR_OK;
    rv = id_search(session, ask, ask->id, ask->id_len, answer);
    if (rv == CKR_OK && answer->fact != PPK_YES && !ask->peer.native)
        rv = other_form_search(session, ask, answer);
    return rv;
}

CK_RV ppk_find_manual(struct ppk_session *session, const struct ppk_ask *ask, struct ppk_answer *answer)
{
    struct ppk_peer peer = ask->peer;
    CK_ULONG kind = PPK_KIND_MANUAL;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class_secret, sizeof class_secret},
        {CKA_LABEL, peer.name, strlen(peer.name)},
        {CKA_PPK_KIND, &kind, sizeof kind},
    };
    CK_OBJECT_HANDLE handle;
    CK_ULONG count;
    CK_RV rv = search(session, template, COUNT(template), &handle, 1, &count, answer->text);

    answer->fact = PPK_NO;
    if (rv == CKR_OK && count == 1)
        return ppk_find_describe(session, handle, answer);
    if (rv == CKR_OK)
        snprintf(answer->text, sizeof answer->text, "no manual PPK of this peer in the token");
    return rv;
}
