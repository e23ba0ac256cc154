"""Bad input to penalties and layers: refused where it is made, with what was expected and what came."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import tensor

L2, DeCov, KL = kp.regularizers.L2, kp.regularizers.DeCov, kp.regularizers.KLSparsity
Penalize = kp.layers.ActivityPenalty


def refused(error, words):
    return pytest.raises(error, match=f"(?s){words}")


class TestArguments:
    """When the penalty is made."""

    @pytest.mark.parametrize("cls", [kp.regularizers.L1, L2, kp.regularizers.L1L2])
    def test_per(self, cls):
        for bad in ("batch", None, 1, True):
            with refused(
                ValueError, rf"`per` of {cls.__name__} must be one of 'example', 'element'\. Received: per="
            ):
                cls(0.1, per=bad)

    def test_axis(self):
        for cls in (DeCov, KL):
            for bad in ("-1", 1.0, None, True, (1,)):
                with refused(TypeError, rf"`axis` of {cls.__name__} must be an int.*Received: "):
                    cls(0.1, axis=bad)
            with refused(
                ValueError, rf"`axis` of {cls.__name__} must come after the batch.*Received: axis=0"
            ):
                cls(0.1, axis=0)

    def test_target(self):
        for bad in (0.0, 1.0, -0.1, 2, float("nan")):
            with refused(
                ValueError, r"`target` of KLSparsity must be a finite number > 0 and < 1\. Received: target="
            ):
                KL(0.1, target=bad)
        with refused(TypeError, r"`target` of KLSparsity must be a finite number.*of type str"):
            KL(0.1, target="low")

    def test_axes_of_groups(self):
        Group = kp.regularizers.GroupLasso
        for bad in ("-1", 1.0, None, True, (), (1, 2.0)):
            with refused(
                TypeError, r"`axis` of GroupLasso must be an int or a tuple of ints.*Received: axis="
            ):
                Group(0.1, axis=bad)
        for bad in (0, (1, 0)):
            with refused(ValueError, r"`axis` of GroupLasso must not name the batch.*Received: axis="):
                Group(0.1, axis=bad)
        for bad in (3, (1, -2), (1, 1), -3):
            with refused(ValueError, r"each once\. Received: axis=.* for `x` of shape \(4, 3, 2\)"):
                Group(0.1, axis=bad).measure(np.ones((4, 3, 2)))

    def test_top_k(self):
        Balance = kp.regularizers.LoadBalance
        for bad in (1.0, "1", None, True):
            with refused(TypeError, r"`top_k` of LoadBalance must be an int\. Received: top_k="):
                Balance(0.1, top_k=bad)
        for bad in (0, -1):
            with refused(ValueError, r"`top_k` of LoadBalance must be at least 1\. Received: top_k="):
                Balance(0.1, top_k=bad)
        with refused(ValueError, r"no more than the number of experts.*top_k=4 for `x` of shape \(2, 3\)"):
            Balance(0.1, top_k=4).measure(np.ones((2, 3)))

    @pytest.mark.parametrize("name", ["Entropy", "Confidence", "LoadBalance"])
    def test_logits_in_place_of_probabilities(self, name):
        for bad in (-0.5, 1.5):
            with refused(
                ValueError, rf"`x` of {name} must be between 0 and 1.*{bad:g}.*set `from_logits=True`"
            ):
                getattr(kp.regularizers, name)(0.1, from_logits=False).measure([[bad, 0.5]])

    def test_what_nothing_knows(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'gamma'"):
            L2(0.1, gamma=2)
        with pytest.raises(TypeError, match="strength"):
            L2()


class TestTensors:
    """When something is measured, or a layer is called with a symbolic tensor."""

    WAYS = pytest.mark.parametrize("way", ["measure", "layer", "symbolic"])

    @staticmethod
    def use(way, penalty, x, mask=None):
        if way == "measure":
            return penalty.measure(x, mask)
        layer = Penalize(penalty, name="pressed")
        if way == "layer":
            return layer(tensor(x), mask=mask)
        dtype = keras.backend.standardize_dtype(x.dtype)
        symbol = keras.KerasTensor((None, *x.shape[1:]) if x.ndim else (), dtype=dtype)
        mask = None if mask is None else keras.KerasTensor((None, *mask.shape[1:]), dtype="bool")
        return layer(symbol, mask=mask)

    @WAYS
    @pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
    def test_integers(self, way, dtype):
        for penalty in (L2(0.1), DeCov(0.1)):
            with refused(
                TypeError,
                rf"`x` of {type(penalty).__name__} must be a tensor of floats.*{dtype}.*ops\.cast\(x",
            ):
                self.use(way, penalty, np.ones((3, 2), dtype))

    @pytest.mark.parametrize("way", ["layer", "symbolic"])
    def test_integers_before_a_penalty_of_keras(self, way):
        with refused(TypeError, r"`x` of L2 must be a tensor of floats.*int32"):
            self.use(way, keras.regularizers.L2(0.1), np.ones((3, 2), "int32"))

    @WAYS
    def test_a_scalar(self, way):
        for penalty in (L2(0.1), DeCov(0.1)):
            words = rf"`x` of {type(penalty).__name__} must have at least rank 1.*Received a scalar"
            with refused(ValueError, words):
                self.use(way, penalty, np.float32(1.0).reshape(()))

    @WAYS
    @pytest.mark.parametrize("axis", [2, -2, -3, 7])
    def test_an_axis_that_is_not_there(self, way, axis):
        words = (
            rf"`axis` of DeCov must name an axis of `x` after the batch.*axis={axis} .*, 3\).*Expected one"
        )
        with refused(ValueError, words):
            self.use(way, DeCov(0.1, axis=axis), np.ones((4, 3), "float32"))

    @WAYS
    @pytest.mark.parametrize("shape", [(4, 6), (4, 5, 3), (4, 5, 2), (4, 5, 3, 1)], ids=str)
    def test_a_mask_of_another_shape(self, way, shape):
        x, mask = np.ones((4, 5, 3), "float32"), np.ones(shape, bool)
        for penalty in (DeCov(0.1),) if shape == x.shape else (L2(0.1), DeCov(0.1)):  # L2 masks elements
            words = rf"`mask` of {type(penalty).__name__} must have .*prefix.*, 5\).*Received a mask of shape"
            if shape == x.shape:
                words = "`mask` of DeCov drops single features of a row, and DeCov describes whole rows"
            with refused(ValueError, words):
                self.use(way, penalty, x, mask)

    @pytest.mark.parametrize("way", ["measure", "layer"])
    def test_a_mask_of_another_batch(self, way):
        for shape in ((3,), (5,), (5, 4), ()):
            with refused(
                ValueError, r"`mask` of L2 must have .*prefix.*\(4,\) or \(4, 5\).*Received a mask of shape"
            ):
                self.use(way, L2(0.1), np.ones((4, 5, 3), "float32"), np.ones(shape, bool))

    def test_a_mask_of_another_shape_with_the_features_elsewhere(self):
        x = np.ones((4, 5, 3), "float32")
        DeCov(0.1, axis=1).measure(x, np.ones((4, 3), bool))
        with refused(
            ValueError, r"`mask` of DeCov must have .*\(4,\) or \(4, 3\).*Received a mask of shape \(4, 5\)"
        ):
            DeCov(0.1, axis=1).measure(x, np.ones((4, 5), bool))

    def test_several_where_one_is_measured(self):
        with refused(ValueError, r"L2 measures one tensor\. Received a list of 2"):
            L2(0.1).measure([np.ones((3, 2), "float32")] * 2)

    def test_as_an_argument_at_the_first_real_call(self):
        """Keras shows an `activity_regularizer` nothing symbolic."""
        layer = keras.layers.Embedding(4, 3, activity_regularizer=DeCov(0.1, axis=5))
        with refused(ValueError, r"`axis` of DeCov must name an axis"):
            layer(np.array([[0, 1]]))


class TestLayers:
    """When an ActivityPenalty is made."""

    @pytest.mark.parametrize(
        "bad", [lambda x: x, np.sum, 0.1, None, [lambda x: x], [L2(0.1), None], [[L2(0.1)]]]
    )
    def test_not_a_penalty(self, bad):
        words = (
            r"`penalty` of ActivityPenalty must be a penalty of `keras_penalties.regularizers`.*Received: "
        )
        with refused(TypeError, words):
            Penalize(bad)

    def test_a_lambda_says_why_and_what_to_do(self):
        with refused(TypeError, r"of type function.*lambda cannot be saved.*write a subclass of"):
            Penalize(lambda x: 0.0)

    @pytest.mark.parametrize("bad", [L2, [L2(0.1), DeCov], keras.regularizers.L2])
    def test_a_class(self, bad):
        cls = bad[1] if isinstance(bad, list) else bad
        words = rf"`penalty` of ActivityPenalty must be a penalty, not its class\. Received: {cls.__name__}\."
        with refused(TypeError, words):
            Penalize(bad)

    @pytest.mark.parametrize("empty", [[], ()])
    def test_an_empty_list(self, empty):
        with refused(
            ValueError, r"`penalty` of ActivityPenalty must contain at least one penalty\. Received: \[\]"
        ):
            Penalize(empty)

    def test_a_name_that_keras_does_not_know(self):
        with refused((ValueError, TypeError), "l7"):
            Penalize("l7")

    def test_without_a_penalty(self):
        with pytest.raises(TypeError, match="penalty"):
            Penalize()
