/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses and address groups as operators write them: "10.0.0.1 255.0.0.0", "10.0.0.0/8", "2001:db8::/32".
 */
#ifndef PPK_CONFIG_ADDRESS_H
#define PPK_CONFIG_ADDRESS_H

#include "base/bytes.h"
#include "base/fault.h"

/* An address group: IPv4 (4 bytes) or IPv6 (16 bytes). Host bits are kept as written ("10.0.0.1 255.0.0.0"),
 * and do not count in a match. */
struct address_group {
    uint8_t bytes[16];
    uint8_t len;    /* 4 or 16 */
    uint8_t prefix; /* 0 to 32 or 128 */
    unsigned line;  /* of the configuration, or 0 */
};

/* Reads "ADDRESS" (a single host) or "ADDRESS/PREFIX", or, if `mask` is not NULL, an IPv4 address and its
 * netmask. IPv4-mapped IPv6 groups become IPv4 ones. False with the reason in `fault`: no address, a prefix
 * out of range, a netmask with holes. */
bool address_group_read(struct address_group *g, const char *text, const char *mask, struct fault *fault);

/* Is this an IPv4 address or netmask ("a.b.c.d")? */
bool address_is_ipv4(const char *text);

/* Letters, digits, hyphens and underscores in labels of at most 63 bytes, 253 in all, and not the look of an
 * IPv4 address. */
bool address_is_host_name(const char *text);

/* Copies the `len` (4 or 16) bytes of an address to `out` with everything behind the first `prefix` bits
 * cleared. */
void address_mask(uint8_t *out, const uint8_t *address, size_t len, unsigned prefix);

/* Writes the group as "ADDRESS MASK" (IPv4) or "ADDRESS/PREFIX" (IPv6), as the configuration language has it.
 */
void address_group_print(const struct address_group *g, struct text *out);

#endif
