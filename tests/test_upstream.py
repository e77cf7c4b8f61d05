"""Upstream models: the features of s3prl, on our clock; and what is said of what cannot be used."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from click.testing import CliRunner
from torch.nn.functional import cosine_similarity
from upstream_dummies import BASE, LARGE, load, make_wavlm, noise, upstream_config, write

from audioseg_xai.config import parse_config
from audioseg_xai.errors import ConfigError, ModelError, UsageError
from audioseg_xai.frames import num_frames
from audioseg_xai.upstream import Upstream, UpstreamConfig, load_upstream, parse_layers
from audioseg_xai.upstream.wavlm import conv_shapes

VARIANTS: dict[str, dict[str, Any]] = {
    "base": BASE,
    "large": LARGE,
    "no_gate": BASE | {"gru_rel_pos": False},
    "no_bias": BASE | {"relative_position_embedding": False},
    "glu": LARGE | {"activation_fn": "glu"},
    "conv_bias": BASE | {"conv_bias": True},
    "no_projection": BASE | {"encoder_embed_dim": 24},
}
SAMPLES = torch.stack([torch.from_numpy(noise(2.01, seed)) + 0.01 for seed in (0, 1)])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("upstream") / "base.pt")


def s3prl_states(path: Path, samples: torch.Tensor) -> torch.Tensor:
    """Return what s3prl itself computes, (B, T, L, D)."""
    from s3prl.upstream.wavlm.hubconf import wavlm_local

    with torch.no_grad():
        return torch.stack(wavlm_local(str(path)).eval()(list(samples))["hidden_states"], dim=2)


# --- the features -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_hidden_states_are_those_of_s3prl(variant: str, tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.pt", VARIANTS[variant])
    upstream, expected = load(path), s3prl_states(path, SAMPLES)
    found = upstream.hidden_states(SAMPLES)
    assert found.shape == (2, 100, 4, upstream.dimension) and upstream.num_layers == 4
    assert expected.std() > 0.1  # else the comparison would say nothing
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", [BASE, LARGE], ids=["base", "large"])
def test_sixteen_bits_turn_no_hidden_state(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.pt", settings)
    exact, fast = (load(path, precision=p).hidden_states(SAMPLES) for p in ("f32", "bf16"))
    assert fast.dtype == torch.float32
    assert not torch.equal(exact, fast)
    assert cosine_similarity(exact, fast, dim=-1).mean(dim=(0, 1)).min() >= 0.999


@pytest.mark.parametrize("length", [0, 399, 400, 719, 720, 1039, 5001, 16_000])
def test_frames_are_those_of_the_clock(base: Path, length: int) -> None:
    states = load(base).hidden_states(SAMPLES[:, :length])
    assert states.shape == (2, num_frames(length), 4, 32)
    assert states.isfinite().all()


def test_recordings_of_a_batch_do_not_mix(base: Path) -> None:
    upstream = load(base)
    both = upstream.hidden_states(SAMPLES)
    torch.testing.assert_close(both[1:], upstream.hidden_states(SAMPLES[1:]), atol=1e-5, rtol=0)


def test_silence_has_features(base: Path) -> None:
    assert load(base).hidden_states(torch.zeros(1, 8000)).isfinite().all()


def test_what_listens_can_learn_and_the_upstream_cannot(base: Path) -> None:
    upstream = load(base)
    layer = torch.nn.Linear(32, 1)
    layer(upstream.hidden_states(SAMPLES)).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in upstream.network.parameters())


# --- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [BASE, LARGE], ids=["base", "large"])
def test_one_layer_and_weights_are_taken_from_all(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.pt", settings)
    everything = load(path).hidden_states(SAMPLES)
    for number in range(4):
        one = load(path, layers=number)
        assert one.num_layers == 1
        assert torch.equal(one.hidden_states(SAMPLES), everything[:, :, number : number + 1])
    for weights in ((0.5, 0.25, 0.0, 0.25), (0.0, 2.0, 0.0, 0.0)):
        expected = (everything * torch.tensor(weights)[:, None]).sum(2, keepdim=True)
        found = load(path, layers=weights).hidden_states(SAMPLES)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("text", "layers"),
    [("all", "all"), ("6", 6), ("0.5,0.5", (0.5, 0.5)), ("1,", None), ("x", None)],
)
def test_layers_are_read_from_an_option(text: str, layers: object) -> None:
    if layers is None:
        with pytest.raises(ConfigError, match=f"--layers {text}"):
            parse_layers(text)
    else:
        assert parse_layers(text) == layers


@pytest.mark.parametrize(
    ("layers", "message"), [(4, "hidden states 0 to 3"), ((1.0, 0.0), "2 weights.*4 hidden states")]
)
def test_layers_that_are_not_there_are_refused(base: Path, layers: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(base, layers=layers)


def test_a_configuration_survives_json() -> None:
    for layers in ("all", 6, (0.5, 0.5)):
        config = UpstreamConfig(name="wavlm_large", layers=layers, precision="bf16", digest="ab")
        assert UpstreamConfig.model_validate_json(config.model_dump_json()) == config


# --- digests ------------------------------------------------------------------------------------


def test_the_digest_is_of_the_weights_and_not_of_the_file(base: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(base, weights_only=True)
    reordered = {"model": dict(reversed(checkpoint["model"].items())), "cfg": checkpoint["cfg"]}
    torch.save(reordered, tmp_path / "again.pt")
    digest = load(base).config.digest
    assert len(digest) == 64
    assert load(tmp_path / "again.pt", digest=digest).config.digest == digest


def test_the_file_format_of_old_versions_of_torch_is_read(base: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(base, weights_only=True)
    torch.save(checkpoint, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load(tmp_path / "old.pt").config.digest == load(base).config.digest


def test_other_weights_than_expected_are_refused(base: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.pt", seed=1)
    with pytest.raises(ModelError, match=r"other\.pt: holds other weights .* same checkpoint"):
        load(other, digest=load(base).config.digest)


# --- checkpoints that cannot be used ------------------------------------------------------------


def spoil(kind: str, path: Path, base: Path) -> None:
    checkpoint = torch.load(base, weights_only=True)
    if kind == "truncated":
        path.write_bytes(base.read_bytes()[:5000])
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(print))
    elif kind == "keys":
        torch.save({"weights": checkpoint["model"]}, path)
    elif kind == "list":
        torch.save([checkpoint], path)
    elif kind == "shapes":
        torch.save(checkpoint | {"cfg": checkpoint["cfg"] | {"encoder_embed_dim": 64}}, path)
    elif kind == "settings":
        torch.save(checkpoint | {"cfg": 7}, path)
    elif kind == "code":
        text = f"[(32,10,5)] + [open({str(path.with_suffix('.ran'))!r}, 'w')] * 0"
        torch.save(checkpoint | {"cfg": checkpoint["cfg"] | {"conv_feature_layers": text}}, path)


@pytest.mark.parametrize(
    "kind", ["missing", "truncated", "text", "pickle", "keys", "list", "shapes", "settings", "code"]
)
def test_a_bad_checkpoint_is_named_in_one_line(kind: str, base: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    spoil(kind, path, base)
    with pytest.raises(ModelError, match=r"bad\.pt: (is no|no such)") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not path.with_suffix(".ran").exists()


def test_the_convolutions_are_read_and_not_executed() -> None:
    assert conv_shapes("[(8,10,5)] + [(8,3,2)] * 2") == [(8, 10, 5), (8, 3, 2), (8, 3, 2)]
    with pytest.raises(ValueError):
        conv_shapes("__import__('os').getcwd()")


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "wavlm_local"}, "needs a checkpoint"),
        ({"name": "hubert_base", "checkpoint": "x.pt"}, "hubert_local"),
        ({"name": ""}, "name"),
        ({"name": "wavlm", "chunk": 0.01}, "chunk"),
        ({"name": "wavlm", "margin": -1}, "margin"),
        ({"name": "wavlm", "layers": -1}, "layers"),
        ({"name": "wavlm", "precision": "f16"}, "precision"),
        ({"name": "wavlm", "chunks": 1}, "did you mean 'chunk'"),
    ],
)
def test_settings_that_do_not_hold_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(settings, UpstreamConfig, "test")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'wavlm_large'"):
        load_upstream(UpstreamConfig(name="wavlm_lrge"), "cpu")


def test_a_name_without_weights_says_so_when_there_is_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("s3prl.util.download._download", refuse)
    with pytest.raises(ModelError, match=r"wavlm_large: .* cannot be downloaded .* wavlm_local"):
        load_upstream(UpstreamConfig(name="wavlm_large"), "cpu")


def test_a_name_takes_the_weights_that_s3prl_downloads(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(path: Path, url: str, refresh: bool) -> None:
        assert url.endswith("wavlm_base_plus.pt")
        shutil.copy(base, path)

    monkeypatch.setattr("s3prl.util.download._download_dir", tmp_path)
    monkeypatch.setattr("s3prl.util.download._download", download)
    named = load_upstream(UpstreamConfig(name="wavlm_base_plus"), "cpu")
    assert named.config.digest == load(base).config.digest
    assert torch.equal(named.hidden_states(SAMPLES), load(base).hidden_states(SAMPLES))


# --- the frame clock of others ------------------------------------------------------------------


class Clock(torch.nn.Module):
    """Gives as many frames more than the clock as it is told; frame t holds t."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, samples: torch.Tensor, last: int | None = None) -> list[torch.Tensor]:
        frames = num_frames(samples.shape[1]) + self.more
        return [torch.arange(frames).float().expand(len(samples), frames)[..., None]] * 2


