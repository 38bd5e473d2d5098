"""Small autoregressive models with weights that are no accident."""

import pytest


@pytest.fixture(scope="session")
def make_model():
    """A PixelCNN of given sizes, in eval mode."""
    torch = pytest.importorskip("torch")
    from fastdiff.models.registry import build

    def make(seed=0, **sizes):
        sizes = {"height": 4, "width": 5, "levels": 6, "hidden": 6, "blocks": 2, **sizes}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build("pixelcnn", sizes, None, name="small")
            for key, value in model.module.state_dict().items():
                if key.endswith("running_var"):
                    value.uniform_(0.05, 0.5)
                elif key == "out.weight":
                    value.mul_(4.0)  # away from the uniform distribution
        model.module.eval()
        return model

    return make
