# SPDX-License-Identifier: Apache-2.0
from .annotation.annotator import Annotator as Annotator
from .annotation.array_ports import ArrayImage as ArrayImage
from .annotation.array_ports import ArrayLabels as ArrayLabels
from .prediction.automatic_mask_generator import (
    AutomaticMaskGenerator as AutomaticMaskGenerator,
)
from .prediction.model_segmenter import ModelSegmenter as ModelSegmenter
from .prediction.predictor import SamPredictor as SamPredictor
from .prediction.segmenter import segment_image as segment_image
from .weights.catalogue import list_models as list_models
from .weights.load import load_model as load_model

__version__: str
