"""The U-Net of pix2pix without and with a memory, and Nazeri's generator: sizes from models.md, and what a memory promises."""

import pytest
import torch
from torch import nn

from kinemacolor import models
from kinemacolor.errors import UserError
from kinemacolor.models.coding import View
from kinemacolor.models.running import run
from tests.unit import network_checks as checks

SMALL = {"levels": 3, "width": 8}
CELLS = ["convlstm3", "convlstm1", "lstm_vec", "lstm_flat"]

# (family, options) -> parameters; models.md, sections 5 and 14. Nazeri's two have no published figure: they follow from its table.
COUNTS = {
    ("unet_gan", ()): 41_824_898,
    ("unet_gan", (("levels", 8),)): 54_409_858,
    ("unet_gan", (("norm", "instance"),)): 41_824_898,  # its norms have weights too, unlike pix2pix's
    ("unet_lstm_gan", (("cell", "convlstm3"),)): 41_824_898 + 18_876_416,
    ("unet_lstm_gan", (("cell", "convlstm1"),)): 41_824_898 + 2_099_200,
    ("unet_lstm_gan", (("cell", "lstm_vec"),)): 41_824_898 + 2_101_248,
    ("unet_lstm_gan", (("cell", "lstm_flat"),)): 41_824_898 + 33_570_816,
    ("nazeri_gan", ()): 16_654_851,
    ("nazeri_gan", (("form", 256),)): 42_023_811,
}


@pytest.mark.parametrize(("key", "count"), COUNTS.items())
def test_parameter_counts(key, count):
    with torch.device("meta"):
        network = models.build(key[0], dict(key[1]))
    assert checks.parameters(network, trainable=True) == checks.parameters(network) == count


# (family, options, side) -> mean and standard deviation of the output for fixed weights and pictures, float32 on a CPU.
GOLDEN = {
    ("unet_gan", (), 128): (-0.0008647513, 0.0083003101),
    ("unet_gan", (("norm", "instance"), ("levels", 4), ("width", 16)), 32): (-0.0235853394, 0.0985863285),
    ("unet_lstm_gan", (), 128): (-0.0674304863, 0.2540303035),
    ("unet_lstm_gan", (("cell", "lstm_vec"), ("levels", 4), ("width", 16)), 32): (-0.030458796, 0.1219479333),
    ("unet_lstm_gan", (("cell", "lstm_flat"), ("levels", 4), ("width", 16)), 32): (-0.0313824444, 0.1267841841),
    ("nazeri_gan", (), 32): (0.0006334495, 0.0050013699),
    ("nazeri_gan", (("form", 256), ("width", 0.25)), 128): (-0.0013973618, 0.0015979517),
}


