"""The shape of a model. No torch: whatever reads a `.cllm` header needs only this."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cllm.errors import InvalidSettings

HEAD_WIDTH = 64
NEAR = 128  # tokens that most layers look back
FAR_EVERY = 3  # layers, from the second on: one that looks back over the whole context
SIZES: dict[str, tuple[int, int]] = {  # name -> (layers, width)
    "nano": (2, 64),
    "micro": (3, 128),
    "mini": (4, 192),
    "small": (6, 256),
    "base": (8, 384),
    "large": (10, 512),
}


class ModelConfig(BaseModel):
    """A decoder in the layout of Qwen3 (RMSNorm, RoPE, grouped-query attention with QK-norm, SwiGLU).

    Counts are in tokens, layers, heads and features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(ge=2, le=65_536)
    context: int = Field(ge=1, le=8192)  # longest window it was trained on
    layers: int = Field(ge=1, le=256)
    width: int = Field(ge=8, le=16_384)
    heads: int = Field(ge=1, le=1024)
    kv_heads: int = Field(ge=1, le=1024)
    head_width: int = Field(ge=2, le=1024)
    ffn_width: int = Field(ge=8, le=65_536)
    rope_theta: float = Field(default=10_000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0)
    reach: tuple[int, ...] = ()  # tokens that each layer looks back, the token itself included; none: all
    tied: bool = True  # the output layer is the embedding; what `config_for` makes is not tied (docs/recipe.md)

    def model_post_init(self, _context: Any) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly")
        if self.reach and (len(self.reach) != self.layers or min(self.reach) < 1):
            raise ValueError(f"reach = {self.reach}: it must be at least 1 for each of {self.layers} layers")

    @property
    def parameters(self) -> int:
        """Number of weights."""
        attention = self.width * self.head_width * 2 * (self.heads + self.kv_heads)
        layer = attention + 3 * self.width * self.ffn_width + 2 * self.width + 2 * self.head_width
        return (1 if self.tied else 2) * self.vocabulary * self.width + self.layers * layer + self.width

    @property
    def multiplied(self) -> int:
        """Number of weights that every token is multiplied with: not an embedding that is only looked up."""
        return self.parameters - (0 if self.tied else self.vocabulary * self.width)

    @property
    def in_layers(self) -> int:
        """Number of weights of the layers: neither embedding nor output layer, which are as large as the vocabulary."""
        return self.multiplied - self.vocabulary * self.width

    def reaches(self, tokens: int) -> list[int]:
        """How far each layer looks in a sequence of so many tokens."""
        return [min(tokens, reach) for reach in self.reach] if self.reach else [tokens] * self.layers

    def flops_per_token(self, context: int) -> float:
        """Floating point operations of forward and backward for one token (Kaplan et al. 2020; causal attention)."""
        seen = sum(reach - reach**2 / (2 * context) for reach in self.reaches(context))  # by a token, on average
        return 6.0 * self.multiplied + 12 * self.heads * self.head_width * seen


def parse_size(size: str) -> tuple[int, int]:
    """(layers, width) of a size name or of LAYERSxWIDTH; raises `InvalidSettings`."""
    if size in SIZES:
        return SIZES[size]
    layers, _, width = size.partition("x")
    if (
        layers.isdecimal()
        and width.isdecimal()
        and 1 <= int(layers) <= 256
        and int(width) % 32 == 0
        and 32 <= int(width) <= 16_384
    ):
        return int(layers), int(width)
    raise InvalidSettings(
        f"size = {size!r}: choose auto, {', '.join(SIZES)}, or LAYERSxWIDTH, such as 6x256, "
        "with a width that is a multiple of 32"
    )


def reach_for(layers: int, context: int, near: int = NEAR) -> tuple[int, ...]:
    """How far each layer looks: the second, which looks for repetitions, and every third from there on over all.

    The others look back `near` tokens. Layers that look at neighbours and layers that look at everything take turns, as
    in Longformer (Beltagy et al. 2020) and Gemma 2 and 3. Of a short context all layers see everything.
    """
    if context <= 2 * near or layers == 1:
        return ()
    return tuple(context if i % FAR_EVERY == 1 else near for i in range(layers))


def config_for(size: str, vocabulary: int, context: int) -> ModelConfig:
    """The model of `size`: heads of 64 features, half as many key-value heads, a feed-forward three times as wide.

    The base of the rotary angles grows with the square of the context, so that the slow features, by which heads find
    tokens at any distance, turn little over a window (docs/recipe.md).
    """
    layers, width = parse_size(size)
    head_width = HEAD_WIDTH if width >= 2 * HEAD_WIDTH and width % HEAD_WIDTH == 0 else 32
    heads = width // head_width
    return ModelConfig(
        vocabulary=vocabulary,
        context=context,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads // 2 if heads % 2 == 0 else heads,
        head_width=head_width,
        ffn_width=3 * width,
        rope_theta=10_000.0 * max(1.0, context / 256) ** 2,
        reach=reach_for(layers, context),
        tied=False,
    )
