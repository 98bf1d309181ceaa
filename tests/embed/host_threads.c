/* Eight threads call one module, each with its own SAVED and WORK: all get the bits that one thread gets. */
#include "linear_bce.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

enum { N = 64, THREADS = 8, ROUNDS = 200 };

typedef struct {
    GRADGEN_ALIGNED unsigned char saved[LINEAR_BCE_SAVED_BYTES(N)];
    float loss, gw[15], gb[3];
} job;

static float x[N * 5], y[N * 3], w[15], b[3];
static job jobs[THREADS + 1];

static void *work(void *argument)
{
    job *own = (job *)argument;
    for (int k = 0; k < ROUNDS; k++) {
        if (linear_bce_forward(N, x, y, w, b, &own->loss, own->saved, NULL) != GRADGEN_OK ||
            linear_bce_backward(N, x, y, w, b, own->saved, NULL, own->gw, own->gb, NULL, 0) != GRADGEN_OK) {
            own->loss = -1.0f;
            break;
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int k = 0; k < N * 5; k++) {
        x[k] = (float)(k % 13) / 13.0f;
    }
    for (int k = 0; k < 15; k++) {
        w[k] = (float)(k % 7) / 7.0f;
    }
    for (int k = 0; k < THREADS; k++) {
        if (pthread_create(&threads[k], NULL, work, &jobs[k]) != 0) {
            return 2;
        }
    }
    for (int k = 0; k < THREADS; k++) {
        pthread_join(threads[k], NULL);
    }
    (void)work(&jobs[THREADS]);
    for (int k = 0; k < THREADS; k++) {
        if (jobs[k].loss <= 0.0f || memcmp(jobs[k].gw, jobs[THREADS].gw, sizeof jobs[k].gw) != 0) {
            return 1;
        }
    }
    return 0;
}
