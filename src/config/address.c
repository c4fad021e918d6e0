/* SPDX-License-Identifier: BSD-2-Clause */
#include "config/address.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool address_is_ipv4(const char *text)
{
    struct in_addr a;

    return inet_pton(AF_INET, text, &a) == 1;
}

bool address_is_host_name(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > 253 || text[strspn(text, "0123456789.")] == '\0')
        return false;
    while (*text != '\0') {
        size_t n = strcspn(text, ".");

        if (n == 0 || n > 63 || text[0] == '-' || text[n - 1] == '-')
            return false;
        if (strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") < n)
            return false;
        text += n + (text[n] == '.' ? 1 : 0);
    }
    return true;
}

/* The number of leading ones of a netmask, or -1 if it has a hole. */
static int netmask_bits(const char *text)
{
    uint8_t bytes[4];
    uint32_t mask;
    int bits = 0;

    if (inet_pton(AF_INET, text, bytes) != 1)
        return -1;
    mask = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    for (; (mask & 0x80000000U) != 0; mask <<= 1)
        bits++;
    return mask == 0 ? bits : -1;
}

/* The decimal number behind the slash, or -1. */
static int prefix_bits(const char *text, int most)
{
    int bits = 0;

    if (text[0] == '\0' || strlen(text) > 3)
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        bits = bits * 10 + (*text - '0');
    }
    return bits <= most ? bits : -1;
}

bool address_group_read(struct address_group *g, const char *text, const char *mask, struct fault *fault)
{
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    int bits;

    memset(g, 0, sizeof *g);
    if (len >= sizeof address) {
        fault_set(fault, "'%s' is not an address", text);
        return false;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    if (inet_pton(AF_INET, address, g->bytes) == 1) {
        g->len = 4;
    } else if (inet_pton(AF_INET6, address, g->bytes) == 1) {
        g->len = 16;
    } else {
        fault_set(fault, "'%s' is not an IPv4 or IPv6 address", address);
        return false;
    }
    bits = g->len * 8;
    if (mask != NULL) {
        bits = g->len == 4 && slash == NULL ? netmask_bits(mask) : -1;
        if (bits < 0) {
            fault_set(fault, "'%s' is not a netmask (ones, then zeros, as 255.255.255.0)", mask);
            return false;
        }
    } else if (slash != NULL) {
        bits = prefix_bits(slash + 1, g->len * 8);
        if (bits < 0) {
            fault_set(fault, "'%s' has no prefix length of 0 to %d", text, g->len * 8);
            return false;
        }
    }
    g->prefix = (uint8_t)bits;
    if (g->len == 16 && g->prefix >= 96 && memcmp(g->bytes, mapped_prefix, sizeof mapped_prefix) == 0) {
        memmove(g->bytes, g->bytes + 12, 4);
        memset(g->bytes + 4, 0, 12);
        g->len = 4;
        g->prefix = (uint8_t)(g->prefix - 96);
    }
    return true;
}

void address_mask(uint8_t *out, const uint8_t *address, size_t len, unsigned prefix)
{
    for (size_t i = 0; i < len; i++) {
        unsigned bits = prefix > 8 * i ? prefix - 8 * (unsigned)i : 0;
        unsigned mask = bits >= 8 ? 0xffU : 0xff00U >> bits;

        out[i] = (uint8_t)(address[i] & mask);
    }
}

void address_group_print(const struct address_group *g, struct text *out)
{
    char address[INET6_ADDRSTRLEN] = "?";
    uint8_t mask[4];

    (void)inet_ntop(g->len == 4 ? AF_INET : AF_INET6, g->bytes, address, sizeof address);
    if (g->len != 4) {
        text_printf(out, "%s/%u", address, g->prefix);
        return;
    }
    address_mask(mask, (const uint8_t[4]){255, 255, 255, 255}, sizeof mask, g->prefix);
    text_printf(out, "%s %u.%u.%u.%u", address, mask[0], mask[1], mask[2], mask[3]);
}
