"""Programs kept on disk: found again for the same model, and for nothing else."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from fastdiff.program import cache, save
from fastdiff.program.save import engine_bytes_of
from tests.program.small import Wrapped


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTDIFF_CACHE_DIR", str(tmp_path))
    return tmp_path / "programs"


def test_a_model_is_traced_once(tiny_model, folder, monkeypatch):
    first = engine_bytes_of(tiny_model)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(save, "lower", lambda model: pytest.fail("it was traced again"))
    assert engine_bytes_of(tiny_model) == first


def test_another_weight_another_name_another_class_are_other_models(tiny_model):
    key = cache.key_of(tiny_model)
    assert cache.key_of(dataclasses.replace(tiny_model, name="other")) != key
    other = type(tiny_model.module)(tiny_model.module.config)
    other.load_state_dict(tiny_model.module.state_dict())
    other.eval()
    same = dataclasses.replace(tiny_model, module=other)
    assert cache.key_of(same) == key
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    assert cache.key_of(same) != key
    derived = type("Derived", (type(other),), {})(other.config)
    assert cache.key_of(dataclasses.replace(tiny_model, module=derived)) is None
    foreign = Wrapped(lambda x, t: x)
    assert cache.key_of(dataclasses.replace(tiny_model, module=foreign)) is None


def test_a_damaged_file_is_made_anew(tiny_model, folder):
    first = engine_bytes_of(tiny_model)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert engine_bytes_of(tiny_model) == first
    assert cache.kept(path) is not None


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tiny_model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FASTDIFF_CACHE_DIR", str(tmp_path / "file"))
    assert engine_bytes_of(tiny_model)


def test_old_files_go(tmp_path):
    for k in range(cache.KEPT + 3):
        cache.keep(tmp_path / f"{k}.fdiff", b"x")
    assert len(list(tmp_path.iterdir())) == cache.KEPT
