"""Foreign networks, traced once for all tests of programs."""

import pytest


def pytest_generate_tests(metafunc):
    if "foreign" in metafunc.fixturenames:
        from tests.program.foreign import NETS

        metafunc.parametrize("foreign", NETS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def foreign(request):
    """(module, an input of each kind, its program)."""
    from fastdiff.program.trace import trace
    from tests.program.foreign import net

    module, example = net(request.param)
    return module, example, trace(module, example, request.param)
