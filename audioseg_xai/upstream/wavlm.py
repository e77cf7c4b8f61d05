"""WavLM for inference: the network of s3prl, computed with fewer and cheaper operations.

Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing",
IEEE JSTSP 16(6), 2022. The weights are those of s3prl's module; the results equal its own.
"""

from __future__ import annotations

import ast
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class FastWavLM(nn.Module):
    """Hidden states of a WavLM.

    What makes it faster than the module it is made from: channels come last, so that convolutions
    are faster and norms need no transposition; the group norm of the first convolution is folded
    into its weights; queries, keys and values are one product; attention is one fused operation;
    the relative position bias is read off its 2 T - 1 distinct values; and with `torch.bfloat16`
    weights are kept in 16 bits.

    Parameters
    ----------
    model : s3prl.upstream.wavlm.WavLM.WavLM
        Where the weights are taken from; it is used up, not copied.
    dtype : torch.dtype
        Of matrix products and convolutions.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.normalize = bool(model.cfg.normalize)
        self.convolutions = nn.ModuleList(
            _convolution(block, stride, dtype)
            for block, stride in zip(
                model.feature_extractor.conv_layers, _strides(model.cfg), strict=True
            )
        )
        self.input_norm = model.layer_norm
        self.projection = model.post_extract_proj
        self.position = _Position(model.encoder.pos_conv, dtype)
        self.layers = nn.ModuleList(_Layer(layer, dtype) for layer in model.encoder.layers)
        self.norm = model.encoder.layer_norm
        self.norm_first = bool(model.encoder.layer_norm_first)
        first = model.encoder.layers[0].self_attn
        self.bias = _RelativeBias(first) if first.has_relative_attention_bias else None

    @property
    def num_layers(self) -> int:
        """Hidden states: what enters each layer, and what leaves the last."""
        return len(self.layers) + 1

    @property
    def dimension(self) -> int:
        """D, the size of a hidden state."""
        return int(self.norm.normalized_shape[0])

    def forward(self, samples: torch.Tensor, last: int | None = None) -> list[torch.Tensor]:
        """Return the hidden states up to number `last`, by default all.

        Parameters
        ----------
        samples : torch.Tensor, shape (B, N), float32
            16 kHz audio.
        last : int, optional
            Number of the last that is wanted; layers above it are not computed.

        Returns
        -------
        list of torch.Tensor, shape (B, T, D), float32
        """
        wanted = self.num_layers if last is None else last + 1
        x = self._embed(samples)
        bias = None if self.bias is None else self.bias(x.shape[1])
        states = [x]
        for layer in self.layers[: wanted - 1]:
            x = layer(x, bias)
            states.append(x)
        if wanted == self.num_layers and self.norm_first:
            states[-1] = self.norm(x)
        return states

    def _embed(self, samples: torch.Tensor) -> torch.Tensor:
        x = functional.layer_norm(samples, samples.shape[-1:]) if self.normalize else samples
        for convolution in self.convolutions:
            x = convolution(x)
        x = self.input_norm(x.float())
        if self.projection is not None:
            x = self.projection(x)
        x = x + self.position(x)
        return x if self.norm_first else self.norm(x)


# --- convolutions -------------------------------------------------------------------------------


class _FirstConvolution(nn.Module):
    """From samples (B, N) to (B, T, C), as a product with frames of samples; a norm, and GELU."""

    def __init__(
        self, convolution: nn.Conv1d, stride: int, norm: nn.Module | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dtype = convolution.kernel_size[0], stride, dtype
        self.weight = _frozen(convolution.weight.squeeze(1))
        self.bias = _frozen_bias(convolution, torch.float32)
        self.norm = norm

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        frames = samples.unfold(1, self.kernel, self.stride)
        if isinstance(self.norm, nn.GroupNorm):
            return functional.gelu(self._normalised(frames, self.norm))
        bias = None if self.bias is None else self.bias.to(self.dtype)
        y = functional.linear(frames.to(self.dtype), self.weight.to(self.dtype), bias)
        return functional.gelu(_normed(y, self.norm))

    def _normalised(self, frames: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
        """Return products with frames whose channels are normalised over time.

        A channel is ``y = w u`` of frames u, so its mean is ``w m`` and its variance ``w S w``,
        with the mean m of the frames and their covariance S, which is no larger than the kernel.
        Scale and shift go into w; the long output is written once. A bias would cancel out.
        """
        weight = self.weight.double()
        mean = frames.mean(1, keepdim=True, dtype=torch.float64)
        centred = frames.double() - mean
        covariance = centred.transpose(1, 2) @ centred / frames.shape[1]
        variance = ((weight @ covariance) * weight).sum(2).clamp_min(0)
        scaled = (norm.weight / (variance + norm.eps).sqrt()).unsqueeze(2) * weight
        shift = norm.bias - (scaled @ mean.transpose(1, 2)).squeeze(2)
        return torch.baddbmm(
            shift.unsqueeze(1).to(self.dtype),
            frames.to(self.dtype),
            scaled.transpose(1, 2).to(self.dtype),
        )


class _Convolution(nn.Module):
    """A convolution from (B, T, C) to (B, T', C'), a norm, and GELU."""

    def __init__(
        self, convolution: nn.Conv1d, stride: int, norm: nn.Module | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.weight, self.bias = _flat(convolution.weight, dtype), _frozen_bias(convolution, dtype)
        self.stride, self.dtype, self.norm = stride, dtype, norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = _image(x.to(self.dtype))
        y = functional.conv2d(image, self.weight, self.bias, stride=(1, self.stride))
        return functional.gelu(_normed(_frames(y), self.norm))


class _Position(nn.Module):
    """The convolution that tells where a frame is, without its weight normalisation."""

    def __init__(self, sequence: Any, dtype: torch.dtype) -> None:
        super().__init__()
        convolution = nn.utils.remove_weight_norm(sequence[0])
        self.weight, self.bias = _flat(convolution.weight, dtype), _frozen_bias(convolution, dtype)
        self.padding, self.groups = convolution.padding[0], convolution.groups
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, T, D) to (B, T, D)."""
        y = functional.conv2d(
            _image(x.to(self.dtype)),
            self.weight,
            self.bias,
            padding=(0, self.padding),
            groups=self.groups,
        )
        return functional.gelu(_frames(y)[:, : x.shape[1]]).float()


