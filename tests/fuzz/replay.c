/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a fuzz target over files, where there is no libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (f == NULL) {
            perror(argv[i]);
            return 1;
        }
        uint8_t *data = malloc(1U << 20);
        size_t size = data != NULL ? fread(data, 1, 1U << 20, f) : 0;
        uint8_t *exact = malloc(size > 0 ? size : 1); /* so that ASan sees a byte read too far */
        for (size_t j = 0; exact != NULL && j < size; j++)
            exact[j] = data[j];
        free(data);
        if (exact != NULL)
            (void)LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        (void)fclose(f);
    }
    printf("%d inputs\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
