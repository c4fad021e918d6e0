/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a fuzz target over files, and over the files in folders, where there is no libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (1U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static int inputs;

static int replay_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *f = fopen(path, "rb");

    if (f == NULL) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, f);
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that ASan sees a byte read too far */
    for (size_t i = 0; exact != NULL && i < size; i++)
        exact[i] = data[i];
    if (exact != NULL)
        (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    (void)fclose(f);
    inputs++;
    return 0;
}

static int replay(const char *path)
{
    char file[4096];
    DIR *d = opendir(path);
    int bad = 0;

    if (d == NULL)
        return replay_file(path);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        bad |= replay_file(file);
    }
    (void)closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;

    if (LLVMFuzzerInitialize != NULL)
        (void)LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        bad |= replay(argv[i]);
    printf("%d inputs\n", inputs);
    return bad != 0 || inputs == 0;
}
