"""Every backbone of KerasHub with a few small layers, made offline and at random."""

import inspect

import keras_hub.models as hub

# What an argument of that name gets, where a class asks for it and nothing else is said below.
SMALL = {
    "vocabulary_size": 50,
    "vocab_size": 50,
    "num_layers": 2,
    "num_layers_enc": 1,
    "num_layers_dec": 1,
    "encoder_num_layers": 1,
    "decoder_num_layers": 1,
    "num_hidden_layers": 2,
    "num_heads": 2,
    "num_attention_heads": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "encoder_num_heads": 2,
    "decoder_num_heads": 2,
    "head_dim": 8,
    "hidden_dim": 16,
    "embedding_dim": 16,
    "embed_dim": 8,
    "hidden_size": 16,
    "intermediate_dim": 32,
    "intermediate_size": 32,
    "moe_intermediate_dim": 16,
    "shared_expert_intermediate_dim": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 2,
    "top_k": 1,
    "num_experts_per_token": 1,
    "mlp_dim": 32,
    "filter_dim": 16,
    "patch_size": 4,
    "image_size": 16,
    "image_shape": (32, 32, 3),
    "max_sequence_length": 16,
    "max_position_embeddings": 32,
    "dropout": 0.0,
}


# Those that have a default which is large, or which drops out.
SIZES = ("image_shape", "max_sequence_length", "top_k", "num_experts_per_token", "dropout")


def discover() -> list:
    """The classes of backbones that KerasHub has, by name."""
    base = hub.Backbone
    found = {c for c in vars(hub).values() if isinstance(c, type) and issubclass(c, base) and c is not base}
    return sorted((c for c in found if c.__name__ != "FeaturePyramidBackbone"), key=lambda c: c.__name__)


def small(cls):
    """A small backbone of class `cls`."""
    if cls.__name__ in BUILT:
        return BUILT[cls.__name__]()
    given = dict(SPECIAL.get(cls.__name__, {}))
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        needed = parameter.default is parameter.empty or name in SIZES
        if needed and name in SMALL and name not in given:
            given[name] = SMALL[name]
    return cls(**given)


RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 16, 16, 32],
    "stackwise_num_blocks": [1, 1, 1, 1],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
}
MIT = {
    "num_layers": 2,
    "hidden_dims": [8, 16],
    "layerwise_depths": [1, 1],
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [2, 1],
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
    "max_drop_path_rate": 0.0,
}
HGNET = {
    "depths": [1, 1],
    "embedding_size": 8,
    "hidden_sizes": [16, 32],
    "stem_channels": [3, 8, 8],
    "hidden_act": "relu",
    "use_learnable_affine_block": True,
    "stackwise_stage_filters": [(8, 8, 16, 1, 1, 3), (16, 8, 32, 1, 1, 3)],
    "apply_downsample": [False, True],
    "use_lightweight_conv_block": [False, True],
}
T5GEMMA = {
    f"{part}_{name}": value
    for part in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "num_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "layer_types": ["full_attention"],
    }.items()
}

