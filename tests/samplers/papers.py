"""The samplers as their papers write them: plain loops over images that keep what they need.

Nothing here knows of tables or of rows. ``Problem`` holds the levels visited (alpha, sigma, from
noise to the clean image) and the model; each loop returns the image.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad


@dataclass
class Problem:
    """``alpha``, ``sigma``: [N + 1] with 1, 0 at the end; ``ask(x, alpha, sigma)``: (x0, eps)."""

    alpha: np.ndarray
    sigma: np.ndarray
    ask: object
    zs: np.ndarray

    def __post_init__(self):
        with np.errstate(divide="ignore"):
            self.rho = self.sigma / self.alpha
            self.lam = np.log(self.alpha / self.sigma)
        self.n = len(self.alpha) - 1

    def at(self, x, k):
        return self.ask(x, self.alpha[k], self.sigma[k])

    def at_rho(self, y, rho):
        """eps for y = x / alpha at any rho."""
        alpha = 1 / np.sqrt(1 + rho**2)
        return self.ask(y * alpha, alpha, rho * alpha)[1]


def ddim(p, x, eta):
    """Song et al. 2021, equations 12 and 16."""
    for k in range(p.n):
        x0, eps = p.at(x, k)
        ab, below = p.alpha[k] ** 2, p.alpha[k + 1] ** 2
        s = eta * np.sqrt((1 - below) / (1 - ab)) * np.sqrt(1 - ab / below)
        x = np.sqrt(below) * x0 + np.sqrt(1 - below - s**2) * eps + s * p.zs[k]
    return x


def euler_ancestral(p, x, eta):
    """k-diffusion's sample_euler_ancestral: down to sigma_down, noise up to the next."""
    y = x / p.alpha[0]
    for k in range(p.n):
        a, b = p.rho[k], p.rho[k + 1]
        up = min(b, eta * np.sqrt(b**2 * (a**2 - b**2) / a**2))
        down = np.sqrt(b**2 - up**2)
        y = y + p.at_rho(y, a) * (down - a) + p.zs[k] * up
    return y


def edm(p, x, churn, low, high, noise, largest):
    """Karras et al. 2022, algorithm 2 (its sigma is rho; d = (y - D) / sigma is eps)."""
    y, row = x / p.alpha[0], -1  # zs[row] as the table has it: the lift belongs to the row before
    for i in range(p.n):
        t, t_next = p.rho[i], p.rho[i + 1]
        gamma = min(churn / p.n, np.sqrt(2) - 1) if low <= t <= high else 0.0
        hat = min(t + gamma * t, largest)
        if hat > t:
            y = y + np.sqrt(hat**2 - t**2) * noise * p.zs[row]
        d = p.at_rho(y, hat)
        new, row = y + (t_next - hat) * d, row + 1
        if t_next != 0:
            new, row = y + (t_next - hat) * (0.5 * d + 0.5 * p.at_rho(new, t_next)), row + 1
        y = new
    return y


def kdpm2(p, x, eta):
    """k-diffusion's sample_dpm_2 (eta = 0) and sample_dpm_2_ancestral (eta = 1)."""
    y, row = x / p.alpha[0], 0
    for i in range(p.n):
        a, b = p.rho[i], p.rho[i + 1]
        up = eta * np.sqrt(b**2 * (a**2 - b**2) / a**2)
        down = np.sqrt(b**2 - up**2)
        d = p.at_rho(y, a)
        if down == 0:
            y, row = y + d * (down - a), row + 1
        else:
            mid = np.exp(0.5 * (np.log(a) + np.log(down)))
            y = y + p.at_rho(y + d * (mid - a), mid) * (down - a) + up * p.zs[row + 1]
            row += 2
    return y


def lagrange(nodes, j):
    """The polynomial that is 1 at nodes[j] and 0 at the others."""
    others = [v for i, v in enumerate(nodes) if i != j]
    return lambda u: np.prod([(u - o) / (nodes[j] - o) for o in others])


