# SPDX-License-Identifier: Apache-2.0
"""Everything napari-sam raises on purpose.

``NapariSamError`` is the one class a front end has to catch; its text is meant for the
user. Each child also derives from the builtin that a script would expect::

    NapariSamError
    ├── UnknownModelError (ValueError)  a model name nobody registered
    ├── ModelTypeError (TypeError)      something else where a loaded model goes
    ├── PromptError (ValueError)        points, boxes or mask inputs without sense
    ├── ImageError (ValueError)         an array or file that is no image for SAM
    ├── LabelsError (ValueError)        a label array that cannot take the result
    ├── SettingsError (ValueError)      a parameter outside its range
    ├── DeviceError (ValueError)        a device or precision this machine lacks
    ├── PhaseError (ValueError)         an annotator call that has no meaning now
    ├── LossError (FloatingPointError)  a training whose loss is no number
    ├── Cancelled                       work stopped on request
    ├── AnnotationFileError (ValueError)  an annotation or journal that cannot be used
    ├── OutputError (OSError)           a result that cannot be written
    └── WeightsError (OSError)          weights that are missing
        ├── DownloadError               ... could not be fetched, or wrong hash
        └── CheckpointError             ... not safely readable, or of no architecture
"""


class NapariSamError(Exception):
    """Base of all errors whose text is written for the user."""


class UnknownModelError(NapariSamError, ValueError):
    """A model or architecture name that is not registered."""


class ModelTypeError(NapariSamError, TypeError):
    """Something that is no loaded model, such as a model's name."""


class PromptError(NapariSamError, ValueError):
    """Points, boxes or mask inputs that make no sense for the image."""


class ImageError(NapariSamError, ValueError):
    """An array or file that cannot be shown to the model."""


class LabelsError(NapariSamError, ValueError):
    """A label array or layer that cannot take the result."""


class SettingsError(NapariSamError, ValueError):
    """A parameter outside its allowed range."""


class DeviceError(NapariSamError, ValueError):
    """A device or precision that this machine does not offer."""


class PhaseError(NapariSamError, ValueError):
    """An annotator call that has no meaning in the present phase."""


class AnnotationFileError(NapariSamError, ValueError):
    """An annotation file or journal that is damaged, newer or of another image."""


class LossError(NapariSamError, FloatingPointError):
    """A training that cannot go on: loss or gradient became infinite or NaN."""


class OutputError(NapariSamError, OSError):
    """A result that cannot be written where it was asked to go."""


class WeightsError(NapariSamError, OSError):
    """Weights that are missing or unusable."""


class DownloadError(WeightsError):
    """A download that failed, was cancelled or did not match its hash."""


class CheckpointError(WeightsError):
    """A checkpoint that cannot be read safely or that fits no architecture."""


class Cancelled(NapariSamError):
    """Work that was stopped on request; whoever asked knows what to do."""