# What the signature does not say.
SPECIAL = {
    "CSPNetBackbone": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 1],
        "stackwise_strides": [1, 2],
        "stackwise_num_filters": [8, 16],
        "stage_type": "dark",
        "block_type": "dark_block",
    },
    "DenseNetBackbone": {"stackwise_num_repeats": [1, 1], "growth_rate": 4},
    "EfficientNetBackbone": {
        "stackwise_width_coefficients": [1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0],
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [8, 8],
        "stackwise_output_filters": [8, 16],
        "stackwise_expansion_ratios": [1, 2],
        "stackwise_squeeze_and_excite_ratios": [0.0, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["fused", "unfused"],
        "stackwise_force_input_filters": [0, 0],
        "stackwise_nores_option": [False, False],
        "num_features": 16,
        "input_shape": (32, 32, 3),
    },
    "FluxBackbone": {
        "input_channels": 8,
        "hidden_size": 16,
        "mlp_ratio": 2.0,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [2, 2, 4],
        "theta": 10_000,
        "use_bias": True,
        "image_shape": (4, 8),
        "text_shape": (4, 8),
        "image_ids_shape": (4, 3),
        "text_ids_shape": (4, 3),
        "y_shape": (8,),
    },
    "Gemma3nBackbone": {
        "text_vocab_size": 50,
        "text_hidden_size": 8,
        "num_hidden_layers": 1,
        "pad_token_id": 0,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": [16],
        "hidden_activation": "gelu_approximate",
        "layer_types": ["full_attention"],
        "sliding_window": 4,
        "rope_theta": 10000.0,
        "max_position_embeddings": 16,
        "vocab_size_per_layer_input": 50,
        "hidden_size_per_layer_input": 2,
        "altup_num_inputs": 2,
        "laurel_rank": 1,
    },
    "HGNetV2Backbone": HGNET,
    "MiTBackbone": MIT,
    "MobileNetBackbone": {
        "stackwise_expansion": [[8], [16]],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_filters": [[8], [8]],
        "stackwise_kernel_size": [[3], [5]],
        "stackwise_num_strides": [[2], [1]],
        "stackwise_se_ratio": [[None], [0.25]],
        "stackwise_activation": [["relu"], ["hard_swish"]],
        "stackwise_padding": [[1], [2]],
        "output_num_filters": 16,
        "input_activation": "hard_swish",
        "output_activation": "hard_swish",
        "input_num_filters": 8,
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "last_layer_filter": 16,
        "squeeze_and_excite": 0.5,
    },
    "MobileNetV5Backbone": {
        "stackwise_block_types": [["er"], ["uir", "uir"]],
        "stackwise_num_blocks": [1, 2],
        "stackwise_num_filters": [[8], [16, 16]],
        "stackwise_strides": [[2], [2, 1]],
        "stackwise_act_layers": [["relu"], ["relu", "relu"]],
        "stackwise_exp_ratios": [[2.0], [2.0, 2.0]],
        "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
        "stackwise_dw_kernel_sizes": [[0], [5, 5]],
        "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
        "stackwise_exp_kernel_sizes": [[3], [0, 0]],
        "stackwise_pw_kernel_sizes": [[1], [0, 0]],
        "stackwise_num_heads": [[0], [0, 0]],
        "stackwise_key_dims": [[0], [0, 0]],
        "stackwise_value_dims": [[0], [0, 0]],
        "stackwise_kv_strides": [[0], [0, 0]],
        "stackwise_use_cpe": [[False], [False, False]],
        "use_msfa": False,
        "num_features": 16,
    },
    "PaliGemmaBackbone": {
        "vit_patch_size": 4,
        "vit_num_heads": 2,
        "vit_hidden_dim": 16,
        "vit_intermediate_dim": 16,
        "vit_num_layers": 1,
    },
    "RWKV7Backbone": {
        "head_size": 8,
        "gate_lora": 4,
        "mv_lora": 4,
        "aaa_lora": 4,
        "decay_lora": 4,
    },
    "ResNetBackbone": RESNET,
    "RoformerV2Backbone": {"head_size": 8},
    "SmolLM3Backbone": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_layer_enabled_list": [True, True],
        "layer_types": ["attention", "attention"],
        "mlp_bias": False,
        "layer_norm_epsilon": 1e-5,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    },
    "SigLIPTextEncoder": {"max_sequence_length": 8},  # as many as the batch has
    "SwinTransformerBackbone": {"depths": (1, 1), "num_heads": (1, 2), "window_size": 4},
    "T5Gemma2Backbone": T5GEMMA,
    "T5GemmaBackbone": T5GEMMA,
    "VGGBackbone": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 16]},
    "ViTDetBackbone": {
        "global_attention_layer_indices": [1],
        "num_output_channels": 8,
        "window_size": 2,
        "patch_size": 4,
    },
    "VideoPrismBackbone": {
        "num_frames": 2,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 0,
        "patch_size": 8,
    },
    "XceptionBackbone": {"stackwise_conv_filters": [[8, 8], [16, 16]], "stackwise_pooling": [True, False]},
}


def _two_towers(name, **more):
    def build():
        towers = {
            f"{part.lower()}_encoder": small(getattr(hub, f"{name}{part}Encoder"))
            for part in ("Vision", "Text")
        }
        return getattr(hub, f"{name}Backbone")(**towers, **more)

    return build


def _on_images(name, encoder=("ResNetBackbone", {}), **more):
    def build():
        cls, options = getattr(hub, encoder[0]), encoder[1]
        sizes = {"image_shape": (32, 32, 3), **SPECIAL.get(encoder[0], {}), **options}
        return getattr(hub, name)(image_encoder=cls(**sizes), **more)

    return build


def _basnet():
    widths = {"stackwise_num_filters": [64, 128, 256, 512], "input_conv_filters": [64]}
    encoder = hub.ResNetBackbone(**{**RESNET, **widths})
    return hub.BASNetBackbone(encoder, num_classes=1, image_shape=(32, 32, 3), projection_filters=64)


def _blip2():
    language_model = small(hub.OPTBackbone)
    return hub.BLIP2Backbone(vision_encoder=None, qformer=None, language_model=language_model)


def _dfine():
    return hub.DFineBackbone(
        backbone=hub.HGNetV2Backbone(
            **{
                **HGNET,
                "depths": [1, 1, 1, 1],
                "hidden_sizes": [16, 16, 32, 32],
                "stackwise_stage_filters": [
                    (8, 8, 16, 1, 1, 3),
                    (16, 8, 16, 1, 1, 3),
                    (16, 8, 32, 1, 1, 3),
                    (32, 8, 32, 1, 1, 3),
                ],
                "apply_downsample": [False, True, True, True],
                "use_lightweight_conv_block": [False, False, True, True],
                "image_shape": (64, 64, 3),
                "out_features": ["stage3", "stage4"],
            }
        ),
        decoder_in_channels=[16, 16],
        encoder_hidden_dim=16,
        num_denoising=0,
        num_labels=4,
        hidden_dim=16,
        learn_initial_query=False,
        num_queries=6,
        anchor_image_size=(64, 64),
        feat_strides=[16, 32],
        num_feature_levels=2,
        encoder_in_channels=[32, 32],
        encode_proj_layers=[1],
        num_attention_heads=2,
        encoder_ffn_dim=16,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=8,
        num_lqe_layers=1,
        out_features=["stage3", "stage4"],
        image_shape=(64, 64, 3),
        seed=0,
    )