def lms(p, x, order):
    """k-diffusion's sample_lms, its coefficients by adaptive quadrature."""
    y, ds = x / p.alpha[0], []
    for k in range(p.n):
        ds = [p.at_rho(y, p.rho[k]), *ds][: min(order, k + 1)]
        nodes = [p.rho[k - i] for i in range(len(ds))]
        for j, d in enumerate(ds):
            y = y + quad(lagrange(nodes, j), p.rho[k], p.rho[k + 1], epsabs=1e-12)[0] * d
    return y


def deis(p, x, order):
    """Zhang & Chen 2023, equation 15, extrapolating in ln rho; order 1 at the end."""
    y, es = x / p.alpha[0], []
    for k in range(p.n):
        es = [p.at_rho(y, p.rho[k]), *es][: min(order, k + 1)]
        use = 1 if k == p.n - 1 else (min(2, len(es)) if k == p.n - 2 and p.n < 15 else len(es))
        nodes = [np.log(p.rho[k - i]) for i in range(use)]
        for j in range(use):
            basis = lagrange(nodes, j)
            weight = quad(
                lambda r, basis=basis, many=use > 1: basis(np.log(r)) if many else 1.0,
                p.rho[k], p.rho[k + 1], epsabs=1e-13, epsrel=1e-12,
            )[0]  # fmt: skip
            y = y + weight * es[j]
    return y


def plms(p, x):
    """Liu et al. 2022, equations 11 and 12 (phi is DDIM's step), started as in their SD code."""

    def phi(x, e, a, b):
        x0 = (x - p.sigma[a] * e) / p.alpha[a]
        return p.alpha[b] * x0 + p.sigma[b] * e

    es = []
    for k in range(p.n):
        e = p.at(x, k)[1]
        if not es:
            trial = phi(x, e, k, k + 1)
            if p.n > 1:
                trial = phi(x, (e + p.at(trial, k + 1)[1]) / 2, k, k + 1)
            es, x = [e], trial
            continue
        es = [e, *es][:4]
        mixed = {
            2: (3 * es[0] - es[1]) / 2,
            3: (23 * es[0] - 16 * es[1] + 5 * es[2]) / 12 if len(es) > 2 else 0,
            4: (55 * es[0] - 59 * es[1] + 37 * es[2] - 9 * es[3]) / 24 if len(es) > 3 else 0,
        }[len(es)]
        x = phi(x, mixed, k, k + 1)
    return x


def dpmpp_2s(p, x):
    """Lu et al. 2022b, algorithm 1, the middle point being the path's own node."""
    k = 0
    while k < p.n:
        if k >= p.n - 2:  # the last node, or the two that are left of an even number: order 1
            for j in range(k, p.n):
                x = (
                    p.sigma[j + 1] / p.sigma[j] * x
                    + p.alpha[j + 1] * (1 - np.exp(p.lam[j] - p.lam[j + 1])) * p.at(x, j)[0]
                )
            break
        s, m, t = k, k + 1, k + 2
        h, r = p.lam[t] - p.lam[s], (p.lam[m] - p.lam[s]) / (p.lam[t] - p.lam[s])
        d0 = p.at(x, s)[0]
        u = p.sigma[m] / p.sigma[s] * x - p.alpha[m] * (np.exp(-r * h) - 1) * d0
        d = (1 - 1 / (2 * r)) * d0 + 1 / (2 * r) * p.at(u, m)[0]
        x, k = p.sigma[t] / p.sigma[s] * x - p.alpha[t] * (np.exp(-h) - 1) * d, k + 2
    return x


