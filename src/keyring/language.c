/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of ppk.conf: one table, from which its parser, "ppkctl show" and ppk.conf(5) are made. */
#include "keyring/builder.h"

enum { TOP, KEYRING, PEER, SKS_PROFILE, IKEV2_PROFILE, LEVELS };

static const struct config_level levels[LEVELS] = {
    [TOP] = {"", "Their order in the file does not matter."},
    [KEYRING] = {"keyring NAME",
                 "A keyring is a token: a slot whose token has the keyring's name as its label."},
    [PEER] = {"peer NAME", "An IKE peer, or a group of them, and its keys."},
    [SKS_PROFILE] = {"sks profile NAME", "A key source, that is a SKIP server, and how it is spoken to."},
    [IKEV2_PROFILE] = {"ikev2 profile NAME", "Which keyrings are for which peers, for IKE stacks that ask."},
};

static const struct config_command commands[] = {
    {CONFIG_IN(TOP), "master-key file <FILE:file>", 0, CONFIG_ONCE,
     "The master key that the secrets of type 6 are encrypted under: the file's content of 1 to 512 bytes, "
     "without its line end.\n"
     "Without this command it is the systemd credential\n.Pa ppk-master-key ,\n"
     "or else the user PIN that is given to\n.Fn C_Login .",
     apply_master_key, print_master_key},
    {CONFIG_IN(TOP), "status directory <PATH:4000>", 0, CONFIG_ONCE,
     "The directory that each process publishes its status in, for\n.Ic ppkctl show\nand\n.Ic ppkctl monitor "
     ";\n"
     "by default\n.Pa /run/ppk-pkcs11/status .\nWith\n.Cm off\nnothing is published, and neither where there "
     "is no "
     "such directory, or it cannot be written.",
     apply_status_directory, print_status_directory},
    {CONFIG_IN(TOP), "log file <FILE:file>", 0, CONFIG_ONCE,
     "The log goes to this file instead of the system's log. It may be moved away at any time: a new one is "
     "begun.\n"
     "The environment variable\n.Ev PPK_LOG\ngoes before this and\n.Cm log level .",
     apply_log_file, print_log_file},
    {CONFIG_IN(TOP), "log level {error|warning|notice|info|debug|trace}", 0, CONFIG_ONCE,
     "The least urgent lines that are logged; by default\n.Cm notice .\n.Cm trace\n"
     "shows every PKCS#11 call, and never the value of a key.",
     apply_log_level, print_log_level},

    {CONFIG_IN(TOP), "keyring <NAME:32>", KEYRING, 0, "A keyring.", apply_keyring, print_keyrings},
    {CONFIG_IN(KEYRING), "derived-keys {extractable|sensitive}", 0, CONFIG_ONCE,
     "Whether the keys that are derived from this keyring's keys may leave the token if the caller asks for "
     "it\n"
     "(the default), or never, but wrapped under one of the keyring's\n.Cm key-encryption-key .",
     apply_derived_keys, print_derived_keys},
    {CONFIG_IN(KEYRING), "key-encryption-key <NAME:127> key [0|6|hex] <KEY:secret>", 0, 0,
     "The key of a line card, an AES key of 16, 24 or 32 bytes, and its label.\n"
     "Session keys that were derived in the token can be wrapped under it, and it does nothing else.\n"
     "May be given several times, with different names.",
     apply_kek, print_keks},
    {CONFIG_IN(KEYRING), "peer <NAME:127>", PEER, 0, "A peer; keys carry its name as their label.",
     apply_peer, print_peers},
    {CONFIG_IN(PEER), "address <ADDRESS:group>", 0, 0,
     "The peer's address or address group, as\n.Ar A.B.C.D mask ,\n.Ar A.B.C.D/n\nor\n.Ar X:X::X/n .\n"
     "May be given several times.\nWhere groups overlap, the longest prefix wins.",
     apply_address, print_addresses},
    {CONFIG_IN(PEER), "remote-system-id <NAME:255>", 0, CONFIG_ONCE,
     "The identity of the peer's key source, SKIP's remoteSystemID.\n"
     "It may be left out where the own key source has just one remote system.",
     apply_remote_system_id, print_remote_system_id},
    {CONFIG_IN(PEER), "ppk dynamic <PROFILE:127> [required]", 0, CONFIG_ONCE,
     "PPKs for this peer are fetched from the key source of this sks profile.\n.Cm required :\n"
     "an IKE SA with the peer must not be without a PPK.",
     apply_ppk_dynamic, print_ppk_dynamic},
    {CONFIG_IN(PEER), "ppk manual id <ID:256> key [0|6|hex] <KEY:secret> [required]", 0, 0,
     "A PPK of at least 32 bytes, and its ID.\nMay be given several times, with different IDs.",
     apply_ppk_manual, print_ppk_manual},
    {CONFIG_IN(PEER), "pre-shared-key [0|6|hex] <KEY:secret>", 0, CONFIG_ONCE,
     "The pre-shared key for authentication, of 1 to 1024 bytes.", apply_psk, print_psk},

    {CONFIG_IN(TOP), "sks profile <NAME:127> type {remote|etsi014}", SKS_PROFILE, 0,
     "A key source:\n.Cm remote\nis one that speaks SKIP;\n.Cm etsi014\none that speaks ETSI GS QKD 014, as "
     "QKD "
     "devices do: it has certificates on both sides, and its peers have a\n.Cm remote-system-id ,\n"
     "which is the other end's SAE ID.",
     apply_sks_profile, print_sks_profiles},
    {CONFIG_IN(SKS_PROFILE), "kme server {ipv4|ipv6|hostname} <HOST:253> port <N:1-65535>", 0, 0,
     "A server of the key source.\nSeveral, of at most 16, are tried in this order.", apply_kme_server,
     print_kme_servers},
    {CONFIG_IN(SKS_PROFILE), "local-system-id <NAME:255>", 0, CONFIG_ONCE,
     "The identity that the key source has to give as its own.", apply_local_system_id,
     print_local_system_id},
    {CONFIG_IN(SKS_PROFILE), "tls trustpoint <FILE:file>", 0, CONFIG_ONCE,
     "The authorities (PEM) that may certify the servers.\nThe default is the system's.", apply_trustpoint,
     print_trustpoint},
    {CONFIG_IN(SKS_PROFILE), "tls certificate <FILE:file> key <KEYFILE:file>", 0, CONFIG_ONCE,
     "The own certificate, with its chain, and its private key (PEM).", apply_certificate, print_certificate},
    {CONFIG_IN(SKS_PROFILE), "tls psk id <ID:256> key [0|6|hex] <KEY:secret> [hash {sha256|sha384}]", 0,
     CONFIG_ONCE,
     "Authentication by a pre-shared key of 16 to 512 bytes instead of certificates, which quantum computers "
     "do not break.\n"
     "The hash is the one of the TLS 1.3 cipher suite; the default, sha384, is what SKIP requires.",
     apply_tls_psk, print_tls_psk},
    {CONFIG_IN(SKS_PROFILE), "timeout <MS:10-600000>", 0, CONFIG_ONCE,
     "The bound of one request over all servers and retries, in milliseconds; by default 2000.",
     apply_timeout, print_timeout},
    {CONFIG_IN(SKS_PROFILE), "hedge <MS:0-600000>", 0, CONFIG_ONCE,
     "How many milliseconds a silent server is waited for before the next one is asked as well.\n"
     "By default so many that even the last one has half of the\n.Cm timeout ;\nwith 0 a silent server is "
     "waited for as long as its share of the\n.Cm timeout .",
     apply_hedge, print_hedge},
    {CONFIG_IN(SKS_PROFILE), "key-size <BITS:256-32768>", 0, CONFIG_ONCE,
     "The size of the PPKs that are asked for, in bits, a multiple of 8; by default 256.", apply_key_size,
     print_key_size},
    {CONFIG_IN(SKS_PROFILE), "prefetch <N:0-1000>", 0, CONFIG_ONCE,
     "How many unused PPKs are kept ready for each peer, from the first time that it is asked for; by "
     "default "
     "0.\nWhen half of them are left, they are filled up in the background.",
     apply_prefetch, print_prefetch},
    {CONFIG_IN(SKS_PROFILE), "lifetime <SECONDS:1-31536000>", 0, CONFIG_ONCE,
     "How long a PPK is kept after its arrival; by default 3600.", apply_lifetime, print_lifetime},
    {CONFIG_IN(SKS_PROFILE), "max-lookups <N:1-64> per-second <RATE:1-1000000>", 0, CONFIG_ONCE,
     "How many requests for PPKs by their ID may be under way at once, and how many in a second may find "
     "nothing: an IKE peer can name\n"
     "any ID before it is authenticated. More wait for their turn, within the\n.Cm timeout .\n"
     "By default 64 per-second 2000.",
     apply_max_lookups, print_max_lookups},
    {CONFIG_IN(SKS_PROFILE), "ppk-id format {raw|text}", 0, CONFIG_ONCE,
     "What is the PPK ID: the bytes that the key source's hexadecimal keyId means (the default), or its "
     "text.",
     apply_id_format, print_id_format},
    {CONFIG_IN(SKS_PROFILE), "entropy", 0, CONFIG_ONCE,
     "The key source's randomness is mixed into\n.Fn C_GenerateRandom .", apply_entropy, print_entropy},

    {CONFIG_IN(TOP), "ikev2 profile <NAME:127>", IKEV2_PROFILE, 0, "An IKEv2 profile.", apply_ikev2_profile,
     print_ikev2_profiles},
    {CONFIG_IN(IKEV2_PROFILE), "match identity remote address <ADDRESS:group>", 0, 0,
     "The peers that the profile is for.\nMay be given several times.", apply_match, print_matches},
    {CONFIG_IN(IKEV2_PROFILE), "match address <ADDRESS:group>", 0, 0, "The same.", apply_match, NULL},
    {CONFIG_IN(IKEV2_PROFILE), "keyring <NAME:32>", 0, CONFIG_ONCE, "The keyring of the pre-shared keys.",
     apply_ikev2_keyring, print_ikev2_keyring},
    {CONFIG_IN(IKEV2_PROFILE), "keyring ppk <NAME:32>", 0, CONFIG_ONCE, "The keyring of the PPKs.",
     apply_ikev2_keyring_ppk, print_ikev2_keyring_ppk},
};

