"""The list of all private parts of Keras, or of a backend, that this package uses.

`tests/keras/test_private_parts.py` looks up each of them in the installed release, and searches the code of
this package for others.
"""

from keras_penalties._keras.private_part import PrivatePart
from keras_penalties._keras.private_part import parts as _parts

_LAYER = "keras.src.layers.layer.Layer"
_TRAINER = "keras.src.trainers.trainer.Trainer"
_FUNCTIONAL = "keras.src.models.functional.Functional"
_SCOPE = "keras.src.backend.common.stateless_scope"
_STATE = "keras.src.backend.common.global_state"

PARTS: tuple[PrivatePart, ...] = (
    # Methods that this package overrides and Keras calls.
    *_parts(
        _LAYER,
        "report what a penalty adds to the loss, or the logs would show 0",
        _get_own_losses="hooks",
        _clear_losses="hooks",
    ),
    *_parts(
        _LAYER,
        "list the layers within a layer, and hide penalties where Keras quantizes",
        _flatten_layers="hooks layers",
    ),
    *_parts(
        _TRAINER,
        "add penalties to the compiled loss in float32, and divided by the number of replicas",
        _aggregate_additional_loss="hooks",
    ),
    *_parts(
        "keras.src.backend.jax.trainer.JAXTrainer",
        "restore the weights of a model after an error in a step on JAX",
        _make_function="hooks",
    ),
    *_parts(
        "keras.src.saving.keras_saveable.KerasSaveable",
        "write the weights of a HiddenOutputs to files as its model does",
        _obj_type="saving",
    ),
    *_parts(
        "keras.src.saving.keras_saveable",
        "write the weights of a HiddenOutputs to files as its model does",
        KerasSaveable="saving",
    ),
    *_parts(
        "keras.src.backend.tensorflow.layer.TFLayer",
        "export a HiddenOutputs with the types of its inputs",
        _default_save_signature="graphs",
    ),
    # Layers.
    *_parts(
        _LAYER,
        "keep the losses of one step and of one layer apart",
        _losses="copies",
        _loss_ids="copies hooks",
        _losses_override="copies hooks step_errors steps",
    ),
    *_parts(
        _LAYER,
        "copy a layer around the same weights, and list what a layer contains",
        _tracker="copies layers",
        _layers="copies hooks layers",
        _trainable_variables="copies layers",
        _non_trainable_variables="copies layers",
        _metrics="copies trainers",
        _seed_generators="copies layers",
    ),
    *_parts(
        "keras.src.backend.tensorflow.layer.TFLayer",
        "copy a layer around the same weights",
        _tracked="copies",
    ),
    *_parts(
        _LAYER,
        "copy a layer without the graph that it is part of, and find what the layer is called on",
        _call_signature="copies",
        _inbound_nodes="copies graphs",
        _outbound_nodes="copies",
    ),
    *_parts(
        "keras.src.backend.torch.layer.TorchLayer",
        "copy a layer around the same weights",
        _torch_params="copies",
    ),
    *_parts(
        "torch.nn.Module",
        "copy a layer around the same weights",
        _modules="copies",
        _parameters="copies",
        _buffers="copies",
        _non_persistent_buffers_set="copies",
    ),
    *_parts(_LAYER, "finish the copy of a built layer", _post_build="copies"),
    *_parts(_LAYER, "freeze a model without freezing its layers", _trainable="layers"),
    *_parts(_LAYER, "see which layers are rematerialized", _remat_mode="layers"),
    *_parts(_LAYER, "run a step as `fit` does", _call_has_training_arg="layers"),
    *_parts(_LAYER, "export a HiddenOutputs that was never called", _called="graphs"),
    *_parts(
        "keras.src.layers.attention.multi_head_attention.MultiHeadAttention",
        "find and strip the penalty that attention passes to its parts",
        _activity_regularizer="layers",
    ),
    *_parts(
        "keras.src.utils.tracking.Tracker",
        "change what a layer contains",
        _lock_violation_msg="copies",
        config="copies",
        stored_ids="copies",
        locked="copies layers",
        lock="copies layers",
        unlock="layers",
        untrack="layers",
    ),
    *_parts(
        "keras.src.utils.tracking",
        "compile a copy like the original model",
        DotNotTrackScope="copies metrics",
    ),
    *_parts(
        "keras.src.utils.python_utils",
        "know whether a layer creates its sublayers in `build`",
        is_default="layers",
    ),
    # Graphs of layers.
    *_parts("keras.src.models.functional", "recognize a graph of layers", Functional="graphs"),
    *_parts(
        "keras.src.models.functional",
        "know what `clone_model` makes of a model",
        functional_like_constructor="clones",
    ),
    *_parts(
        _FUNCTIONAL,
        "read a graph of layers, and rebuild it",
        _run_through_graph="clones",
        _nodes_by_depth="graphs",
    ),
    *_parts(
        "keras.src.models.sequential.Sequential",
        "read the graph of a Sequential model",
        _functional="copies graphs",
    ),
    *_parts("keras.src.backend.KerasTensor", "know which layer computes a tensor", _keras_history="graphs"),
    # Training.
    *_parts("keras.src.trainers.trainer", "know who runs a layer", Trainer="trainers"),
    *_parts(
        _TRAINER,
        "take a training step as `fit` does, and read the names in the logs",
        _compile_loss="steps",
        _compile_metrics="metrics steps trainers",
        _compute_loss="step_errors steps",
        _symbolic_build="steps",
    ),
    *_parts(
        "keras.src.models.model.Model",
        "copy a model without what `compile` has set",
        _compile_config="copies",
    ),
    *_parts(
        _TRAINER,
        "copy a model without what `compile` has set",
        since="3.15",
        _compiled_trainable_state="copies",
    ),
    *_parts(
        "keras.src.trainers.compile_utils.CompileMetrics",
        "give a penalty a name in the logs that no metric has",
        _flat_metrics="metrics trainers",
        _flat_weighted_metrics="metrics trainers",
    ),
    *_parts(
        "keras.src.trainers.compile_utils",
        "measure hidden tensors as Keras measures outputs",
        CompileMetrics="metrics",
    ),
    *_parts(
        "keras.src.trainers.compile_utils",
        'show `EarlyStopping(mode="auto")` which direction is better',
        MetricsList="trainers",
    ),
    *_parts(
        "keras.src.backend.jax.trainer.JAXTrainer",
        "restore the weights of a model after an error in a step on JAX",
        _jax_state_synced="step_errors",
    ),
    *_parts(
        "keras.src.losses.loss",
        "weight and average a hidden loss as Keras does the loss of an output",
        reduce_weighted_values="losses",
        squeeze_or_expand_to_same_rank="losses",
    ),
    *_parts("keras.src.losses.losses", "know which function a loss is made of", LossFunctionWrapper="losses"),
    *_parts(
        "keras.src.losses.losses.LossFunctionWrapper",
        "know which function a loss is made of",
        _fn_kwargs="losses",
    ),
    *_parts("keras.src.losses.loss.Loss", "save the dtype", _dtype_policy="losses"),
    *_parts("keras.src.backend", "read the mask of a tensor", get_keras_mask="masks", set_keras_mask="masks"),
    # Scopes, state and files.
    *_parts(
        "keras.src.backend",
        "know the shapes of hidden tensors before a step runs",
        compute_output_spec="scopes",
    ),
    *_parts(_SCOPE, "recognize a step on JAX", in_stateless_scope="scopes", get_stateless_scope="scopes"),
    *_parts(
        "keras.src.backend.common.symbolic_scope",
        "know that Keras only infers shapes",
        in_symbolic_scope="scopes",
    ),
    *_parts(_STATE, "restore what a step changes, for `audit`", GLOBAL_STATE_TRACKER="snapshots"),
    *_parts(
        _STATE,
        "refuse files in legacy HDF5, and know that a layer trains",
        get_global_attribute="layers saving",
    ),
    *_parts(
        "keras.src.backend.common.variables.KerasVariable",
        "restore what a step changes, for `audit`",
        _value="snapshots",
    ),
    *_parts(
        "keras.src.saving.serialization_lib",
        "load a layer that a file contains twice as one layer",
        ObjectSharingScope="layers",
    ),
    *_parts(
        "keras.src.saving.object_registration",
        "save a penalized model under a name that loads again",
        GLOBAL_CUSTOM_NAMES="saving",
    ),
    *_parts(
        "keras.src.backend.torch", "load an optimizer that was saved on PyTorch", optimizers="optimizers"
    ),
    # Backends.
    *_parts(
        "tensorflow.python.pywrap_tfe",
        "see whether gradients are recorded",
        TFE_Py_TapeSetIsStopped="places",
    ),
    *_parts(
        "tensorflow.python.ops.cond_v2",
        "compute in a condition what replicas exchange outside of it",
        _CondGradFuncGraph="tensorflow_replicas",
    ),
    *_parts(
        "tensorflow.python.ops.control_flow_v2_func_graphs",
        "compute in a condition what replicas exchange outside of it",
        CondBranchFuncGraph="tensorflow_replicas",
    ),
    *_parts(
        "keras.src.backend.tensorflow.nn",
        "take second derivatives of normalization layers",
        _compute_moments="recordings",
    ),
    *_parts(
        "keras.src.backend.tensorflow", "take second derivatives of normalization layers", nn="recordings"
    ),
    *_parts(
        "jax.interpreters.partial_eval",
        "see whether one tensor depends on another",
        dce_jaxpr="recordings",
    ),
    *_parts("jax._src.core", "recognize a compiled step", trace_ctx="scopes"),
    *_parts("jax.core.Tracer", "recognize a compiled step", _trace="scopes"),
    *_parts(
        "jax._src.interpreters.partial_eval",
        "see what JAX traces separately",
        trace_to_jaxpr_dynamic="places",
    ),
    *_parts("torch._C", "see whether gradients are being computed", _current_graph_task_id="places"),
    *_parts("torch._C._autograd", "see what is rematerialized", _top_saved_tensors_default_hooks="places"),
    *_parts(
        "torch._C._functorch", "see whether `torch.func` traces the code", peek_interpreter_stack="scopes"
    ),
    *_parts(
        "numpy.random.RandomState",
        "restore the random generators that a step moves, for `audit`",
        _bit_generator="snapshots",
    ),
)
