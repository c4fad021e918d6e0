/* SPDX-License-Identifier: BSD-2-Clause */
/* The vendor attributes of ppk-pkcs11's objects, for IKE stacks and tools. A secret-key object (PPK,
 * pre-shared key) and its peer's CKO_DATA object (CKA_APPLICATION "ppk-peer") carry the same ones. */
#ifndef PPK_PPK_H
#define PPK_PPK_H

#include <p11-kit/pkcs11.h>

#define CKA_PPK_VENDOR (CKA_VENDOR_DEFINED | 0x50504b00UL) /* "PPK" */
#define CKA_PPK_PEER   (CKA_PPK_VENDOR + 1)                /* the peer's name, UTF-8, not terminated */
#define CKA_PPK_PEER_ADDRESS                                                                                 \
    (CKA_PPK_VENDOR + 2) /* in a search: one address, 4 or 16 bytes in network order, matched by             \
                            longest prefix; when read: the peer's first configured address */
#define CKA_PPK_REMOTE_SYSTEM_ID                                                                             \
    (CKA_PPK_VENDOR + 3) /* SKIP's remoteSystemID, UTF-8; in a search it may override the configured one */
#define CKA_PPK_SKS_PROFILE                                                                                  \
    (CKA_PPK_VENDOR + 4) /* the sks profile's name; absent for manual PPKs and pre-shared keys */
#define CKA_PPK_KIND (CKA_PPK_VENDOR + 5) /* CK_ULONG: one of PPK_KIND_* */
#define CKA_PPK_REQUIRED                                                                                     \
    (CKA_PPK_VENDOR + 6) /* CK_BBOOL: an IKE SA with this peer must not be without a PPK */
#define CKA_PPK_SECONDS_LEFT                                                                                 \
    (CKA_PPK_VENDOR + 7) /* CK_ULONG: until it expires; CK_UNAVAILABLE_INFORMATION: never */
#define CKA_PPK_LOCAL_SYSTEM_ID                                                                              \
    (CKA_PPK_VENDOR + 8)                  /* SKIP's localSystemID of the peer's sks profile, UTF-8 */
#define CKA_PPK_USED (CKA_PPK_VENDOR + 9) /* CK_BBOOL: the PPK has been in a derivation or a MAC */
#define CKA_PPK_OUTCOME                                                                                      \
    (CKA_PPK_VENDOR + 10) /* CK_BBOOL, only by C_SetAttributeValue, alone, of a PPK: the IKE stack tells     \
                             that an IKE SA with it is up, or that its authentication failed; this is        \
                             counted, and changes nothing */

#define PPK_KIND_NONE    0UL /* on a peer's data object: the peer has no PPK, only a pre-shared key */
#define PPK_KIND_DYNAMIC 1UL
#define PPK_KIND_MANUAL  2UL
#define PPK_KIND_PSK     3UL

/* CKA_APPLICATION of the data objects that describe peers */
#define PPK_PEER_APPLICATION "ppk-peer"

#endif
