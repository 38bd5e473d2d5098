"""Random causal networks for hypothesis: any order of the ops that a wavefront knows."""

from math import inf

from hypothesis import strategies as st

from tests.pixelcnn.nets import Net

# (size, dilation) along one dimension; an even size keeps the image only with an even dilation.
REACHES = [(3, 1), (5, 1), (1, 1), (3, 2), (2, 2), (2, 4), (4, 2)]


@st.composite
def networks(draw, free_tap=False, size=None):
    """A program; with ``free_tap`` one tap of one convolution obeys no order."""
    colours = draw(st.integers(1, 3))
    height, width = size or (
        draw(st.sampled_from((3, 1, 2, 4, 5, 4))), draw(st.sampled_from((3, 1, 4, 5, 2, 5)))
    )  # fmt: skip
    net = Net(colours, height, width, draw(st.integers(2, 3)), draw(st.integers(0, 999)))
    values, ops = ["x"], draw(st.integers(1, 4))
    lawless = draw(st.integers(0, ops)) if free_tap else -1
    # Its own colours, all before it, some or all of the row above, and now and then a row below.
    label = st.sampled_from(
        [(0, 0, c) for c in range(-1, colours)]
        + [(-1, 0, 0), (-1, 2, colours - 1), (-1, inf, 0), (0, -1, 0), (1, -2, 0), (-2, 1, 0)]
    )

    def options(k):
        (kh, dh), (kw, dw) = draw(st.sampled_from(REACHES)), draw(st.sampled_from(REACHES))
        free = (draw(st.integers(0, kh - 1)), draw(st.integers(0, kw - 1)))
        return {
            "kernel": (kh, kw), "dilation": (dh, dw), "density": draw(st.sampled_from((1.0, 0.5))),
            "free": free if k == lawless else None,
        }  # fmt: skip

    def convolved(k):
        x = draw(st.sampled_from(values))
        channels = 2 * draw(st.integers(1, 2))
        groups = 2 if len(net.labels[x]) % 2 == 0 and draw(st.booleans()) else 1
        labels = draw(st.lists(label, min_size=channels, max_size=channels))
        return net.conv(x, labels, groups=groups, **options(k))

    for k in range(ops):
        y = convolved(k)
        alike = [v for v in values if len(net.labels[v]) == len(net.labels[y])]
        kind = draw(st.sampled_from(["tanh", "gate", "residual", "concat", "scale", "request"]))
        if kind == "gate":
            y = net.gate(y)
        elif kind == "residual" and alike:
            y = net.both(y, draw(st.sampled_from(alike)), draw(st.sampled_from(["add", "mul"])))
        elif kind == "concat":
            y = net.concat(y, draw(st.sampled_from(values)))
            y = net.part(y, draw(st.integers(0, 1)), len(net.labels[y]), draw(st.integers(1, 2)))
        elif kind == "scale":
            scale = net.rng.uniform(0.5, 2.0, (len(net.labels[y]), 1, 1))
            y = net.both(y, net.constant(scale), "mul")
        elif kind == "request":
            y = net.both(net.unary(y, "tanh"), net.of_request(len(net.labels[y])))
        else:
            y = net.unary(y, "tanh")
        values.append(y)
    x = values[-1] if len(values) < 3 else net.concat(*values[-2:])
    return net.logits(x, colour_first=draw(st.booleans()), **options(ops))
