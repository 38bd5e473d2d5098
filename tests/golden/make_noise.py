"""Writes noise.txt: the noise contract transcribed in plain Python integers and floats.

Independent of fastdiff on purpose: it is what every implementation is held against. Run it only
when the contract itself changes (docs/architecture.md, "Noise").
"""

import math
import struct
from fractions import Fraction
from pathlib import Path

MASK = 0xFFFFFFFF


def philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & MASK, (p0 >> 32) ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c


def to_float32(value):
    """The float32 nearest to an exact Fraction, ties to even."""
    if value == 0:
        return 0.0
    exponent = math.floor(math.log2(value)) - 23
    while Fraction(2) ** (exponent + 24) <= value:
        exponent += 1
    while Fraction(2) ** (exponent + 23) > value:
        exponent -= 1
    return float(round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent)


def uniform(word):
    rounded = Fraction(to_float32(Fraction(word)))
    return to_float32(rounded + Fraction(1, 2)) * 2.0**-32


def normals(words):
    u = [uniform(w) for w in words]
    out = []
    for a, b in ((u[0], u[1]), (u[2], u[3])):
        r = math.sqrt(-2.0 * math.log(a))
        out += [r * math.cos(2.0 * math.pi * b), r * math.sin(2.0 * math.pi * b)]
    return u, out


def main():
    seeds = [0, 1, 7, 12345, 2**31, 2**32 - 1, 2**32, 0x0123456789ABCDEF, 2**64 - 1]
    lines = ["# seed step stream element word u_bits normal (float64 Box-Muller of the float32 u)"]
    for seed in seeds:
        for step, stream in ((0, 0), (0, 1), (24, 1), (499, 1), (2**32 - 1, 2), (3, 3)):
            for block in (0, 1, 191, 2**20):
                words = philox((block, step, stream, 0), (seed & MASK, seed >> 32))
                u, z = normals(words)
                for k in range(4):
                    bits = struct.unpack("<I", struct.pack("<f", u[k]))[0]
                    lines.append(
                        f"{seed:016x} {step} {stream} {4 * block + k} "
                        f"{words[k]:08x} {bits:08x} {z[k]!r}"
                    )
    Path(__file__).with_name("noise.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
