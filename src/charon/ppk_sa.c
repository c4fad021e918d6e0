/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_sa.h"

#include "ppk_peers.h"

#include <collections/hashtable.h>
#include <ppk/ppk.h>
#include <stdatomic.h>
#include <threading/mutex.h>

static struct {
    struct ppk_pool *pool;
    hashtable_t *entries; /* ike_sa_t* => struct ppk_sa* */
    mutex_t *mutex;
    atomic_uint_least64_t serial;
} table;

bool ppk_sa_table_create(struct ppk_pool *pool)
{
    table.pool = pool;
    table.mutex = mutex_create(MUTEX_TYPE_DEFAULT);
    table.entries = hashtable_create(hashtable_hash_ptr, hashtable_equals_ptr, 32);
    return table.mutex && table.entries;
}

/* Puts a question, and waits for the answer only where the caller does. */
static struct ppk_job *submit(struct ppk_ask *ask)
{
    return ppk_job_submit(table.pool, ask);
}

void ppk_sa_key_done(struct ppk_sa *sa)
{
    struct ppk_ask ask = {.op = PPK_OP_DONE, .key = sa->key};

    if (sa->peer.native)
        ask.outcome = sa->outcome;
    if (sa->have_key && (sa->key.dynamic || ask.outcome != PPK_OUTCOME_NONE))
        ppk_job_release(submit(&ask));
    sa->outcome = PPK_OUTCOME_NONE;
    sa->have_key = sa->mixed = false;
    sa->serial = 0;
}

void ppk_sa_reset(struct ppk_sa *sa)
{
    ppk_sa_key_done(sa);
    DESTROY_IF(sa->ppk_id);
    sa->ppk_id = NULL;
    chunk_free(&sa->wire_id);
    sa->remote_system_id[0] = '\0';
    sa->peer_offers = false;
    sa->tried = false;
    for (size_t i = 0; i < countof(sa->lookups); i++) {
        ppk_job_release(sa->lookups[i]);
        sa->lookups[i] = NULL;
    }
    sa->peer = (struct ppk_peer){0};
    sa->unknown = sa->missed = false;
    sa->unanswered[0] = '\0';
}

static void sa_free(struct ppk_sa *sa)
{
    ppk_sa_reset(sa);
    free(sa);
}

void ppk_sa_table_destroy(void)
{
    enumerator_t *all;
    struct ppk_sa *sa;
    void *key;

    if (!table.entries)
        return;
    all = table.entries->create_enumerator(table.entries);
    while (all->enumerate(all, &key, &sa))
        sa_free(sa);
    all->destroy(all);
    table.entries->destroy(table.entries);
    table.mutex->destroy(table.mutex);
    table.entries = NULL;
    table.mutex = NULL;
    table.pool = NULL;
}

struct ppk_sa *ppk_sa_get(ike_sa_t *ike_sa, bool create)
{
    struct ppk_sa *sa;

    if (!ike_sa || !table.mutex)
        return NULL;
    table.mutex->lock(table.mutex);
    sa = table.entries->get(table.entries, ike_sa);
    if (!sa && create && (sa = calloc(1, sizeof *sa))) {
        sa->ike_sa = ike_sa;
        table.entries->put(table.entries, ike_sa, sa);
    }
    table.mutex->unlock(table.mutex);
    return sa;
}

static __thread ike_sa_t *initiating;

void ppk_sa_thread_initiates(ike_sa_t *ike_sa)
{
    initiating = ike_sa;
}

ike_sa_t *ppk_sa_thread(void)
{
    return initiating ? initiating : charon->bus->get_sa(charon->bus);
}

struct ppk_sa *ppk_sa_current(void)
{
    return ppk_sa_get(ppk_sa_thread(), true);
}

void ppk_sa_remove(ike_sa_t *ike_sa)
{
    struct ppk_sa *sa;

    if (initiating == ike_sa)
        initiating = NULL;
    if (!table.mutex)
        return;
    table.mutex->lock(table.mutex);
    sa = table.entries->remove(table.entries, ike_sa);
    table.mutex->unlock(table.mutex);
    if (sa)
        sa_free(sa);
}

