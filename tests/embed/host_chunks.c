/* Calls value_and_grad of MODULE through its record, ten times on memory of exactly the size it asks for, and prints a
 * hash of all results: equal bits give equal lines.  Arguments: the values of the dimensions. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16, CALLS = 10, INDICES = 50 };
static const size_t element_bytes[] = {1, 4, 8, 4, 8};

static size_t elements(const gradgen_tensor_info *info, const int64_t *dims)
{
    size_t count = 1;
    for (int32_t k = 0; k < info->ndim; k++) {
        const int64_t extent = info->shape[k];
        count *= (size_t)(extent < 0 ? dims[-1 - extent] : extent);
    }
    return count;
}

/* Values in [-1, 1), or indices. */
static void fill(void *memory, int32_t dtype, size_t count, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 12345u;
    for (size_t k = 0; k < count; k++) {
        x = x * 1664525u + 1013904223u;
        const int32_t number = (int32_t)(x >> 8) - (1 << 23);
        if (dtype == GRADGEN_FLOAT32) {
            ((float *)memory)[k] = (float)number / 8388608.0f;
        } else if (dtype == GRADGEN_FLOAT64) {
            ((double *)memory)[k] = (double)number / 8388608.0;
        } else if (dtype == GRADGEN_INT64) {
            ((int64_t *)memory)[k] = (int64_t)(x >> 8) % INDICES;
        } else {
            ((unsigned char *)memory)[k] = (unsigned char)(x >> 31);
        }
    }
}

static void *block(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, GRADGEN_ALIGN, bytes > 0 ? bytes : 1) != 0) {
        exit(2);
    }
    memset(memory, 0xA5, bytes);
    return memory;
}

int main(int argc, char **argv)
{
    const gradgen_module *const m = model_module();
    int64_t dims[MOST] = {0};
    const void *inputs[MOST];
    void *outputs[MOST], *gradients[MOST];
    size_t output_bytes[MOST], gradient_bytes[MOST];
    int32_t n = 0;
    uint64_t first = 0;
    for (int k = 1; k < argc && k < MOST; k++) {
        dims[k - 1] = atoll(argv[k]);
    }
    for (int32_t k = 0; k < m->n_inputs; k++) {
        const gradgen_tensor_info *const info = &m->inputs[k];
        const size_t count = elements(info, dims), bytes = count * element_bytes[info->dtype];
        void *const memory = block(bytes);
        fill(memory, info->dtype, count, (uint32_t)k + 1u);
        inputs[k] = memory;
        if (info->requires_grad) {
            gradients[n] = block(bytes);
            gradient_bytes[n++] = bytes;
        }
    }
    for (int32_t k = 0; k < m->n_outputs; k++) {
        output_bytes[k] = elements(&m->outputs[k], dims) * element_bytes[m->outputs[k].dtype];
        outputs[k] = block(output_bytes[k]);
    }
    const size_t work_bytes = m->work_bytes(dims);
    void *const work = block(work_bytes);
    for (int call = 0; call < CALLS; call++) {
        uint64_t hash = 14695981039346656037u;
        memset(work, 0xA5 + call, work_bytes);
        if (m->value_and_grad(dims, inputs, NULL, outputs, gradients, work, GRADGEN_SET_GRAD) != GRADGEN_OK) {
            return 3;
        }
        for (int32_t k = 0; k < m->n_outputs + n; k++) {
            const int out = k < m->n_outputs;
            const unsigned char *const p = (const unsigned char *)(out ? outputs[k] : gradients[k - m->n_outputs]);
            for (size_t b = 0; b < (out ? output_bytes[k] : gradient_bytes[k - m->n_outputs]); b++) {
                hash = (hash ^ p[b]) * 1099511628211u;
            }
        }
        if (call > 0 && hash != first) {
            printf("call %d differs\n", call);
            return 4;
        }
        first = hash;
    }
    printf("%016llx\n", (unsigned long long)first);
    return 0;
}
