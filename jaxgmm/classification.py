"""Classification with a Gaussian, or a mixture of Gaussians, for each class: discriminant analysis."""

from .fitting.class_validation import cross_validated_error as cross_validated_error
from .fitting.classification import Classifier as Classifier
from .fitting.classification import class_probabilities as class_probabilities
from .fitting.classification import fit_classes as fit_classes
from .fitting.classification import predict_class as predict_class

__all__ = ["Classifier", "class_probabilities", "cross_validated_error", "fit_classes", "predict_class"]
