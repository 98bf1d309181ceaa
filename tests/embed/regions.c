/* What gcc's -fopenmp calls, by POSIX threads: ThreadSanitizer follows these, but not the waiting inside libgomp. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>

enum { MOST = 64 };
typedef struct {
    void (*body)(void *);
    void *data;
    int id, count;
} job;

static __thread int own_id = 0, own_count = 1;

static void *run(void *argument)
{
    const job *const j = (const job *)argument;
    own_id = j->id;
    own_count = j->count;
    j->body(j->data);
    return NULL;
}

int omp_get_thread_num(void)
{
    return own_id;
}

int omp_get_num_threads(void)
{
    return own_count;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned count, unsigned flags)
{
    pthread_t threads[MOST];
    job jobs[MOST];
    (void)flags;
    if (count > MOST) {
        abort();
    }
    for (unsigned k = 0; k < count; k++) {
        jobs[k] = (job){body, data, (int)k, (int)count};
        if (pthread_create(&threads[k], NULL, run, &jobs[k]) != 0) {
            abort();
        }
    }
    for (unsigned k = 0; k < count; k++) {
        pthread_join(threads[k], NULL);
    }
}
