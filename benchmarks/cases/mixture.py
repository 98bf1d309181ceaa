"""Log-likelihood of a Gaussian mixture with full covariance factors and a Wishart prior, as in ADBench; float64.

Q_k is the lower triangular factor of the k-th inverse covariance: exp(q_k) on its diagonal, l_k below.
"""

from __future__ import annotations

from benchmarks.peers import gradgen, gradients, jax_gradients

GAMMA, EXTRA = 1.0, 0  # the prior's parameters


def arrays(rng, d, k, n):
    return {
        "x": rng.normal(size=(n, d)), "alpha": rng.normal(size=k), "mu": rng.normal(size=(k, d)),
        "q": 0.3 * rng.normal(size=(k, d)), "l": 0.3 * rng.normal(size=(k, d, d)),
    }


def finish(ns, square, x, alpha, q, low):
    """From |Q_k (x_n - mu_k)|^2 [N, K] to the negative log-likelihood without its constants."""
    inner = alpha + q.sum(-1) - 0.5 * square
    likelihood = ns.logsumexp(inner, 1).sum() - x.shape[0] * ns.logsumexp(alpha, 0)
    prior = 0.5 * GAMMA**2 * ((ns.exp(q) ** 2).sum() + (low * low).sum()) - EXTRA * q.sum()
    return likelihood - prior


def factors(ns, q, l):  # noqa: E741
    low = ns.tril(l, -1)
    return low, low + ns.diag_embed(ns.exp(q))


def obvious(ns, x, alpha, mu, q, l):  # noqa: E741
    low, factor = factors(ns, q, l)
    z = ns.einsum("kij,nkj->nki", factor, x[:, None, :] - mu)
    return finish(ns, (z * z).sum(-1), x, alpha, q, low)


def product(ns, x, alpha, mu, q, l):  # noqa: E741
    """Q_k x_n - Q_k mu_k, for all k by one matrix product."""
    low, factor = factors(ns, q, l)
    k, d = q.shape
    z = (x @ factor.reshape(k * d, d).T).reshape(x.shape[0], k, d) - ns.einsum("kij,kj->ki", factor, mu)
    return finish(ns, (z * z).sum(-1), x, alpha, q, low)


def in_jax(function):
    def loss(jnp, jax, *given):
        class Names:
            einsum, exp, tril = staticmethod(jnp.einsum), staticmethod(jnp.exp), staticmethod(jnp.tril)
            logsumexp = staticmethod(jax.scipy.special.logsumexp)

            @staticmethod
            def diag_embed(v):
                return v[..., None] * jnp.eye(v.shape[-1])

        return function(Names, *given)

    return loss


WRT = ("alpha", "mu", "q", "l")
CASES = [
    gradients(f"mixture-d{d}-k{k}-n{n}", arrays, obvious, WRT, in_jax(obvious), size=(d, k, n), quick=(3, 4, 10),
              tolerance=1e-8, own="gradgen-product", targets={"jax-product": 1.0, "jax": 1 / 2, "torch": 1 / 3},
              more={"gradgen-product": gradgen(product, WRT), "jax-product": jax_gradients(in_jax(product), WRT)},
              note="gradgen, torch, jax: the obvious form; -product: the quadratic form as one matrix product")
    for d, k, n in ((10, 25, 1000), (10, 25, 10000), (64, 50, 1000))
]
