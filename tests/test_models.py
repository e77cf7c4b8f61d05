"""Networks: level proof, bounded context, masks all the way, and the directory they live in."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audioseg_xai.config import parse_config
from audioseg_xai.errors import ConfigError, ModelError
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.models.card import render_card
from audioseg_xai.models.directory import ModelConfig, load_model, save_model
from audioseg_xai.models.fold import folded
from audioseg_xai.models.front_end import (
    FeatureFrontEndConfig,
    SpectrogramFrontEndConfig,
    WindowNorm,
)
from audioseg_xai.models.level import LevelConfig, LevelNorm
from audioseg_xai.models.mel import mel_matrix
from audioseg_xai.models.networks import (
    Student,
    StudentConfig,
    Teacher,
    TeacherConfig,
    interpolated,
)
from audioseg_xai.models.tcn import TCN, SeparableBlock, TCNConfig
from tests.dummies import load_student, save_student, sound, student, student_config


def normalised(gain: float) -> torch.Tensor:
    samples = torch.from_numpy(sound(3.0)) * gain
    spectrogram = log_spectrogram(samples, SpectrogramConfig())
    return LevelNorm(LevelConfig(context=100), 512)(spectrogram.unsqueeze(0))


def test_the_recording_level_makes_no_difference() -> None:
    loud, quiet = normalised(1.0), normalised(0.03)
    assert (loud - quiet).abs().max() < 0.05
    assert loud.max() > 5


def test_what_no_recorder_can_hear_stays_dark() -> None:
    assert normalised(1e-9).max() < 0.5


def test_power_at_the_level_maps_to_the_dynamic_range() -> None:
    flat = torch.full((1, 50, 257), 12.0)
    norm = LevelNorm(LevelConfig(context=5, dynamic_range=60.0), 512)
    assert norm(flat)[0, 25, 0].item() == pytest.approx(torch.tensor(1e6).log1p().item(), rel=1e-4)


def test_level_is_the_mean_over_frames_that_exist() -> None:
    norm = LevelNorm(LevelConfig(context=1), 512)
    level = norm.level(torch.tensor([[2.0, 4.0, 9.0]]))
    assert level.tolist() == [[3.0, 5.0, 6.5]]


def test_mel_bands_average() -> None:
    matrix = mel_matrix(80, 257)
    np.testing.assert_allclose(matrix.sum(axis=0), np.ones(80), rtol=1e-6)
    assert matrix.min() >= 0
    centres = (np.arange(257)[:, None] * matrix).sum(axis=0)
    assert (np.diff(centres) >= 0).all()


def test_outputs_see_no_further_than_the_receptive_field() -> None:
    network = student()
    reach = network.config.context
    inputs = torch.rand(1, 60, 257) * 10
    changed = inputs.clone()
    changed[:, 30] += 5
    before, after = network(inputs), network(changed)
    moved = (before.activations != after.activations).any(dim=2)[0].nonzero().squeeze(1)
    assert 30 - reach <= moved.min() <= moved.max() <= 30 + reach
    assert reach == 2 + 3


def test_embeddings_are_interpolated_between_the_frames_they_belong_to() -> None:
    outputs = torch.tensor([0.0, 3.0, -3.0]).view(1, 3, 1)
    assert interpolated(outputs, 1, 3).flatten().tolist() == [0, 3, -3]
    expected = torch.tensor([0.0, 1, 2, 3, 1, -1, -3, -3])
    assert torch.allclose(interpolated(outputs, 3, 8).flatten(), expected)


def test_a_stride_costs_no_weights_and_needs_a_second_convolution() -> None:
    strided = student_config(
        front_end=SpectrogramFrontEndConfig(bands=16, channels=(4, 4), stride=2)
    )
    network = Student(strided)
    seen = (10 * torch.rand(1, 60, 257)).requires_grad_()
    network.eval()(seen).logits[0, 30].sum().backward()
    assert seen.grad is not None
    reached = seen.grad[0].abs().sum(dim=1).nonzero().squeeze(1)
    assert 30 - strided.context <= reached.min() < 30 < reached.max() <= 30 + strided.context
    with pytest.raises(ValueError, match="two convolutions"):
        SpectrogramFrontEndConfig(channels=(4,), stride=2)


def test_activations_are_not_negative_and_logits_are_linear_in_them() -> None:
    network = student()
    output = network(torch.rand(2, 30, 257) * 10)
    assert output.activations.min() >= 0
    linear = output.activations @ network.classifier.weight.T + network.classifier.bias
    assert torch.allclose(output.logits, linear, atol=1e-5)
    assert network.reconstruct(output.activations).shape == (2, 30, 257)


def test_trainable_dictionary_is_projected_to_unit_atoms() -> None:
    network = Student(student_config(trainable_dictionary=True), torch.randn(257, 8))
    assert "dictionary" in dict(network.named_parameters())
    network.constrain_dictionary()
    assert network.dictionary.min() >= 0
    assert torch.allclose(network.dictionary.norm(dim=0), torch.ones(8), atol=1e-5)


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_networks_can_listen_to_upstream_features(kind: str) -> None:
    settings = {
        "front_end": FeatureFrontEndConfig(kind="features", dimension=24),
        "tcn": TCNConfig(channels=8, blocks=2, repeats=1),
    }
    features = torch.randn(2, 30, 24)
    if kind == "teacher":
        assert Teacher(TeacherConfig(**settings))(features).shape == (2, 30, 4)
    else:
        output = Student(StudentConfig(components=5, **settings))(features)
        assert output.activations.shape == (2, 30, 5)


def test_a_saved_model_computes_the_same(tmp_path: Path) -> None:
    model = load_student(tmp_path / "model")
    inputs = torch.rand(1, 40, 257) * 10
    with torch.inference_mode():
        assert torch.equal(model.network(inputs).logits, student()(inputs).logits)
    assert model.digest
    card = (tmp_path / "model" / "README.md").read_text()
    assert "dummy" in card and "overlap" in card


def test_a_model_without_figures_is_not_saved(tmp_path: Path) -> None:
    model = load_student(tmp_path / "a")
    model.config = model.config.model_copy(update={"metrics": {}})
    with pytest.raises(ModelError, match="figures of merit"):
        save_model(model, tmp_path / "b")


def test_damage_is_named(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "model")
    with pytest.raises(ModelError, match=r"no such file"):
        load_model(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        load_model(folder)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["network"]["components"] = 9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not fit"):
        load_model(folder)


def test_folding_norms_changes_no_result() -> None:
    network = student()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.3
            module.running_var = torch.rand_like(module.running_var) + 0.5
    fast, inputs = folded(network), torch.rand(1, 40, 257) * 10
    kinds = torch.nn.BatchNorm1d | torch.nn.BatchNorm2d
    norms = [module for module in fast.modules() if isinstance(module, kinds)]
    assert len(norms) == 1  # the first has no convolution before it
    assert torch.allclose(fast(inputs).logits, network(inputs).logits, atol=1e-4)


# --- what config.json must hold -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["decoding"].update(speach=c["decoding"].pop("speech")),
         "decoding: unknown class 'speach', did you mean 'speech'?"),
        (lambda c: c["network"].update(classes=["speech", "music", "noise", "crosstalk"]),
         "network.classes: unknown class 'crosstalk', expected some of speech, music, "),
        (lambda c: c["network"].update(classes=["speech", "music", "noise", "speech"]),
         "network.classes: names one twice: speech, music, noise, speech"),
        (lambda c: c["network"].update(classes=["speech", "music", "noise"]),
         "decoding: unknown class 'overlap', expected some of speech, music, noise"),
    ],
)  # fmt: skip
def test_classes_that_disagree_are_one_line(
    tmp_path: Path, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = save_student(tmp_path / "model") / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError) as caught:
        load_model(path.parent)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_weights_under_the_config_of_another_model_are_refused(tmp_path: Path) -> None:
    one, other = (save_student(tmp_path / str(seed), seed) for seed in (1, 2))
    shutil.copy(one / "model.safetensors", other / "model.safetensors")
    with pytest.raises(ModelError, match=r"2/model\.safetensors: .* do not belong together"):
        load_model(other)


def test_a_model_saved_again_is_whole(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "model", seed=1)
    save_model(load_student(tmp_path / "other"), folder)
    assert load_model(folder).config.weights_sha256 == load_model(folder).digest


def test_the_card_says_the_licence(tmp_path: Path) -> None:
    config = load_student(tmp_path / "model").config
    assert "## Licence" not in render_card(config)
    licensed = config.model_copy(update={"licence": "MIT, see LICENSE"})
    assert "## Licence\n\nMIT, see LICENSE\n" in render_card(licensed)


# --- networks that listen to upstream features, as the teacher of the paper does ----------------


PAPER = {
    "front_end": {"kind": "features", "dimension": 1024, "layers": 25, "norm": "window"},
    "tcn": {
        "block": "separable", "channels": 64, "hidden": 128, "blocks": 3, "repeats": 5,
        "norm": "global",
    },
    "window": 200,
}  # fmt: skip


def test_the_teacher_of_the_paper_has_the_weights_that_can_be_counted() -> None:
    network = Teacher(parse_config(PAPER, TeacherConfig, "test"))
    expanding, depthwise, contracting = 64 * 128 + 128, 128 * 3, 128 * 64 + 64
    block = expanding + depthwise + contracting + 2 * (1 + 2 * 128)  # PReLU and norm, twice
    counted = 25 + (1024 * 64 + 64) + 15 * block + (64 * 4 + 4)
    assert sum(weight.numel() for weight in network.parameters()) == counted == 327_995
    assert network.config.tcn.receptive_field == 5 * 7
    assert network(torch.randn(2, 30, 25, 1024)).shape == (2, 30, 4)


def features_config(**changes: object) -> TeacherConfig:
    front_end = {"kind": "features", "dimension": 6, "layers": 3} | changes
    tcn = {"channels": 4, "blocks": 1, "repeats": 1}
    return parse_config({"front_end": front_end, "tcn": tcn}, TeacherConfig, "test")


def test_hidden_states_are_weighed_by_a_softmax() -> None:
    front_end = Teacher(features_config()).front_end
    states = torch.randn(2, 7, 3, 6)
    with torch.no_grad():
        front_end.layer_logits.copy_(torch.tensor([1.0, 2.0, 3.0]).log())
        expected = (states * torch.tensor([1, 2, 3]).view(3, 1) / 6).sum(2)
        projected = front_end.projection(front_end.norm(expected)).transpose(1, 2)
        assert torch.allclose(front_end(states), projected, atol=1e-6)
    assert front_end.layer_weights.tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_one_hidden_state_may_have_an_axis_of_its_own() -> None:
    network = Teacher(features_config(layers=1)).eval()
    features = torch.randn(2, 7, 6)
    assert torch.equal(network(features), network(features.unsqueeze(2)))
    assert "front_end.layer_logits" not in network.state_dict()


@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 7, 2, 6), (2, 7, 3, 5)])
def test_features_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"\(layers, dimension\) \(3, 6\), the features are"):
        Teacher(features_config())(torch.randn(shape))


def test_features_normalised_over_the_window_have_no_mean_and_unit_variance() -> None:
    made = WindowNorm()(torch.randn(2, 50, 3) * torch.tensor([1.0, 10.0, 100.0]) + 7)
    assert torch.allclose(made.mean(1), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(made.var(1, correction=0), torch.ones(2, 3), atol=1e-3)


def test_global_normalisation_is_over_channels_and_frames() -> None:
    config = TCNConfig(channels=5, block="separable", hidden=6, norm="global")
    norm = SeparableBlock(config, 1).layers[2]
    x = torch.randn(2, 6, 9) * 4 + 3
    mean, variance = x.mean((1, 2), keepdim=True), x.var((1, 2), keepdim=True, correction=0)
    assert torch.allclose(norm(x), (x - mean) / (variance + 1e-5).sqrt(), atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "global"])
@pytest.mark.parametrize("block", ["dense", "separable"])
def test_folding_changes_no_block(block: str, norm: str) -> None:
    config = TCNConfig(channels=5, blocks=2, repeats=2, block=block, hidden=6, norm=norm)
    network = TCN(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.3
            module.running_var = torch.rand_like(module.running_var) + 0.5
    x = torch.randn(1, 5, 40)
    assert torch.allclose(folded(network)(x), network(x), atol=1e-5)


def test_the_card_says_what_a_model_does_not_decide(tmp_path: Path) -> None:
    config = load_student(tmp_path / "model").config
    values = config.model_dump()
    values["decoding"] = {name: values["decoding"][name] for name in ("speech", "overlap")}
    values["network"]["classes"] = ("speech", "music", "overlap")
    card = render_card(ModelConfig.model_validate(values))
    assert "Decides speech, overlap, several at once" in card
    assert "- It does not decide music: never annotated in what it was taught with." in card
    assert "- It has no output for noise." in card
    whole = render_card(config)
    assert "does not decide" not in whole and "has no output" not in whole


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"kernel: .*odd"):
        parse_config({"kernel": 4}, TCNConfig, "test")
