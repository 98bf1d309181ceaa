//: gg_at_most_{{ s }}
/* Whether x comes after y in ascending order; nan comes after everything. */
static int gg_at_most_{{ s }}({{ T }} x, {{ T }} y)
{
    return x <= y;
}

//: gg_after_{{ s }} < gg_at_most_{{ s }}
static int gg_after_{{ s }}({{ T }} x, {{ T }} y)
{
    return !gg_at_most_{{ s }}(x, y) && gg_at_most_{{ s }}(y, y);
}

//: gg_argsort_{{ s }} < gg_after_{{ s }}
/* indices[r, :] puts row r of x[rows, n] in ascending or descending order; equal elements keep theirs.  Short runs are
 * sorted by insertion, then merged in pairs, from one array of n indices into another and back. */
static void gg_argsort_{{ s }}(int64_t rows, int64_t n, const {{ T }} *x, int64_t *indices, int descending, int64_t *work)
{
    const int64_t run = 8;
    for (int64_t r = 0; r < rows; ++r) {
        const {{ T }} *key = x + r * n;
        int64_t *from = indices + r * n, *to = work;
        for (int64_t start = 0; start < n; start += run) {
            const int64_t stop = n - start < run ? n : start + run;
            for (int64_t k = start; k < stop; ++k) {
                int64_t place = k;
                while (place > start && (descending ? gg_after_{{ s }}(key[k], key[from[place - 1]])
                                                    : gg_after_{{ s }}(key[from[place - 1]], key[k]))) {
                    from[place] = from[place - 1];
                    --place;
                }
                from[place] = k;
            }
        }
        for (int64_t width = run; width < n; width *= 2) {
            int64_t *const merged = to;
            for (int64_t start = 0; start < n; start += 2 * width) {
                const int64_t middle = n - start < width ? n : start + width;
                const int64_t stop = n - middle < width ? n : middle + width;
                int64_t left = start, right = middle;
                for (int64_t k = start; k < stop; ++k) {
                    int second = right < stop;
                    if (second && left < middle) {
                        const {{ T }} a = key[from[left]], b = key[from[right]];
                        second = descending ? gg_after_{{ s }}(b, a) : gg_after_{{ s }}(a, b);
                    }
                    to[k] = second ? from[right++] : from[left++];
                }
            }
            to = from;
            from = merged;
        }
        if (from == work) memcpy(indices + r * n, work, (size_t)n * sizeof(int64_t));
    }
}
