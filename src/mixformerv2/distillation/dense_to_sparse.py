"""Dense to sparse (section 3.2.1): a dense head's maps as soft labels for four tokens.

The teacher's corner maps become distributions of the four sides (eq. 4, `models.corners`), are
resampled to the student's bins, and teach its prediction tokens (eq. 5).
"""

from __future__ import annotations

from ..models.corners import corner_marginals
from .distill import DistillStage
from .sides import resample_sides

__all__ = ["DenseToSparseStage", "corner_marginals", "resample_sides"]


class DenseToSparseStage(DistillStage):
    """A student with prediction tokens learns from a teacher's dense head (eq. 3 to 5, and 10).

    A MixViT teacher has nothing but dense heads; of a MixFormerV2 teacher the dense head of its
    own training is asked where it has one.
    """

    prefers_dense = True
