"""s3prl and torchaudio: absent, or present in versions that do not expect each other."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from upstream_dummies import noise, write, write_datadir

from audioseg_xai import cli
from audioseg_xai.errors import ConfigError, ModelError
from audioseg_xai.upstream import UpstreamConfig, libraries, load_upstream
from audioseg_xai.upstream.networks import HubNetwork


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make s3prl and torchaudio look as if they were not installed."""
    find = importlib.util.find_spec
    for name in [name for name in sys.modules if name.partition(".")[0] in ("s3prl", "torchaudio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("s3prl", "torchaudio") else find(name, *rest),
    )


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("name", ["wavlm_large", "hubert_base"])
def test_without_the_extra_one_line_says_what_to_install(name: str) -> None:
    with pytest.raises(ModelError, match=r"s3prl: pip install 'audioseg-xai\[upstream\]'"):
        load_upstream(UpstreamConfig(name=name), "cpu")


@pytest.mark.usefixtures("absent")
def test_the_command_says_so_too(tmp_path: Path) -> None:
    data = str(write_datadir(tmp_path / "data", {"a": 1.0}))
    words = ["cache-features", "--datadir", data, "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.main, [*words, "--upstream", "wavlm_large"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and "pip install" in done.stderr


def hubert(path: Path) -> Any:
    """Write a tiny HuBERT in the format of s3prl's converted checkpoints; return its settings."""
    from s3prl.upstream.hubert.hubert_model import (
        HubertConfig,
        HubertModel,
        HubertPretrainingConfig,
    )

    settings = {
        "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
        "encoder_layers": 2,
        "encoder_embed_dim": 16,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 2,
        "conv_pos": 16,
        "conv_pos_groups": 2,
        "final_dim": 8,
        "label_rate": 50.0,
    }
    task = {"label_rate": 50.0, "sample_rate": 16_000, "normalize": False}
    torch.manual_seed(0)
    symbols = [["a", "b"]]
    model = HubertModel(HubertConfig(**settings), HubertPretrainingConfig(**task), symbols)
    torch.save(
        {
            "task_cfg": task,
            "model_cfg": settings,
            "model_weight": model.state_dict(),
            "dictionaries_symbols": symbols,
        },
        path,
    )


def test_other_upstreams_come_from_s3prl(tmp_path: Path) -> None:
    path = tmp_path / "hubert.pt"
    hubert(path)
    config = UpstreamConfig(name="hubert_local", checkpoint=str(path))
    samples = torch.from_numpy(noise(1.0))[None]
    upstream = load_upstream(config, "cpu")
    expert = libraries.hub().hubert_local(str(path)).eval()
    with torch.no_grad():
        expected = torch.stack(expert(list(samples))["hidden_states"], dim=2)
    assert expected.shape == (1, 49, 3, 16)
    assert torch.equal(upstream.hidden_states(samples), expected)
    half = load_upstream(config.model_copy(update={"precision": "bf16"}), "cpu")
    cosine = torch.cosine_similarity(half.hidden_states(samples), expected, dim=-1)
    assert 0.99 < cosine.mean() < 1.0
    with pytest.raises(ConfigError, match="fbank: gives 98 frames"):
        load_upstream(UpstreamConfig(name="fbank"), "cpu")


def test_what_s3prl_computes_itself_is_what_ours_computes(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.pt")
    hubconf, _ = libraries.wavlm_modules()
    slow = HubNetwork(hubconf.wavlm_local(str(path)).eval(), torch.float32)
    fast = load_upstream(UpstreamConfig(name="wavlm_local", checkpoint=str(path)), "cpu")
    samples = torch.from_numpy(noise(1.0))[None]
    with torch.no_grad():
        states = slow(samples, last=1)
    assert len(states) == 2
    torch.testing.assert_close(
        torch.stack(states, 2), fast.hidden_states(samples)[:, :, :2], atol=1e-4, rtol=0
    )
