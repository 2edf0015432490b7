"""The bare encoders: sizes and names of the published files, cuts of VGG-16, and what they are shown."""

import numpy as np
import pytest
import skimage.color
import torch
from torch import nn
from torch.nn import functional

from kinemacolor.colour import grey_rgb, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.models import encoders
from tests.unit import network_checks as checks

# architecture -> parameters, tensors of the published file, a late tensor's name and its shape
PUBLISHED = {
    "vgg16": (14_714_688, 26, "features.28.weight", (512, 512, 3, 3)),
    "vgg16_bn": (14_723_136, 91, "features.41.running_var", (512,)),
    "alexnet": (2_469_696, 10, "features.10.weight", (256, 256, 3, 3)),
    "resnet18": (11_689_512, 122, "layer4.0.downsample.0.weight", (512, 256, 1, 1)),
    "mobilenet_v2": (3_504_872, 314, "features.17.conv.1.0.weight", (960, 1, 3, 3)),
    "efficientnet_lite0": (4_652_008, 296, "_blocks.15._project_conv.weight", (320, 1152, 1, 1)),
    "efficientnet_lite1": (5_416_680, 386, "_blocks.20._project_conv.weight", (320, 1152, 1, 1)),
    "efficientnet_lite2": (6_092_072, 386, "_blocks.20._project_conv.weight", (352, 1248, 1, 1)),
}

# architecture -> mean and standard deviation of the embedding of two grey frames, for seed 0, float32 on a CPU.
GOLDEN = {
    "alexnet": (0.14856707, 0.15829849),
    "resnet18": (0.0000375960, 0.36838338),
    "mobilenet_v2": (0.01930795, 0.78441634),
    "efficientnet_lite0": (0.00277351, 0.70911177),
}


@pytest.mark.parametrize("name", encoders.ARCHITECTURES)
def test_names_and_sizes_are_those_of_the_published_files(name):
    parameters, tensors, late, shape = PUBLISHED[name]
    with torch.device("meta"):
        encoder = encoders.build(name)
        x = torch.empty(1, 3, encoder.side, encoder.side)
        maps, out = encoder.eval().maps(x), encoder(x)
    assert checks.parameters(encoder) == parameters
    assert len(encoder.state_dict()) == tensors and tuple(encoder.state_dict()[late].shape) == shape
    assert encoder.dimension == (1000 if encoder.classes else maps.shape[1])
    assert out.shape == ((1, 1000) if encoder.classes else maps.shape)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_embedding(name):
    torch.manual_seed(0)
    encoder = encoders.frozen(encoders.build(name))
    found = encoder.embed_grey(checks.eight_frames(64)[::4, :1]).double()
    assert found.shape == (2, encoder.dimension)
    assert (float(found.mean()), float(found.std())) == pytest.approx(GOLDEN[name], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("batch_norm", "end", "channels", "side", "parameters"),
    [
        (False, 10, 128, 56, 260_160),
        (False, 16, 256, 56, 1_735_488),
        (False, 17, 256, 28, 1_735_488),
        (False, 23, 512, 28, 7_635_264),
        (False, 24, 512, 14, 7_635_264),
        (False, 30, 512, 14, 14_714_688),
        (True, 24, 256, 28, 1_737_792),
        (True, 33, 512, 28, 7_640_640),
        (True, 34, 512, 14, 7_640_640),
    ],
)
def test_the_cuts_of_vgg16(batch_norm, end, channels, side, parameters):
    """models.md, section 3."""
    with torch.device("meta"):
        features = encoders.vgg16_features(batch_norm=batch_norm)[:end]
        assert features(torch.empty(1, 3, 224, 224)).shape == (1, channels, side, side)
    assert checks.parameters(features) == parameters