@pytest.mark.parametrize(("more", "last"), [(-1, 48.0), (0, 49.0), (1, 49.0)])
def test_a_frame_more_or_less_is_put_right(more: int, last: float) -> None:
    states = Upstream(UpstreamConfig(name="clock"), Clock(more)).hidden_states(SAMPLES[:, :16_100])
    assert states.shape == (2, 50, 2, 1)
    assert states[0, :, 0, 0].tolist() == [*range(49), last]


def test_another_clock_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clock: gives 98 frames .* 20 ms"):
        Upstream(UpstreamConfig(name="clock"), Clock(49))


def test_a_gpu_that_is_not_there_is_no_reason_to_take_the_cpu(base: Path) -> None:
    with pytest.raises(UsageError, match="cuda:99"):
        load_upstream(upstream_config(base), "cuda:99")


# --- random weights to try things with ----------------------------------------------------------


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    one, two, other = (write(tmp_path / f"{n}.pt", seed=n % 2) for n in (0, 2, 1))
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_the_script_writes_over_nothing_unasked(tmp_path: Path) -> None:
    path = str(tmp_path / "tiny.pt")
    assert CliRunner().invoke(make_wavlm.cli, [path, "--seed", "3"]).exit_code == 0
    assert load(Path(path)).num_layers == 4
    again = CliRunner().invoke(make_wavlm.cli, [path])
    assert (again.exit_code, again.stdout) == (2, "") and "--overwrite" in again.stderr
    assert CliRunner().invoke(make_wavlm.cli, [path, "--overwrite"]).exit_code == 0
