/* Every rule of the C contract that a host can see, on the handmade linear_bce and lookup. */
#include "linear_bce.h"
#include "lookup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                    \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);           \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

enum { N = 4 };

static float x[N * 5], y[N * 3], w[15], b[3], loss, gw[15], gb[3], again_w[15], again_b[3];
static GRADGEN_ALIGNED unsigned char saved[LINEAR_BCE_SAVED_BYTES(N) + 64], other[LINEAR_BCE_SAVED_BYTES(N)];
static GRADGEN_ALIGNED unsigned char work[LINEAR_BCE_WORK_BYTES(N)];

static gradgen_status forward(void *block)
{
    return linear_bce_forward(N, x, y, w, b, &loss, block, NULL);
}

static gradgen_status backward(void *block, const float *seed, uint32_t flags)
{
    return linear_bce_backward(N, x, y, w, b, block, seed, gw, gb, NULL, flags);
}

static void fill(float *values, int count)
{
    for (int k = 0; k < count; k++) {
        values[k] = (float)(k * 7 % 11) / 11.0f;
    }
}

static void states(void)
{
    REQUIRE(backward(saved, NULL, 0) == GRADGEN_ERR_NO_FORWARD);
    REQUIRE(forward(NULL) == GRADGEN_OK && loss > 0.0f);
    REQUIRE(forward(saved) == GRADGEN_OK);
    for (int bit = 0; bit < 64; bit++) { /* any flipped bit of the state word is noticed */
        saved[bit / 8] ^= (unsigned char)(1 << bit % 8);
        REQUIRE(backward(saved, NULL, 0) == GRADGEN_ERR_NO_FORWARD);
        saved[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    REQUIRE(linear_bce_backward(3, x, y, w, b, saved, NULL, gw, gb, NULL, 0) == GRADGEN_ERR_DIM);
    REQUIRE(backward(saved, NULL, GRADGEN_RETAIN_GRAPH) == GRADGEN_OK);
    REQUIRE(backward(saved, NULL, 0) == GRADGEN_OK);
    REQUIRE(backward(saved, NULL, 0) == GRADGEN_ERR_GRAPH_FREED);
    REQUIRE(backward(saved, NULL, GRADGEN_RETAIN_GRAPH) == GRADGEN_ERR_GRAPH_FREED);
    REQUIRE(forward(saved) == GRADGEN_OK && backward(saved, NULL, 0) == GRADGEN_OK);
    memcpy(other, saved, sizeof other); /* a copy of a used block is used, too */
    REQUIRE(backward(other, NULL, 0) == GRADGEN_ERR_GRAPH_FREED);
    REQUIRE(lookup_backward((const int64_t *)(const void *)saved, saved, (const double *)(const void *)saved, saved,
                            NULL, NULL, NULL, NULL, 0) == GRADGEN_ERR_NO_FORWARD); /* another module's block */
}

static void accumulation(void)
{
    linear_bce_zero_grad(gw, gb);
    linear_bce_zero_grad(NULL, NULL);
    REQUIRE(gw[7] == 0.0f && gb[2] == 0.0f);
    REQUIRE(forward(saved) == GRADGEN_OK && backward(saved, NULL, GRADGEN_RETAIN_GRAPH) == GRADGEN_OK);
    memcpy(again_w, gw, sizeof gw);
    memcpy(again_b, gb, sizeof gb);
    REQUIRE(backward(saved, NULL, GRADGEN_RETAIN_GRAPH) == GRADGEN_OK);
    for (int k = 0; k < 15; k++) {
        REQUIRE(gw[k] == 2.0f * again_w[k]);
    }
    const float minus_two = -2.0f; /* a given incoming gradient: 2 g - 2 g */
    REQUIRE(backward(saved, &minus_two, GRADGEN_RETAIN_GRAPH) == GRADGEN_OK);
    for (int k = 0; k < 3; k++) {
        REQUIRE(gb[k] == 0.0f);
    }
    gw[3] = NAN; /* survives addition, but not GRADGEN_SET_GRAD */
    REQUIRE(backward(saved, NULL, GRADGEN_RETAIN_GRAPH) == GRADGEN_OK && gw[3] != gw[3]);
    REQUIRE(backward(saved, NULL, GRADGEN_RETAIN_GRAPH | GRADGEN_SET_GRAD) == GRADGEN_OK && gw[3] == again_w[3]);
    gb[0] = 123.0f; /* a gradient that is not wanted is not touched */
    REQUIRE(linear_bce_backward(N, x, y, w, b, saved, NULL, gw, NULL, NULL, 0) == GRADGEN_OK && gb[0] == 123.0f);
    REQUIRE(linear_bce_value_and_grad(N, x, y, w, b, NULL, again_w, NULL, work, GRADGEN_SET_GRAD) == GRADGEN_OK);
}

static void arguments(void)
{
    REQUIRE(linear_bce_forward(N, NULL, y, w, b, &loss, saved, NULL) == GRADGEN_ERR_NULL);
    REQUIRE(linear_bce_forward(N, x, y, w, NULL, &loss, saved, NULL) == GRADGEN_ERR_NULL);
    REQUIRE(linear_bce_forward(0, NULL, NULL, w, b, NULL, saved, NULL) == GRADGEN_OK); /* nothing to point at */
    REQUIRE(linear_bce_forward(N, x, y, w, b, NULL, NULL, NULL) == GRADGEN_OK);
    REQUIRE(backward(NULL, NULL, 0) == GRADGEN_ERR_NULL);
    REQUIRE(linear_bce_value_and_grad(N, x, y, w, b, &loss, gw, gb, NULL, 0) == GRADGEN_ERR_NULL);
    REQUIRE(linear_bce_forward(-1, x, y, w, b, &loss, saved, NULL) == GRADGEN_ERR_DIM);
    REQUIRE(linear_bce_forward(INT64_MAX, x, y, w, b, &loss, saved, NULL) == GRADGEN_ERR_DIM);
    REQUIRE(linear_bce_forward(INT64_MAX / 12, x, y, w, b, &loss, saved, NULL) == GRADGEN_ERR_DIM);
    REQUIRE(linear_bce_saved_bytes(-1) == SIZE_MAX && linear_bce_work_bytes(INT64_MAX / 4) == SIZE_MAX);
    REQUIRE(linear_bce_saved_bytes(N) == LINEAR_BCE_SAVED_BYTES(N));
    REQUIRE(forward(saved + 4) == GRADGEN_ERR_ALIGN);
    REQUIRE(linear_bce_forward(N, x, y, w, b, &loss, saved, work + 32) == GRADGEN_ERR_ALIGN);
    const float *askew = (const float *)(const void *)((const unsigned char *)x + 1);
    REQUIRE(linear_bce_forward(N, askew, y, w, b, &loss, saved, NULL) == GRADGEN_ERR_ALIGN);
}

static void indices(void)
{
    int64_t index[4] = {0, 5, 2, 3};
    const uint8_t keep[4] = {1, 1, 0, 1};
    double table[18], rows[12], total = -1.0, grad[18];
    for (int k = 0; k < 18; k++) {
        table[k] = k;
    }
    REQUIRE(lookup_forward(index, keep, table, rows, &total, saved, NULL) == GRADGEN_OK && rows[6] == 0.0);
    REQUIRE(lookup_backward(index, keep, table, saved, NULL, NULL, grad, NULL, GRADGEN_SET_GRAD) == GRADGEN_OK);
    REQUIRE(grad[16] == 32.0 && grad[6] == 0.0);
    index[1] = 6;
    REQUIRE(lookup_forward(index, keep, table, rows, &total, saved, NULL) == GRADGEN_ERR_INDEX);
    /* a forward that failed leaves nothing that a backward could use */
    REQUIRE(lookup_backward(index, keep, table, saved, NULL, NULL, grad, NULL, 0) == GRADGEN_ERR_NO_FORWARD);
}

static void record(void)
{
    const gradgen_module *m = linear_bce_module();
    const int64_t dims[] = {N};
    const void *in[] = {x, y, w, b};
    float value = 0.0f;
    void *out[] = {&value};
    void *gradients[] = {gw, NULL};
    gradgen_module other_abi = *m;
    REQUIRE(gradgen_check_module(m) == GRADGEN_OK);
    other_abi.abi_version++;
    REQUIRE(gradgen_check_module(&other_abi) == GRADGEN_ERR_ABI);
    REQUIRE(strcmp(gradgen_status_text(GRADGEN_ERR_DIM), gradgen_status_text((gradgen_status)99)) != 0);
    REQUIRE(m->n_dims == 1 && m->n_inputs == 4 && m->n_outputs == 1 && m->n_gradients == 2 && m->n_cotangents == 1);
    REQUIRE(strcmp(m->dims[0], "N") == 0 && strcmp(m->inputs[2].name, "w") == 0 && m->inputs[2].requires_grad == 1);
    REQUIRE(m->inputs[0].shape[0] == -1 && m->inputs[0].shape[1] == 5 && m->outputs[0].ndim == 0);
    REQUIRE(m->saved_bytes(dims) == linear_bce_saved_bytes(N));
    REQUIRE(m->forward(dims, in, out, saved, NULL) == GRADGEN_OK && forward(NULL) == GRADGEN_OK && value == loss);
    REQUIRE(m->backward(dims, in, saved, NULL, gradients, NULL, GRADGEN_SET_GRAD) == GRADGEN_OK);
    REQUIRE(m->forward(NULL, in, out, saved, NULL) == GRADGEN_ERR_NULL);
    REQUIRE(m->forward(dims, NULL, out, saved, NULL) == GRADGEN_ERR_NULL);
    m->zero_grad(dims, gradients);
    REQUIRE(gw[0] == 0.0f);
}

int main(void)
{
    fill(x, N * 5);
    fill(y, N * 3);
    fill(w, 15);
    fill(b, 3);
    states();
    accumulation();
    arguments();
    indices();
    record();
    return 0;
}