def aloud(network):
    """Give a fresh network's memory a loud voice, so that a mistake in it is seen in the output.

    Its norms have seen nothing yet and would let the bottleneck fade: let them take the statistics of some frames.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    side = max(network.multiple, 32)
    with torch.no_grad():
        network(checks.eight_frames(side)[None, :4, :1] / 50 - 1, torch.ones(1, 4, dtype=torch.bool))
        for parameter in network.cell.parameters():
            parameter.mul_(5)
    network.eval()


@pytest.mark.parametrize(("key", "expected"), GOLDEN.items())
def test_golden_forward(key, expected):
    network, family = checks.built(key[0], **dict(key[1]))
    if key[0] == "unet_lstm_gan":
        aloud(network)
    found = checks.golden(network, family, checks.eight_frames(key[2])[:2])
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


# family, options, learning rate, steps, share of the best single colour's squared error that must be reached in evaluation.
FITS = [
    ("unet_gan", {"levels": 5, "width": 16, "dropout": 0.0}, 3e-3, 150, 0.1),
    ("unet_gan", {"levels": 5, "width": 16, "norm": "instance"}, 3e-3, 60, 0.3),
    *[("unet_lstm_gan", {"levels": 4, "width": 16, "cell": cell}, 3e-3, 120, 0.2) for cell in CELLS],
    ("nazeri_gan", {"width": 0.25}, 3e-3, 60, 0.15),
]


@pytest.mark.parametrize(("name", "options", "lr", "steps", "stated"), FITS)
def test_eight_frames_are_learnt_and_gradients_reach_everything(name, options, lr, steps, stated):
    network, family = checks.built(name, **options)
    found = checks.overfit(network, family, checks.eight_frames(32), steps=steps, lr=lr)
    assert found.shown < stated * found.least


@pytest.mark.parametrize(
    ("name", "options"),
    [("unet_gan", SMALL), *[("unet_lstm_gan", SMALL | {"cell": cell, "bottleneck": 4}) for cell in CELLS], ("nazeri_gan", {})],
)
def test_shape_and_range(name, options):
    network, family = checks.built(name, **options)
    with torch.no_grad():
        (network.out if name == "nazeri_gan" else network.up[-1]).weight.mul_(100)
    lab = checks.check_shape_and_range(network, family, checks.eight_frames(32))
    assert float(lab[:, 1:].abs().max()) <= 110
    assert float(lab[:, :1].min()) >= 0 and float(lab[:, :1].max()) <= 100.001


def test_the_size_rule_follows_the_levels():
    for name, options, multiple in (
        ("unet_gan", {}, 128),
        ("unet_gan", {"levels": 6, "width": 8}, 64),
        ("unet_lstm_gan", {"levels": 5, "width": 8}, 32),
        ("nazeri_gan", {"width": 0.1}, 16),
        ("nazeri_gan", {"form": 256, "width": 0.1}, 128),
    ):
        network, family = checks.built(name, **options)
        assert models.multiple_of(network, family) == multiple and models.side_of(network, family) is None
    assert models.side_of(*checks.built("unet_lstm_gan", cell="lstm_flat", bottleneck=2, **SMALL)) == 16


def test_dropout_stands_where_pix2pix_has_it():
    network, _ = checks.built("unet_gan", levels=7, width=8)
    assert [any(isinstance(one, nn.Dropout) for one in block.modules()) for block in network.up] == [False, True, True] + [
        False
    ] * 4
    assert all(block[-1].p == 0.5 for block in network.up[1:3])


def test_wrong_options_are_a_sentence():
    for options, word in (
        ({"cell": "gru"}, "cell must be"),
        ({"norm": "layer"}, "norm must be"),
        ({"levels": 1}, "levels must be"),
    ):
        with pytest.raises(UserError, match=word):
            models.build("unet_lstm_gan", options)
    with pytest.raises(UserError, match="form must be 32 or 256"):
        models.build("nazeri_gan", {"form": 64})


def test_a_flat_cell_names_its_only_size():
    network, family = checks.built("unet_lstm_gan", cell="lstm_flat", **SMALL)
    with pytest.raises(UserError, match="takes pictures of 16x16 and no other, not 32x32: choose convlstm3"):
        checks.check_shape_and_range(network, family, checks.eight_frames(32))


# ---------------------------------------------------------------------------------------------------- the memory


def recurrent(cell="convlstm3"):
    network, family = checks.built("unet_lstm_gan", levels=3, width=16, cell=cell, bottleneck=4)
    aloud(network)
    return network.eval(), family


def clip(starts, lanes=1):
    lab = checks.eight_frames(32)
    return View(lab[: len(starts) * lanes, :1].contiguous(), starts=torch.tensor(starts * lanes))


def coloured(network, family, view, window, state=None):
    with torch.no_grad():
        return run(network, family, view, window=window, state=state)


@pytest.mark.parametrize("cell", CELLS)
def test_without_h_it_is_the_u_net_to_the_bit(cell):
    network, family = checks.built("unet_lstm_gan", levels=3, width=16, cell=cell, bottleneck=4)
    plain, plain_family = checks.built("unet_gan", levels=3, width=16)
    shared = {name: value for name, value in network.state_dict().items() if not name.startswith("cell.")}
    plain.load_state_dict(shared)
    view = clip([True] + [False] * 7)
    with_h, _ = coloured(network.eval(), family, view, 8)
    with torch.no_grad():
        for parameter in network.cell.parameters():
            parameter.zero_()  # new = tanh(0), so c and h are nought
    without_h, _ = coloured(network, family, view, 8)
    expected, _ = coloured(plain.eval(), plain_family, view, 1)
    assert torch.equal(without_h, expected) and not torch.equal(with_h, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_a_clip_in_one_call_equals_the_same_frames_in_several(cell):
    network, family = recurrent(cell)
    view = clip([True] + [False] * 7)
    whole, _ = coloured(network, family, view, 8)
    parts, state, begin = [], None, 0
    for length in (3, 1, 4):
        part = view.map(lambda tensor, begin=begin, length=length: tensor[begin : begin + length])
        output, state = coloured(network, family, part, length, state)
        parts.append(output)
        begin += length
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)
    alone, _ = coloured(network, family, view, 1)
    assert torch.allclose(alone[0], whole[0], atol=1e-5)
    assert not torch.allclose(alone[1:], whole[1:], atol=1e-3), "the memory changes what it remembers"


@pytest.mark.parametrize("cell", CELLS)
def test_state_is_reset_at_a_start_as_if_the_network_were_fresh(cell):
    network, family = recurrent(cell)
    cut = clip([True, False, False, False, True, False, False, False])
    whole, _ = coloured(network, family, cut, 8)
    _, state = coloured(network, family, cut.map(lambda tensor: tensor[:4]), 4)
    second = cut.map(lambda tensor: tensor[4:])
    after_cut, end_after_cut = coloured(network, family, second, 4, state)
    fresh, end_fresh = coloured(network, family, second, 4)
    assert torch.equal(after_cut, fresh)
    assert all(torch.equal(one, other) for one, other in zip(end_after_cut, end_fresh, strict=True))
    assert torch.allclose(whole[4:], fresh, atol=1e-5)
    uncut, _ = coloured(network, family, cut.with_(starts=None), 8)
    assert not torch.allclose(uncut[4:], whole[4:], atol=1e-3)


def test_a_start_forgets_even_a_state_that_is_not_a_number():
    network, family = recurrent()
    view = clip([True, False])
    _, state = coloured(network, family, view, 2)
    broken = tuple(torch.full_like(one, float("nan")) for one in state)
    assert torch.equal(coloured(network, family, view, 2, broken)[0], coloured(network, family, view, 2)[0])


def test_lanes_do_not_mix():
    network, family = recurrent()
    view = clip([True, False, False, False], lanes=2)
    together, _ = coloured(network, family, view, 4)
    apart = [coloured(network, family, view.map(lambda tensor, at=at: tensor[at : at + 4]), 4)[0] for at in (0, 4)]
    assert torch.allclose(together, torch.cat(apart), atol=1e-5)


def test_a_state_of_another_batch_is_refused():
    network, family = recurrent()
    _, state = coloured(network, family, clip([True] * 2, lanes=1), 2)
    with pytest.raises(ValueError, match="another batch or size"):
        coloured(network, family, clip([True] * 2, lanes=2), 2, state)


def test_the_vector_cell_is_torchs_lstm():
    network, _ = recurrent("lstm_vec")
    cell, n = network.cell, network.channels
    reference = nn.LSTM(n, n, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(cell.of_input.weight)
        reference.weight_hh_l0.copy_(cell.of_state.weight)
        reference.bias_ih_l0.copy_(cell.of_input.bias)
        reference.bias_hh_l0.copy_(cell.of_state.bias)
        z = torch.randn(3, 5, n, generator=torch.Generator().manual_seed(4))
        h, (last_h, last_c) = cell(z, torch.zeros(3, 5, dtype=torch.bool), None)
        expected, (expected_h, expected_c) = reference(z)
    assert torch.allclose(h, expected, atol=1e-5)
    assert torch.allclose(last_h, expected_h[0], atol=1e-5) and torch.allclose(last_c, expected_c[0], atol=1e-5)


def test_the_cell_begins_by_remembering():
    network, _ = checks.built("unet_lstm_gan", **SMALL)
    bias = network.cell.of_input.bias.view(4, -1)
    assert bool((bias[1] == 1).all()) and not bool(bias[[0, 2, 3]].any())


def test_at_a_bottleneck_of_one_pixel_the_kernel_beyond_its_middle_meets_only_padding():
    network, family = checks.built("unet_lstm_gan", levels=4, width=8)
    lab = checks.eight_frames(16)
    checks.mse(network, family, checks.view_of(lab, family), lab).backward()
    grad = network.cell.of_input.weight.grad
    assert bool(grad[:, :, 1, 1].any())
    grad[:, :, 1, 1] = 0
    assert not bool(grad.any())


def test_a_memory_stays_float32_under_autocast():
    network, family = recurrent()
    with torch.autocast("cpu", torch.bfloat16):
        _, state = coloured(network, family, clip([True] + [False] * 3), 4)
    assert {one.dtype for one in state} == {torch.float32}
