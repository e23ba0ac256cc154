"""Every backbone of KerasHub with a few small layers, made offline and at random."""

import inspect

import keras_hub.models as hub

from tests.campaigns.hub_sizes import HGNET, RESNET, SMALL, SPECIAL

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
