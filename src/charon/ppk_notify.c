/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_notify.h"

#include "ppk_cfg.h"

#include <encoding/payloads/id_payload.h>
#include <encoding/payloads/notify_payload.h>

#define PPK_ID_OPAQUE 1
#define PPK_ID_FIXED  2

/* The length of the UTF-8 character (RFC 3629) at the start, or 0 if there is none. */
static size_t utf8_step(chunk_t data)
{
    /* the first byte's range, and how far it narrows that of the second: no overlong forms, no surrogates */
    static const struct {
        uint8_t first, last, low, high;
        size_t len;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t n = 0; n < countof(forms); n++) {
        if (data.ptr[0] < forms[n].first || data.ptr[0] > forms[n].last)
            continue;
        if (data.len < forms[n].len ||
            (forms[n].len > 1 && (data.ptr[1] < forms[n].low || data.ptr[1] > forms[n].high)))
            return 0;
        for (size_t i = 2; i < forms[n].len; i++) {
            if ((data.ptr[i] & 0xc0) != 0x80)
                return 0;
        }
        return forms[n].len;
    }
    return 0;
}

/* A system ID is a name. It arrives unauthenticated, and goes into requests and logs; a key source that keeps
 * it as text takes UTF-8 only. */
static bool is_system_id(chunk_t data)
{
    if (!data.len || data.len >= PPK_NAME_MAX)
        return false;
    for (size_t step = 0; data.len; data = chunk_skip(data, step)) {
        step = utf8_step(data);
        if (!step || data.ptr[0] <= ' ' || data.ptr[0] == 0x7f)
            return false;
    }
    return true;
}

void ppk_notify_init_received(struct ppk_sa *sa, message_t *message, bool accept)
{
    notify_payload_t *notify = message->get_notify(message, USE_PPK);
    chunk_t data;

    sa->peer_offers = notify != NULL;
    sa->remote_system_id[0] = '\0';
    if (!notify || !accept)
        return;
    data = notify->get_notification_data(notify);
    if (is_system_id(data)) {
        memcpy(sa->remote_system_id, data.ptr, data.len);
        sa->remote_system_id[data.len] = '\0';
        DBG1(DBG_CFG, "ppk: the peer's SKIP system ID is '%s'", sa->remote_system_id);
    } else if (data.len) {
        DBG1(DBG_CFG,
             "ppk: warning: ignoring the %zu bytes in the peer's USE_PPK, which are no SKIP system ID",
             data.len);
    }
}

void ppk_notify_init_sent(struct ppk_sa *sa, message_t *message)
{
    notify_payload_t *notify = message->get_notify(message, USE_PPK);
    const struct ppk_peer *peer;

    if (!notify)
        return;
    peer = ppk_sa_peer(sa);
    if (peer->local_system_id[0])
        notify->set_notification_data(notify, chunk_from_str((char *)peer->local_system_id));
}

static void ppk_id_take(struct ppk_sa *sa, notify_payload_t *notify)
{
    chunk_t data = notify->get_notification_data(notify);

    chunk_free(&sa->wire_id);
    if (data.len < 2)
        DBG1(DBG_CFG, "ppk: warning: the peer's PPK_IDENTITY has no PPK ID (%zu bytes)", data.len);
    else if (data.ptr[0] == PPK_ID_OPAQUE)
        DBG1(DBG_CFG, "ppk: warning: the peer's PPK_IDENTITY is of type OPAQUE, which is not supported");
    else if (data.ptr[0] != PPK_ID_FIXED)
        DBG1(DBG_CFG, "ppk: warning: the peer's PPK_IDENTITY is of the unknown type %u", data.ptr[0]);
    else
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the entry owns it */
        sa->wire_id = chunk_create_clone(malloc(data.len - 1), chunk_skip(data, 1));
}

bool ppk_notify_identity_received(struct ppk_sa *sa, message_t *message, payload_type_t type)
{
    id_payload_t *payload = (id_payload_t *)message->get_payload(message, type);
    identification_t *id;

    if (!payload)
        return false;
    id = payload->get_identification(payload);
    ppk_identity_text(id, sa->identity);
    id->destroy(id);
    return sa->identity[0] != '\0';
}

bool ppk_notify_auth_received(struct ppk_sa *sa, message_t *message)
{
    notify_payload_t *notify = message->get_notify(message, PPK_IDENTITY);

    if (notify)
        ppk_id_take(sa, notify);
    return ppk_notify_identity_received(sa, message, PLV2_ID_INITIATOR);
}