static const struct config_language language = {
    .name = "ppk.conf",
    .about = "configuration of the PKCS#11 token for postquantum preshared keys",
    .intro = "The token\n.Pa ppk-pkcs11.so\n"
             "reads the file that the environment variable\n.Ev PPK_CONF\nnames, or else the one that\n"
             ".Cm config= Ns Ar FILE\nin the reserved argument of\n.Fn C_Initialize\n"
             "names (p11-kit's\n.Cm x-init-reserved ) ,\nor else\n.Pa /etc/ppk-pkcs11/ppk.conf .\n"
             "Its commands are those of the routers at the other end of the tunnel.\n",
    .outro = ".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/ppk-pkcs11/ppk.conf\n.El\n"
             ".Sh EXAMPLES\nA peer with PPKs from a key source:\n.Bd -literal -offset indent\n"
             "keyring dynamic\n peer peer1\n  ppk dynamic qkd required\n  address 10.0.0.1 255.0.0.0\n"
             "sks profile qkd type remote\n kme server ipv4 192.0.2.34 port 10001\n"
             " tls trustpoint qkd-ca.pem\n.Ed\n"
             ".Sh SEE ALSO\n.Xr ppkctl 1 ,\n.Xr pkcs11.conf 5\n.Rs\n.%R RFC 8784\n"
             ".%T Mixing Preshared Keys in the Internet Key Exchange Protocol Version 2 (IKEv2) for "
             "Post-quantum Security\n.Re\n",
    .levels = levels,
    .n_levels = LEVELS,
    .commands = commands,
    .n_commands = sizeof commands / sizeof commands[0],
};

const struct config_language *configuration_language(void)
{
    return &language;
}