def test_grey_input_against_scikit_image():
    lab = np.zeros((1, 5, 3))
    lab[0, :, 0] = [0, 20, 50, 77, 100]
    rgb = skimage.color.lab2rgb(lab)
    expected = (rgb - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = encoders.grey_input(torch.from_numpy(lab[None, ..., 0])[:, None].float())
    assert np.allclose(found[0].permute(1, 2, 0), expected, atol=2e-4)


@pytest.mark.parametrize("name", ["mobilenet_v2", "alexnet", "efficientnet_lite1"])
def test_an_embedding_is_that_of_the_grey_picture_whatever_its_size_and_the_precision(name):
    torch.manual_seed(0)
    encoder = encoders.frozen(encoders.build(name))
    lightness = checks.eight_frames(96)[:2, :1, :, :80]
    found = encoder.embed_grey(lightness)
    near = 1e-4 * float(found.std())
    assert torch.allclose(found, encoder.embed(grey_rgb(lightness)), atol=near)
    assert not torch.allclose(found[0], found[1], atol=0.1 * float(found.std()))
    one = torch.cat([encoder.embed_grey(frame[None]) for frame in lightness])
    assert torch.allclose(found, one, atol=near), "a frame's embedding depends on the frames beside it"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.embed_grey(lightness), found)
    own = functional.interpolate(grey_rgb(lightness), (encoder.side, encoder.side), mode="bilinear", antialias=True)
    x = (own - torch.tensor(encoder.mean)[:, None, None]) / torch.tensor(encoder.std)[:, None, None]
    direct = encoder(x) if encoder.classes else encoder(x).mean(dim=(2, 3))
    assert torch.allclose(found, direct, atol=near)


def test_same_padding_is_tensorflows():
    """On an even side and stride 2 the odd pixel goes to the bottom and right; on an odd side it is shared."""
    conv = encoders.SameConv(1, 1, 3, 2)
    nn.init.ones_(conv.weight)
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., 0, 0] = 1
    assert conv(picture)[0, 0].tolist() == [[1, 0], [0, 0]]
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., 3, 3] = 1
    assert conv(picture)[0, 0].tolist() == [[0, 0], [0, 1]]
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., 2, 2] = 1
    assert conv(picture)[0, 0].tolist() == [[1, 1], [1, 1]]
    for side, size, stride in ((7, 5, 2), (8, 5, 2), (9, 3, 1), (65, 5, 2)):
        assert encoders.SameConv(1, 1, size, stride)(torch.zeros(1, 1, side, side)).shape[-1] == -(-side // stride)


def test_a_summed_stem_gives_one_grey_channel_what_three_gave():
    torch.manual_seed(0)
    rgb, grey = encoders.resnet18_stages(3, stages=1), encoders.resnet18_stages(1, stages=1)
    rgb, grey = nn.Sequential(rgb).eval(), nn.Sequential(grey).eval()
    encoders.load_tensors(grey, rgb.state_dict(), grey_stem="conv1.weight")
    x = torch.randn(1, 1, 32, 32)
    assert torch.allclose(grey(x), rgb(x.expand(-1, 3, -1, -1)), atol=1e-4)


def test_weights_that_do_not_fit_are_named_and_nothing_is_copied():
    encoder = encoders.build("alexnet")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    tensors = {name: torch.zeros_like(value) for name, value in before.items()}
    tensors["features.0.weight"] = torch.zeros(64, 3, 3, 3)
    del tensors["features.10.bias"]
    with pytest.raises(UserError) as caught:
        encoders.load_tensors(encoder, tensors, what="The weights for alexnet")
    sentence = str(caught.value)
    assert sentence.startswith("The weights for alexnet do not fit: features.10.bias is missing, ")
    assert "features.0.weight is 64x3x3x3 and not 64x3x11x11" in sentence and "\n" not in sentence
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    with pytest.raises(UserError, match=r"and 7 more: name weights of the right architecture\.$"):
        encoders.load_tensors(encoder, {})


def test_an_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="no encoder is called 'vgg19': choose one of vgg16, "):
        encoders.build("vgg19")


def test_lab_of_a_frame_and_of_its_grey_picture_embed_alike():
    """L* is all that an encoder is shown: a colour frame and its own grey rendering give one embedding."""
    torch.manual_seed(0)
    encoder = encoders.frozen(encoders.build("mobilenet_v2"))
    lab = checks.eight_frames(64)[:1]
    again = rgb_to_lab(grey_rgb(lab[:, :1]))
    found = encoder.embed_grey(lab[:, :1])
    assert torch.allclose(found, encoder.embed_grey(again[:, :1]), atol=1e-2 * float(found.std()))
