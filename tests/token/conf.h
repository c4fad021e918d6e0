/* SPDX-License-Identifier: BSD-2-Clause */
/* Configurations that several test programs use, and the values in them. */
#ifndef TOKEN_CONF_H
#define TOKEN_CONF_H

#define MANUAL_1_ID  "manual-one"
#define MANUAL_1_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define MANUAL_2_ID  "manual-two"
#define MANUAL_2_HEX                                                                                         \
    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeffe0e1e2e3e4e5e6e7e8e9eaebecedeeef"                                       \
    "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
#define MANUAL_3_ID  "manual-three"
#define MANUAL_3_HEX "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
#define PSK_ALPHA    "cisco123!cisco123"
#define PSK_GAMMA    "another pre-shared key"

/* Tokens "main" (peers alpha, beta) and "strict" (peer gamma; derived keys are sensitive). No key source. */
#define CONF_MANUAL                                                                                          \
    "keyring main\n"                                                                                         \
    " peer alpha\n"                                                                                          \
    "  ppk manual id " MANUAL_1_ID " key hex " MANUAL_1_HEX " required\n"                                    \
    "  pre-shared-key " PSK_ALPHA "\n"                                                                       \
    "  address 10.1.0.0 255.255.0.0\n"                                                                       \
    " peer beta\n"                                                                                           \
    "  ppk manual id " MANUAL_2_ID " key hex " MANUAL_2_HEX "\n"                                             \
    "  address 10.1.2.0 255.255.255.0\n"                                                                     \
    "keyring strict\n"                                                                                       \
    " derived-keys sensitive\n"                                                                              \
    " peer gamma\n"                                                                                          \
    "  ppk manual id " MANUAL_3_ID " key hex " MANUAL_3_HEX "\n"                                             \
    "  pre-shared-key \"" PSK_GAMMA "\"\n"                                                                   \
    "  address 2001:db8::/32\n"

/* And token "dynamic": peer1 (remote system Bob), peer2 (remote system peer2), at the key source of source.h.
 * The format takes its port; more commands of the profile may follow. */
#define CONF_DYNAMIC                                                                                         \
    "keyring dynamic\n"                                                                                      \
    " peer peer1\n"                                                                                          \
    "  ppk dynamic qkd required\n"                                                                           \
    "  remote-system-id Bob\n"                                                                               \
    "  pre-shared-key " PSK_ALPHA "\n"                                                                       \
    "  address 10.0.0.1 255.0.0.0\n"                                                                         \
    " peer peer2\n"                                                                                          \
    "  ppk dynamic qkd\n"                                                                                    \
    "  remote-system-id peer2\n"                                                                             \
    "  address 10.2.0.0 255.255.0.0\n"                                                                       \
    "ikev2 profile test\n"                                                                                   \
    " keyring dynamic\n"                                                                                     \
    " keyring ppk dynamic\n"                                                                                 \
    " match address 10.0.0.1 255.255.255.0\n"                                                                \
    "sks profile qkd type remote\n"                                                                          \
    " kme server ipv4 127.0.0.1 port %u\n"

#define CONF_PSK                                                                                             \
    " tls psk id token-tests key hex 6b1f3c9d8e7a5b4c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c\n"

#endif
