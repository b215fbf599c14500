# SPDX-License-Identifier: Apache-2.0
from .prediction.automatic_mask_generator import (
    AutomaticMaskGenerator as AutomaticMaskGenerator,
)
from .prediction.predictor import SamPredictor as SamPredictor
from .prediction.segmenter import segment_image as segment_image
from .weights.catalogue import list_models as list_models
from .weights.load import load_model as load_model

__version__: str
