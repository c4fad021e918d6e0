/* SPDX-License-Identifier: BSD-2-Clause */
/* To be preloaded: fails one call of a function of OpenSSL, libcurl, SQLite, libpq, libevent or jansson,
 * once, as it does for want of memory or when the disk fails (see fail.h; FAIL_LIBRARY_AT). The function is
 * not called then. With FAIL_REPORT set, the process prints at its end how many calls there were ("CALLED
 * N").
 *
 * For x86-64: each of the functions is here as a few instructions that keep the arguments, ask
 * library_call(), and go on in the real one or return what is in the table. */
#include "fail.h"

#include <stdint.h>

/* name, and what it returns if it fails */
#define FUNCTIONS(X)                                                                                         \
    X(ASN1_TIME_to_tm, 0)                                                                                    \
    X(BIO_new, 0)                                                                                            \
    X(CRYPTO_get_ex_new_index, -1)                                                                           \
    X(EVP_CIPHER_CTX_ctrl, 0)                                                                                \
    X(EVP_CIPHER_CTX_new, 0)                                                                                 \
    X(EVP_CIPHER_fetch, 0)                                                                                   \
    X(EVP_CipherFinal_ex, 0)                                                                                 \
    X(EVP_CipherInit_ex2, 0)                                                                                 \
    X(EVP_CipherUpdate, 0)                                                                                   \
    X(EVP_KDF_CTX_new, 0)                                                                                    \
    X(EVP_KDF_derive, 0)                                                                                     \
    X(EVP_KDF_fetch, 0)                                                                                      \
    X(EVP_MD_fetch, 0)                                                                                       \
    X(EVP_PBE_scrypt_ex, 0)                                                                                  \
    X(EVP_Q_mac, 0)                                                                                          \
    X(EVP_RAND_generate, 0)                                                                                  \
    X(HMAC_CTX_copy, 0)                                                                                      \
    X(HMAC_CTX_new, 0)                                                                                       \
    X(HMAC_Final, 0)                                                                                         \
    X(HMAC_Init_ex, 0)                                                                                       \
    X(HMAC_Update, 0)                                                                                        \
    X(OSSL_LIB_CTX_new, 0)                                                                                   \
    X(OSSL_PROVIDER_load, 0)                                                                                 \
    X(RAND_get0_private, 0)                                                                                  \
    X(RAND_get0_public, 0)                                                                                   \
    X(SSL_CTX_check_private_key, 0)                                                                          \
    X(SSL_CTX_load_verify_file, 0)                                                                           \
    X(SSL_CTX_new_ex, 0)                                                                                     \
    X(SSL_CTX_set_cipher_list, 0)                                                                            \
    X(SSL_CTX_set_ciphersuites, 0)                                                                           \
    X(SSL_CTX_set_ex_data, 0)                                                                                \
    X(SSL_CTX_set_session_id_context, 0)                                                                     \
    X(SSL_CTX_use_PrivateKey_file, 0)                                                                        \
    X(SSL_CTX_use_certificate_chain_file, 0)                                                                 \
    X(SSL_SESSION_new, 0)                                                                                    \
    X(SSL_SESSION_set1_master_key, 0)                                                                        \
    X(SSL_SESSION_set_cipher, 0)                                                                             \
    X(SSL_SESSION_set_protocol_version, 0)                                                                   \
    X(SSL_SESSION_up_ref, 0)                                                                                 \
    X(SSL_load_client_CA_file, 0)                                                                            \
    X(SSL_new, 0)                                                                                            \
    X(SSL_set_ciphersuites, 0)                                                                               \
    X(X509_NAME_oneline, 0)                                                                                  \
    X(X509_NAME_print_ex, -1)                                                                                \
    X(X509_STORE_CTX_init, 0)                                                                                \
    X(X509_STORE_CTX_new_ex, 0)                                                                              \
    X(X509_STORE_CTX_set_default, 0)                                                                         \
    X(X509_digest, 0)                                                                                        \
    X(X509_verify_cert, 0)                                                                                   \
    X(bufferevent_openssl_socket_new, 0)                                                                     \
    X(bufferevent_socket_connect, -1)                                                                        \
    X(bufferevent_socket_connect_hostname, -1)                                                               \
    X(bufferevent_socket_new, 0)                                                                             \
    X(bufferevent_write, -1)                                                                                 \
    X(evbuffer_add, -1)                                                                                      \
    X(evbuffer_new, 0)                                                                                       \
    X(evbuffer_pullup, 0)                                                                                    \
    X(evconnlistener_new, 0)                                                                                 \
    X(evdns_base_new, 0)                                                                                     \
    X(event_add, -1)                                                                                         \
    X(event_base_new, 0)                                                                                     \
    X(event_new, 0)                                                                                          \
    X(evhttp_accept_socket_with_handle, 0)                                                                   \
    X(evhttp_add_header, -1)                                                                                 \
    X(evhttp_new, 0)                                                                                         \
    X(curl_easy_init, 0)                                                                                     \
    X(curl_easy_setopt, 27)     /* CURLE_OUT_OF_MEMORY */                                                    \
    X(curl_global_init, 27)     /* the same */                                                               \
    X(curl_multi_add_handle, 3) /* CURLM_OUT_OF_MEMORY */                                                    \
    X(curl_multi_init, 0)                                                                                    \
    X(curl_multi_perform, 3) /* the same */                                                                  \
    X(curl_multi_poll, 3)    /* the same */                                                                  \
    X(curl_multi_setopt, 3)  /* the same */                                                                  \
    X(curl_slist_append, 0)                                                                                  \
    X(json_loadb, 0)                                                                                         \
    X(sqlite3_bind_blob, 7)  /* SQLITE_NOMEM */                                                              \
    X(sqlite3_bind_int, 7)   /* the same */                                                                  \
    X(sqlite3_bind_int64, 7) /* the same */                                                                  \
    X(sqlite3_bind_text, 7)  /* the same */                                                                  \
    X(sqlite3_column_blob, 0)                                                                                \
    X(sqlite3_db_config, 7) /* the same */                                                                   \
    X(sqlite3_exec, 10)     /* SQLITE_IOERR */                                                               \
    X(sqlite3_prepare_v2, 7)                                                                                 \
    X(sqlite3_prepare_v3, 7)                                                                                 \
    X(sqlite3_step, 10)                                                                                      \
    X(PQconnectdbParams, 0)                                                                                  \
    X(PQconninfoParse, 0)                                                                                    \
    X(PQconsumeInput, 0)                                                                                     \
    X(PQflush, -1)                                                                                           \
    X(PQsendPrepare, 0)                                                                                      \
    X(PQsendQuery, 0)                                                                                        \
    X(PQsendQueryPrepared, 0)                                                                                \
    X(PQsetnonblocking, -1)

