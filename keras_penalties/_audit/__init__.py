"""What each penalty of a model does in one training step."""

from keras_penalties._audit.api import audit as audit
from keras_penalties._audit.report import Audit as Audit