def _convolution(block: Any, stride: int, dtype: torch.dtype) -> nn.Module:
    convolution, norm = block[0], block[2]
    if isinstance(norm, nn.Sequential):
        norm = norm[1]  # it stands between two transpositions, which are not needed here
    elif not isinstance(norm, nn.GroupNorm):
        norm = None
    kind = _FirstConvolution if convolution.in_channels == 1 else _Convolution
    return kind(convolution, stride, norm, dtype)


def _normed(x: torch.Tensor, norm: nn.Module | None) -> torch.Tensor:
    return x if norm is None else norm(x.float()).to(x.dtype)


def _image(x: torch.Tensor) -> torch.Tensor:
    """See frames (B, T, C) as an image (B, C, 1, T) with its channels last, without a copy.

    Convolutions are about twice as fast with channels last; in one dimension torch has none such.
    """
    return x.transpose(1, 2).unsqueeze(2)


def _frames(image: torch.Tensor) -> torch.Tensor:
    return image.squeeze(2).transpose(1, 2)


def _flat(weight: torch.Tensor, dtype: torch.dtype) -> nn.Parameter:
    """Return weights (C', C, kernel) for an image of height one, with channels last."""
    image = weight.detach().to(dtype).unsqueeze(2)
    return _frozen(image.contiguous(memory_format=torch.channels_last))


# --- transformer --------------------------------------------------------------------------------


