/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ppk_plugin.h"

#include "ppk_cfg.h"
#include "ppk_creds.h"
#include "ppk_kdf.h"
#include "ppk_listener.h"
#include "ppk_peers.h"
#include "ppk_ref.h"

#define THREADS_DEFAULT    16
#define THREADS_MAX        256
#define TIMEOUT_MS_DEFAULT 10000
#define TIMEOUT_MS_MAX     120000

struct ppk_plugin {
    plugin_t public;
    struct ppk_pool *pool;
};

static char *get_name(plugin_t *public)
{
    (void)public;
    return "ppk";
}

static char *setting(const char *name)
{
    return lib->settings->get_str(lib->settings, "%s.plugins.ppk.%s", NULL, lib->ns, name);
}

static bool setting_bool(const char *name, bool preset)
{
    return lib->settings->get_bool(lib->settings, "%s.plugins.ppk.%s", preset, lib->ns, name);
}

static unsigned setting_number(const char *name, int preset, int max)
{
    int value = lib->settings->get_int(lib->settings, "%s.plugins.ppk.%s", preset, lib->ns, name);

    if (value < 1 || value > max) {
        DBG1(DBG_CFG, "ppk: error: plugins.ppk.%s = %d is not in 1..%d: using %d", name, value, max, preset);
        value = preset;
    }
    return (unsigned)value;
}

/* Opens the token, so that what is wrong with it stands at the head of the log. charon runs on in any case.
 */
static void token_try(struct ppk_pool *pool, const struct ppk_module_config *config)
{
    struct ppk_ask ask = {.op = PPK_OP_OPEN};
    struct ppk_job *job = ppk_job_submit(pool, &ask);
    struct ppk_answer *answer;

    if (!job)
        return;
    answer = ppk_job_wait(job);
    if (answer->keyring)
        ppk_peers_keyring_seen();
    if (answer->fact == PPK_YES)
        DBG1(DBG_CFG, "ppk: PPKs come from token '%s' of %s",
             config->token ? config->token : "(the only one)", config->path);
    else
        DBG1(DBG_CFG, "ppk: error: no PPKs: %s", answer->text);
    ppk_job_release(job);
}

/* Charon takes the first implementation that was registered. */
static void order_check(void)
{
    kdf_t *kdf = lib->crypto->create_kdf(lib->crypto, KDF_PRF_PLUS, PRF_HMAC_SHA2_256);

    if (kdf && !ppk_kdf_is(kdf))
        DBG1(DBG_CFG,
             "ppk: error: plugin 'ppk' must be loaded before those that provide KDF_PRF_PLUS (openssl, kdf): "
             "put it first in load, or give it a higher priority (plugins.ppk.load = 100)");
    DESTROY_IF(kdf);
}

static bool start(plugin_t *public, plugin_feature_t *feature, bool reg, void *data)
{
    struct ppk_plugin *self = (struct ppk_plugin *)public;
    struct ppk_module_config config = {setting("module"), setting("init"), setting("token"), setting("pin")};

    (void)feature;
    (void)data;
    if (!reg) {
        charon->bus->remove_listener(charon->bus, &ppk_listener);
        lib->credmgr->remove_set(lib->credmgr, &ppk_creds);
        ppk_cfg_destroy();
        ppk_sa_table_destroy();
        ppk_peers_destroy();
        ppk_pool_destroy(self->pool);
        self->pool = NULL;
        return TRUE;
    }
    self->pool = ppk_pool_create(&config, setting_number("threads", THREADS_DEFAULT, THREADS_MAX),
                                 setting_number("timeout", TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX));
    if (!self->pool || !ppk_ref_init() || !ppk_peers_create() || !ppk_sa_table_create(self->pool)) {
        DBG1(DBG_CFG, "ppk: error: out of memory or random bytes");
        return FALSE;
    }
    order_check();
    token_try(self->pool, &config);
    ppk_cfg_create();
    ppk_listener_configure(setting_bool("send_system_id", TRUE), setting_bool("accept_system_id", TRUE));
    lib->credmgr->add_set(lib->credmgr, &ppk_creds);
    charon->bus->add_listener(charon->bus, &ppk_listener);
    return TRUE;
}

static int get_features(plugin_t *public, plugin_feature_t *features[])
{
    static plugin_feature_t list[] = {
        PLUGIN_REGISTER(KDF, ppk_kdf_create),
        PLUGIN_PROVIDE(KDF, KDF_PRF_PLUS),
        PLUGIN_CALLBACK(start, NULL),
        PLUGIN_PROVIDE(CUSTOM, "ppk"),
    };

    (void)public;
    *features = list;
    return countof(list);
}

static void destroy(plugin_t *public)
{
    free(public);
}

__attribute__((visibility("default"))) plugin_t *ppk_plugin_create(void)
{
    struct ppk_plugin *self = calloc(1, sizeof *self);

    if (!self)
        return NULL;
    self->public.get_name = get_name;
    self->public.get_features = get_features;
    self->public.destroy = destroy;
    return &self->public;
}
