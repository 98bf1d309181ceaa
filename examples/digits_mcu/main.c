/* Trains on the handwritten digits where it runs: all memory is in two static objects, and the network is in digits.h alone. */
#include <stdio.h>

#include "digits.h"
#include "digits_data.h"

enum { TRAIN = 1437, TEST = DIGITS_COUNT - TRAIN, BATCH = 12, EPOCHS = 12, STEPS = TRAIN / BATCH };

static digits_trainer trainer;
static GRADGEN_ALIGNED unsigned char arena[DIGITS_ARENA_BYTES];
static uint16_t order[TRAIN];

/* A batch of images, and their digits, from the rows of the table in flash: those that `rows` names, or from `first` on. */
static void batch(const uint16_t *rows, int first, float x[BATCH][64], int64_t t[BATCH])
{
    for (int n = 0; n < BATCH; n++) {
        const char *const row = digits_data[rows != NULL ? rows[n] : first + n];
        for (int k = 0; k < 64; k++) {
            x[n][k] = (float)(row[k] - 'A') / 16.0f;
        }
        t[n] = row[64] - '0';
    }
}

int main(void)
{
    static float x[BATCH][64], logits[BATCH][10];
    static int64_t t[BATCH];
    uint32_t random = 3;
    trainer.p = digits_trained; /* the values to begin with */
    digits_reset(&trainer);
    printf("ram %u\n", (unsigned)(sizeof trainer + sizeof arena + sizeof order + sizeof x + sizeof t + sizeof logits));
    for (int n = 0; n < TRAIN; n++) {
        order[n] = (uint16_t)n;
    }
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        float loss = 0, sum = 0;
        int right = 0;
        for (int n = TRAIN - 1; n > 0; n--) { /* Fisher and Yates; the generator is Numerical Recipes' */
            random = random * 1664525u + 1013904223u;
            const int k = (int)((random >> 16) % (uint32_t)(n + 1));
            const uint16_t kept = order[n];
            order[n] = order[k];
            order[k] = kept;
        }
        for (int step = 0; step < STEPS; step++) {
            batch(order + step * BATCH, 0, x, t);
            if (digits_train_step(&trainer, x[0], t, &loss, arena) != GRADGEN_OK) {
                return 1;
            }
            sum += loss;
        }
        for (int first = TRAIN; first < DIGITS_COUNT; first += BATCH) {
            batch(NULL, first, x, t);
            if (digits_predict(&trainer.p, x[0], logits[0], arena) != GRADGEN_OK) {
                return 1;
            }
            for (int n = 0; n < BATCH; n++) {
                int best = 0;
                for (int k = 1; k < 10; k++) {
                    best = logits[n][k] > logits[n][best] ? k : best;
                }
                right += best == t[n];
            }
        }
        printf("epoch %d  loss %.4f  right %d of %d\n", epoch, (double)(sum / STEPS), right, TEST);
    }
    return 0;
}
