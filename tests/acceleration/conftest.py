# SPDX-License-Identifier: Apache-2.0
"""What tests of the fast forms share."""

from contextlib import contextmanager

import pytest
import torch

from napari_sam.acceleration import workers


@pytest.fixture
def three_threads():
    """A context in which torch has three threads; the crew goes home afterwards."""

    @contextmanager
    def lend():
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    workers._pool.cache_clear()
    yield lend
    if workers._pool.cache_info().currsize:
        workers._pool(3).shutdown()
    workers._pool.cache_clear()


@pytest.fixture
def gpu():
    """A CUDA GPU that keeps all digits in convolutions, as it does in products."""
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA GPU here")
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield torch.device("cuda")


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """The processor and, where GPUs are tested, a GPU."""
    if request.param == "gpu":
        return request.getfixturevalue("gpu")
    return torch.device("cpu")