void ppk_sa_lookup(struct ppk_sa *sa, host_t *other)
{
    struct ppk_ask ask = {.op = PPK_OP_PEER, .keyring = !ppk_peers_keyring()};
    struct ppk_job *job;
    chunk_t address = other ? other->get_address(other) : chunk_empty;

    if (other && !other->is_anyaddr(other) && address.len <= sizeof ask.address) {
        memcpy(ask.address, address.ptr, address.len);
        ask.address_len = address.len;
    }
    memcpy(ask.identity, sa->identity, sizeof ask.identity);
    if (sa->lookups[0] && sa->lookups[1])
        ppk_sa_peer(sa);
    job = submit(&ask);
    sa->lookups[sa->lookups[0] ? 1 : 0] = job;
    sa->missed |= !job && ppk_peers_keyring();
}

/* Where the token does not answer, the peer is what it was the last time. One that it was never asked about
 * may be one of whom a PPK is required: whoever can make a key source slow must not get rid of it by that.
 * Only where there was no keyring to be read, ever, the connection decides. */
static enum ppk_fact lookup_guess(struct ppk_sa *sa, const struct ppk_job *job, const char *why,
                                  struct ppk_peer *peer)
{
    const struct ppk_ask *ask = ppk_job_ask(job);
    bool remembered = ppk_peers_last(ask, peer), unknown = !remembered && ppk_peers_keyring();

    if (unknown) {
        sa->missed |= sa->unknown && strcmp(sa->unanswered, ask->identity) != 0;
        sa->unknown = true;
        memcpy(sa->unanswered, ask->identity, sizeof sa->unanswered);
    }
    DBG1(DBG_CFG, "ppk: warning: the token cannot be asked about this peer%s: %s",
         remembered ? ", which is taken for what it was"
         : unknown  ? ", of which a PPK may be required"
                    : "",
         why);
    return remembered && peer->known ? PPK_YES : PPK_NO;
}

static void lookup_take(struct ppk_sa *sa, struct ppk_job *job)
{
    const struct ppk_answer *answer = ppk_job_wait(job);
    struct ppk_peer peer = answer->peer;
    enum ppk_fact fact = answer->fact;
    bool required = sa->peer.required;

    if (answer->keyring)
        ppk_peers_keyring_seen();
    if (fact == PPK_FAILED) {
        fact = lookup_guess(sa, job, answer->text, &peer);
    } else {
        ppk_peers_note(ppk_job_ask(job), &peer);
        /* what was asked in vain is known now; but not by another name */
        if (!sa->unanswered[0] || strcmp(sa->unanswered, ppk_job_ask(job)->identity) == 0)
            sa->unknown = false;
    }
    if (fact == PPK_YES) {
        sa->peer = peer;
        sa->peer.required |= required;
        DBG2(DBG_CFG, "ppk: the peer is '%s' of the keyring, PPK %s", sa->peer.name,
             sa->peer.required ? "required" : "not required");
    }
}

/* A later lookup knows more than an earlier one; what it does not find does not undo what was found. */
const struct ppk_peer *ppk_sa_peer(struct ppk_sa *sa)
{
    for (size_t i = 0; i < countof(sa->lookups); i++) {
        if (!sa->lookups[i])
            continue;
        lookup_take(sa, sa->lookups[i]);
        ppk_job_release(sa->lookups[i]);
        sa->lookups[i] = NULL;
    }
    return &sa->peer;
}

bool ppk_sa_required(struct ppk_sa *sa)
{
    return ppk_sa_peer(sa)->required || sa->unknown || sa->missed;
}

const char *ppk_id_text(chunk_t id, char text[static PPK_ID_TEXT_MAX])
{
    size_t shown = id.len < 64 ? id.len : 64;
    bool printable = id.len > 0;
    int used;

    for (size_t i = 0; i < id.len; i++)
        printable = printable && id.ptr[i] > ' ' && id.ptr[i] < 0x7f;
    if (printable) {
        used = snprintf(text, PPK_ID_TEXT_MAX, "%.*s", (int)shown, (const char *)id.ptr);
    } else {
        used = 0;
        text[0] = '\0';
        for (size_t i = 0; i < shown; i++)
            used += snprintf(text + used, PPK_ID_TEXT_MAX - (size_t)used, "%02x", id.ptr[i]);
    }
    if (shown < id.len)
        snprintf(text + used, PPK_ID_TEXT_MAX - (size_t)used, "... ");
    return text;
}

/* The answer's key becomes the SA's. */
static void key_take(struct ppk_sa *sa, struct ppk_answer *answer)
{
    ppk_sa_key_done(sa);
    DESTROY_IF(sa->ppk_id);
    sa->ppk_id = identification_create_from_encoding(ID_KEY_ID, chunk_create(answer->id, answer->id_len));
    sa->key = answer->key;
    sa->serial = atomic_fetch_add(&table.serial, 1) + 1;
    sa->have_key = true;
}

