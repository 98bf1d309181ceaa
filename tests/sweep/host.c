/* Runs the calls that a file describes, each argument in a heap block of exactly its size, SAVED and WORK filled with 0xff,
 * and writes what they give.  Made for a sanitizer, which ends the program at the first fault: the number of a call is on
 * stderr before it is made. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"

enum { MOST_TENSORS = 64, MOST_DIMS = 8, MOST_KEPT = 65536 };

static unsigned char *kept[MOST_KEPT];

static void take(FILE *from, void *to, size_t bytes)
{
    if (bytes > 0 && fread(to, 1, bytes, from) != bytes) {
        exit(3);
    }
}

static void *block(size_t bytes, int aligned)
{
    void *made = NULL;
    if (!aligned) {
        made = malloc(bytes);
    } else if (posix_memalign(&made, 64, bytes) != 0) {
        exit(3);
    }
    if (made == NULL && bytes > 0) {
        exit(3);
    }
    if (aligned && bytes > 0) {
        memset(made, 0xff, bytes);
    }
    return made;
}

int main(int argc, char **argv)
{
    FILE *in = argc > 2 ? fopen(argv[1], "rb") : NULL;
    const long first = argc > 2 ? atol(argv[2]) : 0;
    int32_t head[5]; /* function, slot of SAVED, what to do with SAVED, flags, tensors */
    if (in == NULL) {
        return 3;
    }
    for (long number = 0; fread(head, sizeof head, 1, in) == 1; number++) {
        int64_t dims[MOST_DIMS], bytes[MOST_TENSORS];
        void *tensors[MOST_TENSORS], *saved = NULL, *work = NULL;
        take(in, dims, sizeof dims);
        for (int k = 0; k < head[4]; k++) {
            take(in, &bytes[k], sizeof bytes[k]);
            tensors[k] = bytes[k] < 0 ? NULL : block((size_t)bytes[k], 0);
            take(in, tensors[k], bytes[k] < 0 ? 0 : (size_t)bytes[k]);
        }
        const function *f = &functions[head[0]];
        const size_t saved_bytes = f->saved_bytes(dims), work_bytes = f->work_bytes(dims);
        /* a call that only fills SAVED is made again where the calls before it are left out */
        if (number >= first || head[2] == FRESH_SAVED) {
            if (number >= first) {
                fprintf(stderr, "call %ld\n", number);
            }
            if (head[2] != NO_SAVED) {
                saved = block(saved_bytes == SIZE_MAX ? 64 : saved_bytes, 1);
            }
            if (head[2] == KEPT_SAVED && kept[head[1]] != NULL && saved_bytes != SIZE_MAX) {
                memcpy(saved, kept[head[1]], saved_bytes);
            }
            work = block(work_bytes == SIZE_MAX ? 64 : work_bytes, 1);
            const int32_t status = f->run(dims, tensors, saved, work, (uint32_t)head[3]);
            if (head[2] == FRESH_SAVED && status == 0) {
                free(kept[head[1]]);
                kept[head[1]] = saved;
                saved = NULL;
            }
            if (number >= first) {
                const int64_t answer[2] = {number, status};
                fwrite(answer, sizeof answer, 1, stdout);
                for (int k = 0; k < head[4]; k++) {
                    if (bytes[k] > 0) {
                        fwrite(tensors[k], 1, (size_t)bytes[k], stdout);
                    }
                }
                fflush(stdout);
            }
            free(saved);
            free(work);
        }
        for (int k = 0; k < head[4]; k++) {
            free(tensors[k]);
        }
    }
    for (int k = 0; k < MOST_KEPT; k++) {
        free(kept[k]);
    }
    return 0;
}
