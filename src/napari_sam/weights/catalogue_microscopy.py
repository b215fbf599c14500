# SPDX-License-Identifier: Apache-2.0
"""Catalogue rows of weights fine-tuned for microscopy, histopathology and medicine."""

from napari_sam.weights.model_row import MOBILE_SAM_CITATION, SAM_CITATION, ModelRow

_MICRO_SAM = (
    "Archit et al. 2025, Segment Anything for Microscopy, Nature Methods, "
    "doi:10.1038/s41592-024-02580-4"
)
_PATHO_SAM = (
    "Griebel et al. 2025, Segment Anything for Histopathology, arXiv:2502.00408"
)
_MEDICO_SAM = (
    "Archit et al. 2025, MedicoSAM: Towards foundation models for medical image "
    "segmentation, doi:10.1109/TMI.2025.3644811"
)
_MEDSAM = "Ma et al. 2024, Segment anything in medical images, Nature Communications"
_CELLSAM = (
    "Israel et al. 2023, A Foundation Model for Cell Segmentation, "
    "doi:10.1101/2023.11.17.567630"
)

_ZOO = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_CLOUD = "https://owncloud.gwdg.de/index.php/s"
_MICRO_SAM_PAGE = (
    "https://computational-cell-analytics.github.io/micro-sam/micro_sam.html"
    "#finetuned-models"
)


def _micro_sam(
    name: str,
    url: str,
    xxh128: str,
    trained_for: str,
    *,
    citation: str = _MICRO_SAM,
    homepage: str = _MICRO_SAM_PAGE,
) -> ModelRow:
    """Return a row for micro-sam's weights, whose licence is unconfirmed."""
    architecture = name[: len("vit_x")]
    if architecture == "vit_t":
        citation = f"{citation}; {MOBILE_SAM_CITATION}"
    return ModelRow(
        name=name,
        architecture=architecture,
        url=url,
        bytes=None,
        hash=f"xxh128:{xxh128}",
        licence=None,
        citation=f"{citation}; {SAM_CITATION}",
        trained_for=trained_for,
        instructions=(
            "The licence of these weights could not be confirmed (micro-sam's own "
            "exporter writes CC-BY-4.0, a mirror says that none is stated), so they "
            f"are not fetched for you. Read the terms at {homepage}, download {url} "
            f"with a browser and save the file as {name}.pt."
        ),
        filename=f"{name}.pt",
        homepage=homepage,
    )


_LM = "light microscopy: cells and nuclei, many modalities"
_EM = "electron microscopy: mitochondria, nuclei and other roundish organelles"
_HISTOLOGY = "histopathology: nuclei"

MICROSCOPY_ROWS: tuple[ModelRow, ...] = (
    _micro_sam(
        "vit_t_lm",
        f"{_ZOO}/faithful-chicken/1.1/files/vit_t.pt",
        "72ec5074774761a6e5c05a08942f981e",
        _LM,
    ),
    _micro_sam(
        "vit_b_lm",
        f"{_ZOO}/diplomatic-bug/1.2/files/vit_b.pt",
        "fe9252a29f3f4ea53c15a06de471e186",
        _LM,
    ),
    _micro_sam(
        "vit_l_lm",
        f"{_ZOO}/idealistic-rat/1.2/files/vit_l.pt",
        "017f20677997d628426dec80a8018f9d",
        _LM,
    ),
    _micro_sam(
        "vit_t_em_organelles",
        f"{_ZOO}/greedy-whale/1/files/vit_t.pt",
        "253474720c497cce605e57c9b1d18fd9",
        _EM,
    ),
    _micro_sam(
        "vit_b_em_organelles",
        f"{_ZOO}/noisy-ox/1.2/files/vit_b.pt",
        "f3bf2ed83d691456bae2c3f9a05fb438",
        _EM,
    ),
    _micro_sam(
        "vit_l_em_organelles",
        f"{_ZOO}/humorous-crab/1.2/files/vit_l.pt",
        "810b084b6e51acdbf760a993d8619f2d",
        _EM,
    ),
    _micro_sam(
        "vit_b_histopathology",
        f"{_CLOUD}/sBB4H8CTmIoBZsQ/download",
        "ffd1a2cd84570458b257bd95fdd8f974",
        _HISTOLOGY,
        citation=_PATHO_SAM,
        homepage="https://github.com/computational-cell-analytics/patho-sam",
    ),
    _micro_sam(
        "vit_l_histopathology",
        f"{_CLOUD}/IZgnn1cpBq2PHod/download",
        "b591833c89754271023e901281dee3f2",
        _HISTOLOGY,
        citation=_PATHO_SAM,
        homepage="https://github.com/computational-cell-analytics/patho-sam",
    ),
    _micro_sam(
        "vit_h_histopathology",
        f"{_CLOUD}/L7AcvVz7DoWJ2RZ/download",
        "bd1856dafc156a43fb3aa705f1a6e92e",
        _HISTOLOGY,
        citation=_PATHO_SAM,
        homepage="https://github.com/computational-cell-analytics/patho-sam",
    ),
    _micro_sam(
        "vit_b_medical_imaging",
        f"{_CLOUD}/f5Ol4FrjPQWfjUF/download",
        "40169f1e3c03a4b67bff58249c176d92",
        "medical images: X-ray, CT, MRI, ultrasound and others",
        citation=_MEDICO_SAM,
        homepage="https://github.com/computational-cell-analytics/medico-sam",
    ),
    ModelRow(
        name="medsam_vit_b",
        architecture="vit_b",
        url="https://drive.google.com/drive/folders/1ETWmi4AiniJeWOt6HAsYgTjYv_fkgzoN",
        bytes=None,
        hash=None,
        licence="Apache-2.0",
        citation=f"{_MEDSAM}; {SAM_CITATION}",
        trained_for="medical images, box prompts only",
        instructions=(
            "No hash of this file is published, so it is not fetched for you. Open "
            "https://drive.google.com/drive/folders/1ETWmi4AiniJeWOt6HAsYgTjYv_fkgzoN, "
            "download medsam_vit_b.pth and compare its size (about 375 MB). MedSAM was "
            "trained with another image preparation (cubic resize to 1024 x 1024 "
            "without padding, no mean and deviation), which is not applied here: "
            "expect other results than the authors report."
        ),
        filename="medsam_vit_b.pth",
        homepage="https://github.com/bowang-lab/MedSAM",
    ),
    ModelRow(
        name="cellsam",
        architecture="vit_b",
        url="https://users.deepcell.org",
        bytes=None,
        hash=None,
        licence="modified Apache-2.0, non-commercial academic use only",
        citation=f"{_CELLSAM}; {SAM_CITATION}",
        trained_for="cells, many modalities",
        instructions=(
            "For non-commercial academic use only. Make an account and an access token "
            "at https://users.deepcell.org and download cellsam-models_v1.2.tar.gz "
            "(md5 f41e6899c49fc8ce12f77a8d25594604). The archive holds a SAM ViT-B "
            "joined to a detector; only the SAM part, saved as a plain state dict "
            "named cellsam_vit_b.pth, can be loaded here."
        ),
        filename="cellsam_vit_b.pth",
        homepage="https://github.com/vanvalenlab/cellSAM",
    ),
)
"""Fine-tuned weights, by domain."""
