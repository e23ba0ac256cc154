"""No class is exported that is not checked by the contract."""

import types

import keras_penalties as kp
from tests.contracts import BASES, PENALTIES, not_under_contract
from tests.contracts_layers import LAYERS, OTHER_LAYERS
from tests.contracts_pairs import SEVERAL_TENSORS


def test_every_penalty_has_a_case():
    assert not_under_contract(kp.regularizers, [*PENALTIES, *SEVERAL_TENSORS], BASES) == set()


def test_every_layer_has_a_case():
    assert not_under_contract(kp.layers, LAYERS, OTHER_LAYERS) == set()


def test_every_base_is_checked_by_a_subclass():
    exported = {getattr(kp.regularizers, name) for name in kp.regularizers.__all__}
    own = [case.cls for case in PENALTIES if case.cls not in exported]
    for base in BASES & exported:
        assert any(issubclass(cls, base) for cls in own), base.__name__


def test_a_class_without_a_case_is_noticed():
    class Forgotten(kp.regularizers.L2):
        pass

    namespace = types.SimpleNamespace(__all__=["Forgotten", "L1"], Forgotten=Forgotten, L1=kp.regularizers.L1)
    assert not_under_contract(namespace, PENALTIES) == {"Forgotten"}
