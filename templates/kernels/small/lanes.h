//: gg_sum_of_4_{{ s }} < GG_INLINE
/* Sums by lane as one number: each half is added to the other. */
GG_INLINE {{ T }} gg_sum_of_4_{{ s }}(const {{ T }} *a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}

//: gg_sum_of_8_{{ s }} < GG_INLINE
GG_INLINE {{ T }} gg_sum_of_8_{{ s }}(const {{ T }} *a)
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

//: gg_sum_of_16_{{ s }} < GG_INLINE
GG_INLINE {{ T }} gg_sum_of_16_{{ s }}(const {{ T }} *a)
{
    return (((a[0] + a[8]) + (a[4] + a[12])) + ((a[2] + a[10]) + (a[6] + a[14])))
        + (((a[1] + a[9]) + (a[5] + a[13])) + ((a[3] + a[11]) + (a[7] + a[15])));
}