#define NAME_OF(name, value) #name,
static const char *const names[] = {FUNCTIONS(NAME_OF)};
static void *_Atomic real[sizeof names / sizeof names[0]];

static struct fail_point point;
static bool reports;

__attribute__((constructor)) static void prepare(void)
{
    fail_prepare(&point, "FAIL_LIBRARY_AT");
    reports = getenv("FAIL_REPORT") != NULL;
}

static void fail_end(void)
{
    if (reports)
        fail_say_number("CALLED", atomic_load(&point.seen));
    point.objects = NULL;
}

/* The real function, or NULL: this call fails. */
void *library_call(uint64_t function, const void *caller);
__attribute__((visibility("hidden"), used)) void *library_call(uint64_t function, const void *caller)
{
    void *found = atomic_load(&real[function]);

    if (fail_now(&point, caller, names[function]))
        return NULL;
    if (found == NULL) {
        found = dlsym(RTLD_NEXT, names[function]);
        if (found == NULL) /* its library was loaded by dlopen(), behind our back */
            found = fail_symbol(caller, names[function]);
        if (found == NULL)
            abort();
        atomic_store(&real[function], found);
    }
    return found;
}

/* Seven pushes make the stack as aligned as the ABI wants it before a call; r11 is nobody's. */
#define ENTRY(name, value)                                                                                   \
    __asm__(".pushsection .text\n"                                                                           \
            ".globl " #name "\n"                                                                             \
            ".type " #name ", @function\n" #name ":\n"                                                       \
            "endbr64\n"                                                                                      \
            "push %rdi; push %rsi; push %rdx; push %rcx; push %r8; push %r9; push %rax\n"                    \
            "mov $.Lnumber_" #name ", %edi\n"                                                                \
            "mov 56(%rsp), %rsi\n"                                                                           \
            "call library_call\n"                                                                            \
            "mov %rax, %r11\n"                                                                               \
            "pop %rax; pop %r9; pop %r8; pop %rcx; pop %rdx; pop %rsi; pop %rdi\n"                           \
            "test %r11, %r11\n"                                                                              \
            "jz 1f\n"                                                                                        \
            "jmp *%r11\n"                                                                                    \
            "1: mov $" #value ", %rax\n"                                                                     \
            "ret\n"                                                                                          \
            ".size " #name ", . - " #name "\n"                                                               \
            ".popsection");
#define NUMBER(name, value)                                                                                  \
    __asm__(".set .Lnumber_" #name ", .Lnext\n"                                                              \
            ".set .Lnext, .Lnext + 1");
__asm__(".set .Lnext, 0");
FUNCTIONS(NUMBER)
FUNCTIONS(ENTRY)
