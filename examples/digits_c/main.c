/*
 * Trains the 64-64-10 network of examples/digits.py on handwritten digits: the same weights, batches and losses, without
 * Python, without a heap.  All memory is static; its size is known when this file is compiled.
 *
 *     digits_c              one line per epoch
 *     digits_c --steps      the loss of every step instead
 */
#include <stdio.h>
#include <string.h>

#include "digits.h"
#include "digits_data.h"

enum { TRAIN = 1437, TEST = DIGITS_COUNT - TRAIN, BATCH = 64, EPOCHS = 40, STEPS = TRAIN / BATCH };
static const float RATE = 0.05f, MOMENTUM = 0.9f;

/* the parameters, then their gradients and velocities in the same order */
typedef struct parameters {
    float w1[64 * 64], b1[64], w2[64 * 10], b2[10];
} parameters;

static parameters weights, gradients, velocity;
static float images[DIGITS_COUNT][64], x[BATCH][64], scores[TEST][10];
static int64_t labels[DIGITS_COUNT], t[BATCH];
static int order[TRAIN];
static GRADGEN_ALIGNED unsigned char saved[DIGITS_SAVED_BYTES(BATCH)];
static GRADGEN_ALIGNED unsigned char work[DIGITS_WORK_BYTES(TEST)];

/* xorshift32: Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003 */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* uniform in [-1/8, 1/8); every operation is exact */
static void fill_uniform(float *values, size_t count, uint32_t *state)
{
    for (size_t k = 0; k < count; k++) {
        values[k] = ((float)(next_random(state) >> 8) / 8388608.0f - 1.0f) / 8.0f;
    }
}

static void shuffle(int *items, int count, uint32_t *state)
{
    for (int k = count - 1; k > 0; k--) {
        const int j = (int)(next_random(state) % (uint32_t)(k + 1));
        const int item = items[k];
        items[k] = items[j];
        items[j] = item;
    }
}

static void load_data(void)
{
    for (int n = 0; n < DIGITS_COUNT; n++) {
        for (int k = 0; k < 64; k++) {
            images[n][k] = (float)(digits_data[n][k] - 'A') / 16.0f;
        }
        labels[n] = digits_data[n][64] - '0';
    }
}

/* PyTorch's SGD with momentum: v = momentum v + gradient, w = w - rate v */
static void update(float *w, const float *gradient, float *v, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        v[k] = MOMENTUM * v[k] + gradient[k];
        w[k] -= RATE * v[k];
    }
}

/* Forward and backward of one batch, then one step of the parameters.  Returns a status of gradgen_abi.h. */
static gradgen_status train_step(const int *rows, float *loss)
{
    parameters *const w = &weights, *const g = &gradients, *const v = &velocity;
    for (int n = 0; n < BATCH; n++) {
        memcpy(x[n], images[rows[n]], sizeof x[n]);
        t[n] = labels[rows[n]];
    }
    gradgen_status status = digits_forward(BATCH, x[0], t, w->w1, w->b1, w->w2, w->b2, loss, NULL, saved, work);
    if (status != GRADGEN_OK) {
        return status;
    }
    digits_zero_grad(g->w1, g->b1, g->w2, g->b2);
    status = digits_backward(BATCH, x[0], t, w->w1, w->b1, w->w2, w->b2, saved, NULL, g->w1, g->b1, g->w2, g->b2, work, 0);
    if (status != GRADGEN_OK) {
        return status;
    }
    update(w->w1, g->w1, v->w1, 64 * 64);
    update(w->b1, g->b1, v->b1, 64);
    update(w->w2, g->w2, v->w2, 64 * 10);
    update(w->b2, g->b2, v->b2, 10);
    return GRADGEN_OK;
}

/* How many of the TEST images that training has not seen get the right digit: forward only, so nothing is saved. */
static gradgen_status count_right(int *right)
{
    const parameters *const w = &weights;
    const gradgen_status status = digits_forward(
        TEST, images[TRAIN], labels + TRAIN, w->w1, w->b1, w->w2, w->b2, NULL, scores[0], NULL, work);
    *right = 0;
    for (int n = 0; n < TEST; n++) {
        int best = 0;
        for (int k = 1; k < 10; k++) {
            best = scores[n][k] > scores[n][best] ? k : best;
        }
        *right += best == labels[TRAIN + n];
    }
    return status;
}

static int failed(gradgen_status status)
{
    printf("failed: %s\n", gradgen_status_text(status));
    return 1;
}

int main(int argc, char **argv)
{
    static char line_buffer[BUFSIZ]; /* or the C library would allocate one */
    const int every_step = argc > 1 && strcmp(argv[1], "--steps") == 0;
    uint32_t initial_state = 2, order_state = 3;
    int right = 0;
    setvbuf(stdout, line_buffer, _IOFBF, sizeof line_buffer);
    load_data();
    fill_uniform(weights.w1, 64 * 64, &initial_state);
    fill_uniform(weights.w2, 64 * 10, &initial_state);
    for (int n = 0; n < TRAIN; n++) {
        order[n] = n;
    }
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        float loss = 0.0f;
        shuffle(order, TRAIN, &order_state);
        for (int step = 0; step < STEPS; step++) {
            const gradgen_status status = train_step(order + step * BATCH, &loss);
            if (status != GRADGEN_OK) {
                return failed(status);
            }
            if (every_step) {
                printf("%.9g\n", (double)loss);
            }
        }
        const gradgen_status status = count_right(&right);
        if (status != GRADGEN_OK) {
            return failed(status);
        }
        if (!every_step) {
            printf("epoch %2d  loss %.5f  test accuracy %.2f %%\n", epoch, (double)loss, 100.0 * right / TEST);
        }
    }
    return 100 * right >= 97 * TEST ? 0 : 1;
}
