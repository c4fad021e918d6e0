/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plugin: settings, features, and the order in which its parts begin and end. */
#ifndef PPK_CHARON_PLUGIN_H
#define PPK_CHARON_PLUGIN_H

#include <plugins/plugin.h>

/* What charon looks for in libstrongswan-ppk.so. */
plugin_t *ppk_plugin_create(void);

#endif
