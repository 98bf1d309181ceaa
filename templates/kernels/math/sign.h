//: gg_sign_{{ s }} < GG_INLINE
/* -1, 0 or 1; 0 for nan, as torch.sign has it. */
GG_INLINE {{ T }} gg_sign_{{ s }}({{ T }} x)
{
    return (x > 0.0{{ f }} ? 1.0{{ f }} : 0.0{{ f }}) - (x < 0.0{{ f }} ? 1.0{{ f }} : 0.0{{ f }});
}

//: gg_sign_{{ i }} < GG_INLINE
/* -1, 0 or 1. */
GG_INLINE {{ T }} gg_sign_{{ i }}({{ T }} a)
{
    return (a > 0) - (a < 0);
}
