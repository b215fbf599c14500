# SPDX-License-Identifier: Apache-2.0
"""What tells that a model is no longer as it was."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Hashable

    from napari_sam.modeling.sam import Sam


class ModelState:
    """Looks at a model's weights without reading them: a fraction of a millisecond.

    PyTorch counts what is written into a tensor in place; tensors and parts put in the
    place of others are known by their identity. What neither shows is writing past
    PyTorch, through a numpy array of the same memory.

    Parameters
    ----------
    model : Sam
        Its parts are noted; once `now` has changed, take a new `ModelState`.
    """

    def __init__(self, model: Sam) -> None:
        self._model = model
        # Walking these tables is several times as fast as `parameters()`.
        tables = (
            table
            for part in model.modules()
            for table in (part._modules, part._parameters, part._buffers)  # noqa: SLF001
        )
        self._tables = [table for table in tables if table]
        # What is held here does not leave its identity to something new.
        self._held = list(self._members())
        self._tensors = [one for one in self._held if isinstance(one, Tensor)]
        # Tensors made in inference mode have no count: nobody may write into them.
        self._counted = [one for one in self._tensors if not one.is_inference()]

    def now(self) -> Hashable:
        """Return what changes whenever weights, device, precision or mode do."""
        model = self._model
        return (
            model.device,
            getattr(model.image_encoder, "compute_dtype", None),
            model.training,
            tuple(map(id, self._members())),
            tuple([tensor.data_ptr() for tensor in self._tensors]),
            tuple([tensor._version for tensor in self._counted]),  # noqa: SLF001
        )

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was written into the weights since they were read."""
        return not any(tensor._version for tensor in self._counted)  # noqa: SLF001

    def _members(self) -> chain[object]:
        """Return all parts, parameters and buffers that the model has now."""
        return chain.from_iterable(table.values() for table in self._tables)


def state_of(model: Sam) -> Hashable:
    """Return what changes whenever weights, device, precision or mode do."""
    return ModelState(model).now()