class _RelativeBias(nn.Module):
    """Bias (H, T, T) of the attention from frame to frame, a function of their distance."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.embedding = attention.relative_attention_bias
        self.bucket = attention._relative_positions_bucket

    def forward(self, length: int) -> torch.Tensor:
        distances = torch.arange(1 - length, length)
        buckets = self.bucket(distances).to(self.embedding.weight.device)
        values = self.embedding(buckets).T.contiguous()  # (H, 2 T - 1)
        # Row q holds distances -q to T - 1 - q: windows of the values, the last one first.
        return values.unfold(1, length, 1).flip(1)


class _Layer(nn.Module):
    """A transformer layer; sums along the layers stay in 32 bits."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.attention = _Attention(layer.self_attn, dtype)
        self.attention_norm, self.norm = layer.self_attn_layer_norm, layer.final_layer_norm
        self.fc1, self.fc2 = layer.fc1.to(dtype), layer.fc2.to(dtype)
        self.activation, self.norm_first = layer.activation_fn, bool(layer.layer_norm_first)
        self.dtype = dtype

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if self.norm_first:
            x = x + self.attention(self.attention_norm(x), bias)
            return x + self._feed_forward(self.norm(x))
        x = self.attention_norm(x + self.attention(x, bias))
        normed: torch.Tensor = self.norm(x + self._feed_forward(x))
        return normed

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc2(self.activation(self.fc1(x.to(self.dtype))))
        return y.float()


class _Attention(nn.Module):
    """Self-attention with the gated relative position bias (section III-A of the paper)."""

    def __init__(self, attention: Any, dtype: torch.dtype) -> None:
        super().__init__()
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases = [part.bias.detach() for part in parts]
        self.weight = _frozen(torch.cat([part.weight.detach() for part in parts]).to(dtype))
        self.bias = _frozen(torch.cat(biases).to(dtype))
        self.output = attention.out_proj.to(dtype)
        self.heads, self.dtype = attention.num_heads, dtype
        self.gate = attention.grep_linear if attention.gru_rel_pos else None
        self.gate_scale = attention.grep_a if attention.gru_rel_pos else None

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Map (B, T, D) and a bias (H, T, T) to (B, T, D)."""
        batch, length, size = x.shape
        projected = functional.linear(x.to(self.dtype), self.weight, self.bias)
        query, key, value = projected.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if bias is None else self._gated(x, bias).to(self.dtype)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        merged: torch.Tensor = self.output(attended.transpose(1, 2).reshape(batch, length, size))
        return merged.float()

    def _gated(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        if self.gate is None:
            return bias.unsqueeze(0)
        batch, length, _ = x.shape
        heads = x.view(batch, length, self.heads, -1).transpose(1, 2)
        gates = self.gate(heads).view(batch, self.heads, length, 2, 4).sum(-1).sigmoid()
        update, reset = gates.chunk(2, dim=-1)  # (B, H, T, 1) each
        return (update * (reset * self.gate_scale - 1.0) + 2.0) * bias


# --- small help ---------------------------------------------------------------------------------


def _frozen(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)


def _frozen_bias(convolution: nn.Conv1d, dtype: torch.dtype) -> nn.Parameter | None:
    return None if convolution.bias is None else _frozen(convolution.bias.to(dtype))


def conv_shapes(text: str) -> list[tuple[int, int, int]]:
    """Read what a configuration says of the convolutions: channels, kernel and stride of each.

    The text is a sum of lists, such as ``[(512,10,5)] + [(512,3,2)] * 4``. It is read, and not
    executed: it may come from anywhere.

    Raises
    ------
    ValueError
        If it is something else.
    """
    return [tuple(shape) for shape in _value(ast.parse(text, mode="eval").body)]


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _value(node.left) + _value(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _value(node.left) * _value(node.right)
    return ast.literal_eval(node)


def _strides(config: Any) -> list[int]:
    return [stride for _, _, stride in conv_shapes(config.conv_feature_layers)]