def _depth_anything():
    encoder = hub.DINOV2Backbone(
        patch_size=4,
        num_layers=4,
        hidden_dim=16,
        num_heads=2,
        intermediate_dim=32,
        image_shape=(32, 32, 3),
        position_embedding_shape=(32, 32),
    )
    return hub.DepthAnythingBackbone(
        image_encoder=encoder,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[8, 8, 16, 16],
        fusion_hidden_dim=16,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    )


def _sam():
    import keras_hub

    layers = keras_hub.layers
    encoder = hub.ViTDetBackbone(
        hidden_size=16,
        num_layers=2,
        intermediate_dim=16,
        num_heads=2,
        global_attention_layer_indices=[1],
        patch_size=16,
        num_output_channels=8,
        window_size=2,
        image_shape=(64, 64, 3),
    )
    prompt = layers.SAMPromptEncoder(
        hidden_size=8, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_channels=16
    )
    decoder = layers.SAMMaskDecoder(
        num_layers=1,
        hidden_size=8,
        intermediate_dim=16,
        num_heads=2,
        embedding_dim=8,
        num_multimask_outputs=3,
        iou_head_depth=2,
        iou_head_hidden_dim=8,
    )
    return hub.SAMBackbone(image_encoder=encoder, prompt_encoder=prompt, mask_decoder=decoder)


def _sam3():
    import keras_hub

    layers, sizes = keras_hub.layers, {"hidden_dim": 32, "intermediate_dim": 32, "num_heads": 2}
    images = {"image_shape": (56, 56, 3), "patch_size": 14}
    vision = layers.SAM3VisionEncoder(
        **images,
        **sizes,
        num_layers=2,
        fpn_hidden_dim=32,
        fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
        pretrain_image_shape=(28, 28, 3),
        window_size=2,
        global_attn_indexes=[1],
    )
    return hub.SAM3PromptableConceptBackbone(
        vision_encoder=vision,
        text_encoder=layers.SAM3TextEncoder(vocabulary_size=50, embedding_dim=32, num_layers=1, **sizes),
        geometry_encoder=layers.SAM3GeometryEncoder(num_layers=1, roi_size=7, **sizes),
        detr_encoder=layers.SAM3DetrEncoder(num_layers=1, **sizes),
        detr_decoder=layers.SAM3DetrDecoder(**images, **sizes, num_layers=1, num_queries=5),
        mask_decoder=layers.SAM3MaskDecoder(num_upsampling_stages=3, hidden_dim=32, num_heads=2),
    )


def _stable_diffusion():
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    widths, blocks = [32, 32, 32, 32], [1, 1, 1, 1]
    return hub.StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=32,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=16,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=VAEBackbone(widths, blocks, widths, blocks, image_shape=(32, 32, 3), name="vae"),
        clip_l=hub.CLIPTextEncoder(20, 16, 16, 2, 2, 16, "quick_gelu", -2, name="clip_l"),
        clip_g=hub.CLIPTextEncoder(20, 32, 32, 2, 2, 32, "gelu", -2, name="clip_g"),
        image_shape=(32, 32, 3),
    )


# Those that are made of other models.
BUILT = {
    "BASNetBackbone": _basnet,
    "BLIP2Backbone": _blip2,
    "CLIPBackbone": _two_towers("CLIP", projection_dim=8),
    "MetaCLIP2Backbone": _two_towers("MetaCLIP2", projection_dim=8),
    "SigLIPBackbone": _two_towers("SigLIP"),
    "DFineBackbone": _dfine,
    "DeepLabV3Backbone": _on_images(
        "DeepLabV3Backbone",
        projection_filters=8,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[1, 2, 3],
        image_shape=(32, 32, 3),
    ),
    "DepthAnythingBackbone": _depth_anything,
    "PARSeqBackbone": _on_images(
        "PARSeqBackbone",
        (
            "ViTBackbone",
            {
                "patch_size": 4,
                "num_layers": 1,
                "num_heads": 2,
                "hidden_dim": 16,
                "mlp_dim": 16,
                "use_class_token": False,
            },
        ),
        vocabulary_size=20,
        max_label_length=8,
        decoder_hidden_dim=16,
        num_decoder_layers=1,
        num_decoder_heads=2,
        decoder_mlp_dim=16,
    ),
    "RetinaNetBackbone": _on_images(
        "RetinaNetBackbone", min_level=3, max_level=5, use_p5=False, image_shape=(32, 32, 3)
    ),
    "SAMBackbone": _sam,
    "SAM3PromptableConceptBackbone": _sam3,
    "SegFormerBackbone": _on_images("SegFormerBackbone", ("MiTBackbone", {}), projection_filters=8),
    "StableDiffusion3Backbone": _stable_diffusion,
}