identification_t *ppk_sa_new_key(struct ppk_sa *sa)
{
    struct ppk_ask ask = {.op = PPK_OP_GENERATE};
    struct ppk_answer *answer;
    struct ppk_job *job;
    char text[PPK_ID_TEXT_MAX];

    if (sa->tried)
        return sa->have_key ? sa->ppk_id : NULL;
    sa->tried = true;
    ask.peer = *ppk_sa_peer(sa);
    memcpy(ask.remote_system_id, sa->remote_system_id, sizeof ask.remote_system_id);
    job = submit(&ask);
    if (!job)
        return NULL;
    answer = ppk_job_wait(job);
    if (answer->fact == PPK_YES) {
        key_take(sa, answer);
        DBG1(DBG_CFG, "ppk: %s PPK '%s' for peer '%s'", sa->key.dynamic ? "new dynamic" : "manual",
             ppk_id_text(sa->ppk_id->get_encoding(sa->ppk_id), text), sa->peer.name);
    } else {
        DBG1(DBG_CFG, "ppk: %s: no PPK for peer '%s': %s", sa->peer.required ? "error" : "warning",
             sa->peer.name, answer->text);
    }
    ppk_job_release(job);
    return sa->have_key ? sa->ppk_id : NULL;
}

bool ppk_sa_find_key(struct ppk_sa *sa, chunk_t id)
{
    struct ppk_ask ask = {.op = PPK_OP_FIND};
    struct ppk_answer *answer;
    struct ppk_job *job;
    char text[PPK_ID_TEXT_MAX];

    if (sa->have_key && chunk_equals(id, sa->ppk_id->get_encoding(sa->ppk_id)))
        return true;
    ask.peer = *ppk_sa_peer(sa);
    memcpy(ask.remote_system_id, sa->remote_system_id, sizeof ask.remote_system_id);
    job = ppk_ask_set_id(&ask, id.ptr, id.len) ? submit(&ask) : NULL;
    if (!job)
        return false;
    answer = ppk_job_wait(job);
    sa->tried = true;
    if (answer->fact == PPK_YES) {
        key_take(sa, answer);
        DBG1(DBG_CFG, "ppk: %s PPK '%s' is in the token", sa->key.dynamic ? "dynamic" : "manual",
             ppk_id_text(id, text));
    } else {
        DBG1(DBG_CFG, "ppk: %s: no PPK '%s' of peer '%s': %s",
             answer->fact == PPK_FAILED ? "error" : "warning", ppk_id_text(id, text),
             sa->peer.known ? sa->peer.name : "(not in the keyring)", answer->text);
    }
    ppk_job_release(job);
    return sa->have_key;
}

bool ppk_sa_any_key(struct ppk_sa *sa)
{
    struct ppk_ask ask = {.op = PPK_OP_ANY};
    const struct ppk_peer *peer = ppk_sa_peer(sa);
    struct ppk_answer *answer;
    struct ppk_job *job;
    bool any;

    if (peer->known && peer->kind != PPK_KIND_NONE)
        return true;
    job = submit(&ask);
    if (!job)
        return false;
    answer = ppk_job_wait(job);
    any = answer->fact == PPK_YES;
    if (!any)
        DBG1(DBG_CFG, "ppk: warning: no PPK is offered to the peer: %s", answer->text);
    ppk_job_release(job);
    return any;
}

bool ppk_sa_derive(struct ppk_sa *sa, CK_MECHANISM_TYPE prf, size_t prf_len, chunk_t seed, size_t out_len,
                   chunk_t *out)
{
    struct ppk_ask ask = {
        .op = PPK_OP_DERIVE, .key = sa->key, .prf = prf, .prf_len = prf_len, .out_len = out_len};
    struct ppk_answer *answer;
    struct ppk_job *job;
    char text[PPK_ID_TEXT_MAX];
    bool done;

    job = ppk_ask_set_seed(&ask, seed.ptr, seed.len) ? submit(&ask) : NULL;
    if (!job)
        return false;
    answer = ppk_job_wait(job);
    done = answer->fact == PPK_YES && answer->out_len == out_len;
    if (done) {
        sa->mixed = true;
        *out = chunk_alloc(out_len);
        memcpy(out->ptr, answer->out, out_len);
    } else {
        DBG1(DBG_CFG, "ppk: error: the token does not derive with PPK '%s': %s",
             ppk_id_text(sa->ppk_id->get_encoding(sa->ppk_id), text), answer->text);
    }
    ppk_job_release(job);
    return done;
}
