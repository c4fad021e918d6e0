/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Included before everything else, in place of strongSwan's config.h: what its headers have to be told so
 * that all types have the layout of Debian's build (ME: peer_cfg_t and ike_sa_t), and that the libc has what
 * it has. */
#ifndef PPK_CHARON_STRONGSWAN_H
#define PPK_CHARON_STRONGSWAN_H

#define CONFIG_H_INCLUDED

#define ME
#define USE_IKEV1
#define USE_IKEV2

#define HAVE_ALLOCA_H
#define HAVE_CLOCK_GETTIME
#define HAVE_CONDATTR_CLOCK_MONOTONIC
#define HAVE_EXPLICIT_BZERO
#define HAVE_FMEMOPEN
#define HAVE_GCC_ATOMIC_OPERATIONS
#define HAVE_MEMRCHR
#define HAVE_SIGWAITINFO
#define HAVE_STDBOOL_H
#define HAVE_SYS_PARAM_H

#endif