def dpmpp_multistep(p, x, order, sde):
    """Lu et al. 2022b, algorithm 2 (order 2) and its SDE form, equation 4.12 of the appendix."""
    past = []
    for k in range(p.n):
        past = [p.at(x, k)[0], *past][:order]
        h = p.lam[k + 1] - p.lam[k]
        d = past[0]
        if len(past) == 2 and k < p.n - 1:
            r = (p.lam[k] - p.lam[k - 1]) / h
            d = (1 + 1 / (2 * r)) * past[0] - 1 / (2 * r) * past[1]
        if sde:
            x = (
                p.sigma[k + 1] / p.sigma[k] * np.exp(-h) * x
                + p.alpha[k + 1] * (1 - np.exp(-2 * h)) * d
                + p.sigma[k + 1] * np.sqrt(1 - np.exp(-2 * h)) * p.zs[k]
            )
        else:
            x = p.sigma[k + 1] / p.sigma[k] * x - p.alpha[k + 1] * (np.exp(-h) - 1) * d
    return x


def dpmpp_3m(p, x, full_order):
    """Lu et al. 2022b at order 3: D is the parabola through the last three predictions.

    x_t = sigma_t / sigma_s x_s + alpha_t integral of e^(lambda - lambda_t) D(lambda), which is the
    exact solution for that D (their proposition 4.1). As their code has it the parabola's bend,
    its second divided difference times (lambda - lambda_s)^2, counts half.
    """
    past = []
    for k in range(p.n):
        past = [p.at(x, k)[0], *past][:3]
        left = 1 if k == p.n - 1 else 2 if k == p.n - 2 and p.n < 15 else 3
        use = min(left, len(past))
        s, t = p.lam[k], p.lam[k + 1]
        nodes = [p.lam[k - i] for i in range(use)]
        total = past[0] * (1 - np.exp(s - t))
        if use == 2:  # the order-2 step of algorithm 2 takes h / 2 for the mean distance
            slope = (past[0] - past[1]) / (nodes[0] - nodes[1])
            total = total + (1 - np.exp(s - t)) * (t - s) / 2 * slope
        if use == 3:
            one = (past[0] - past[1]) / (nodes[0] - nodes[1])
            two = (past[1] - past[2]) / (nodes[1] - nodes[2])
            bend = (one - two) / (nodes[0] - nodes[2])
            slope = one + (nodes[0] - nodes[1]) * bend
            for power, value in ((1, slope), (2, bend if full_order else bend / 2)):
                weight = quad(
                    lambda u, n=power, s=s, t=t: np.exp(u - t) * (u - s) ** n, s, t, epsabs=1e-14
                )[0]
                total = total + weight * value
        x = p.sigma[k + 1] / p.sigma[k] * x + p.alpha[k + 1] * total
    return x


def ddim_inverse(p, x):
    """Dhariwal & Nichol 2021, section F, upwards: eps is asked at x with the next level's time.

    ``p``: levels from noise to image, as everywhere; walked from their end.
    """
    for k in range(p.n, 0, -1):
        alpha, sigma = p.alpha[k], p.sigma[k]
        above, noise = p.alpha[k - 1], p.sigma[k - 1]
        eps = p.ask(x, above, noise)[1]
        x = above * (x - sigma * eps) / alpha + noise * eps
    return x


