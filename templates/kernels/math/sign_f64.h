/* -1, 0 or 1; 0 for nan, as torch.sign has it. */
GG_INLINE double gg_sign_f64(double x)
{
    return (x > 0.0 ? 1.0 : 0.0) - (x < 0.0 ? 1.0 : 0.0);
}