def unipc(p, x, order):
    """Zhao et al. 2023, algorithms 1 to 4 with B(h) = e^h - 1, by their equations 5 to 8.

    Data prediction: h is -h there, and every D its x0.
    """

    def phi(n, h):
        """phi_n of their equation 7: phi_0 = e^h, phi_{n+1} = (phi_n - 1 / n!) / h."""
        value, factorial = np.exp(h), 1
        for i in range(n):
            value, factorial = (value - 1 / factorial) / h, factorial * (i + 1)
        return value

    def step(x, a, b, nodes, values, count, extra=None):
        """x at node b from node a; ``values[i]`` at ``nodes[i]``, [0] at a itself."""
        h = p.lam[b] - p.lam[a]
        out = p.sigma[b] / p.sigma[a] * x + p.alpha[b] * (1 - np.exp(-h)) * values[0]
        r = [(p.lam[n] - p.lam[a]) / h for n in nodes[1:count]]
        diffs = [(v - values[0]) / ri for v, ri in zip(values[1:count], r, strict=True)]
        if extra is not None:
            r, diffs = [*r, 1.0], [*diffs, extra - values[0]]
        if diffs:
            matrix = np.array([[ri**j for ri in r] for j in range(len(r))])
            factorial = np.cumprod(np.arange(1, len(r) + 1))
            bh = np.expm1(-h)
            right = [-h * phi(j + 2, -h) * factorial[j] / bh for j in range(len(r))]
            rho = [0.5] if len(r) == 1 else np.linalg.solve(matrix, right)
            out = out - p.alpha[b] * bh * sum(w * d for w, d in zip(rho, diffs, strict=True))
        return out

    corrected, values, count = x, [], 0
    for k in range(p.n):
        new = p.at(x, k)[0]
        if k:
            nodes = [k - 1 - i for i in range(len(values))]
            corrected = step(corrected, k - 1, k, nodes, values, count, extra=new)
        values = [new, *values][: order + 1]
        count = min(order, k + 1, p.n - k)
        if k == p.n - 1:
            return p.alpha[k + 1] * new
        x = step(corrected, k, k + 1, [k - i for i in range(len(values))], values, count)
    return x


def sa_solver(p, x, taus, predictor, corrector):
    """Xue et al. 2023, algorithm 1 with equations 14 and 17, by adaptive quadrature.

    Orders 1 and 3 up: at order 2 their code adds a term of third order that no equation has.
    """

    def b(a, e, nodes, tau):
        def weight(j):
            f = lagrange([p.lam[n] for n in nodes], j) if len(nodes) > 1 else lambda u: 1.0
            c = 1 + tau**2
            g = lambda u: np.exp(c * (u - p.lam[e])) * f(u)  # noqa: E731
            return c * p.alpha[e] * quad(g, p.lam[a], p.lam[e], epsabs=1e-13, epsrel=1e-11)[0]

        return [weight(j) for j in range(len(nodes))]

    def step(x, a, e, nodes, values, tau, z):
        h = p.lam[e] - p.lam[a]
        out = np.exp(-(tau**2) * h) * p.sigma[e] / p.sigma[a] * x
        out = out + p.sigma[e] * np.sqrt(1 - np.exp(-2 * tau**2 * h)) * z
        return out + sum(w * v for w, v in zip(b(a, e, nodes, tau), values, strict=True))

    corrected, values, used = x, [], 0
    for k in range(p.n):
        new = p.at(x, k)[0]
        values = [new, *values]
        if k:
            nodes = [k - i for i in range(used)]
            corrected = step(corrected, k - 1, k, nodes, values[:used], taus[k - 1], p.zs[k - 1])
        if k == p.n - 1:
            return new
        points = min(predictor, k + 1, p.n - k)
        nodes = [k - i for i in range(points)]
        x = step(corrected, k, k + 1, nodes, values[:points], taus[k], p.zs[k])
        used = min(corrector, p.n - k + 1, k + 2)
    return x


def lcm(p, x, timesteps):
    """Luo et al. 2023, algorithm 3, with the boundary condition of their code."""
    for k in range(p.n):
        s = 10.0 * timesteps[k]
        f = 0.25 / (s**2 + 0.25) * x + s / np.sqrt(s**2 + 0.25) * p.at(x, k)[0]
        x = f if k == p.n - 1 else p.alpha[k + 1] * f + p.sigma[k + 1] * p.zs[k]
    return x


def tcd(p, x, alpha_s):
    """Zheng et al. 2024, algorithm 4: down to s_k, then noise up to the next node."""
    for k in range(p.n):
        x0, eps = p.at(x, k)
        if k == p.n - 1:
            return x0
        s = alpha_s[k]
        ratio = p.alpha[k + 1] / s
        x = ratio * (s * x0 + np.sqrt(1 - s**2) * eps) + np.sqrt(1 - ratio**2) * p.zs[k]
    return x
