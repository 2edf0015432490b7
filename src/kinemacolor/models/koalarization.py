"""Fusion networks: local features joined with what a frozen ImageNet encoder says of the picture as a whole.

`koalarization` is Deep Koalarization (Baldassarre et al. 2017), `fusion` the 'full' network of Emil Wallner that it grew
out of. Both used Inception-ResNet-v2; here the encoder is one whose weights can be had from a package (models.md, section 2,
allows any frozen global embedding). The embedding is handed in, computed once per frame by the stage `embed`; where there
is none it is computed by the encoder inside, which travels with the model. Keras's initialisation, as the projects'.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.models import Family
from kinemacolor.models.coding import ab_coding
from kinemacolor.models.encoders import build as build_encoder
from kinemacolor.models.encoders import frozen, load_tensors


def _conv(channels_in: int, channels_out: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, size, stride=stride, padding=size // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


def _relus(channels_in: int, *channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels_out in channels:
        layers += [_conv(channels_in, channels_out), nn.ReLU()]
        channels_in = channels_out
    return layers


def _double() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


class _Fusion(nn.Module):
    """What both networks have in common: local encoder, fusion, frozen encoder.

    Args:
        embedding: architecture of the frozen encoder, of models/encoders.py.
        embedding_size: size of embeddings that come from elsewhere, if not the encoder's own; the network then has no
            encoder inside and only takes embeddings that it is handed.
        width: factor on the channels of every trained layer.
    """

    def __init__(self, *, embedding: str = "mobilenet_v2", embedding_size: int | None = None, width: float = 1.0) -> None:
        super().__init__()
        encoder = frozen(build_encoder(embedding))
        self.architecture = embedding
        self.encoder = encoder if embedding_size in (None, encoder.dimension) else None
        self.embedding_size = embedding_size or encoder.dimension
        n = {channels: max(1, round(channels * width)) for channels in (16, 32, 64, 128, 256, 512)}
        self.down = nn.Sequential(
            *(_conv(1, n[64], stride=2), nn.ReLU(), *_relus(n[64], n[128])),
            *(_conv(n[128], n[128], stride=2), nn.ReLU(), *_relus(n[128], n[256])),
            *(_conv(n[256], n[256], stride=2), nn.ReLU(), *_relus(n[256], n[512], n[512], n[256])),
        )
        self.fusion = _conv(n[256] + self.embedding_size, n[256], size=1)
        self.up = self._decoder(n)

    def _decoder(self, n: Mapping[int, int]) -> nn.Sequential:
        raise NotImplementedError

    def forward(self, lightness: Tensor, embedding: Tensor) -> Tensor:
        """Coded L (N,1,H,W), H and W multiples of 8, and an embedding (N,D) to coded ab (N,2,H,W) in (-1, 1)."""
        if embedding.shape[1] != self.embedding_size:
            raise UserError(
                f"The embedding has {embedding.shape[1]} numbers and this network takes {self.embedding_size}: "
                "embed the frames with the weights that the model names under `pretrained`."
            )
        local = self.down(lightness)
        # The same vector stands at every place: a 1x1 convolution of both together is that of the local part plus one
        # product a picture, a fifth of the work and of the memory.
        here, everywhere = self.fusion.weight.split((local.shape[1], self.embedding_size), dim=1)
        whole = functional.linear(embedding.to(local.dtype), everywhere[:, :, 0, 0], self.fusion.bias)
        return self.up(functional.relu(functional.conv2d(local, here) + whole[:, :, None, None]))

    def embed(self, lightness: Tensor) -> Tensor:
        """L* (N,1,H,W), 0 to 100, any size, to the embedding (N,D) of the grey picture, float32, without gradient."""
        if self.encoder is None:
            raise UserError(
                f"This network takes embeddings of {self.embedding_size} numbers, which {self.architecture} does not give: "
                "leave `embedding_size` out, or hand embeddings in."
            )
        return self.encoder.embed_grey(lightness)

    def train(self, mode: bool = True) -> nn.Module:
        """As for any module, but the encoder stays in evaluation mode: its statistics never move."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def load_encoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Give the frozen encoder its published weights.

        Args:
            tensors: by the names of the encoder of `architecture`.

        Raises:
            UserError: names or shapes differ.
        """
        if self.encoder is not None:
            load_tensors(self.encoder, tensors, what=f"The weights for {self.architecture}")


class Koalarization(_Fusion):
    """Deep Koalarization: 2L/100-1 to ab/127; 6,573,794 parameters to train, 6,574,050 with the paper's 1001 logits.

    The embedding is the encoder's class logits. See _Fusion for the options.
    """

    def _decoder(self, n: Mapping[int, int]) -> nn.Sequential:
        return nn.Sequential(
            *(*_relus(n[256], n[128]), _double(), *_relus(n[128], n[64], n[64]), _double()),
            *(*_relus(n[64], n[32]), _conv(n[32], 2), nn.Tanh(), _double()),
        )


class Fusion(_Fusion):
    """Wallner's 'full' network: L (0 to 100, unscaled) to ab/128; 6,541,202 parameters to train.

    The embedding is the encoder's class probabilities. See _Fusion for the options.
    """

    def _decoder(self, n: Mapping[int, int]) -> nn.Sequential:
        return nn.Sequential(
            *(*_relus(n[256], n[128]), _double(), *_relus(n[128], n[64]), _double()),
            *(*_relus(n[64], n[32], n[16]), _conv(n[16], 2), nn.Tanh(), _double()),
        )

    def forward(self, lightness: Tensor, embedding: Tensor) -> Tensor:
        """L (N,1,H,W), 0 to 100, and class logits (N,D), whose softmax is what is joined, to ab/128 (N,2,H,W)."""
        return super().forward(lightness, torch.softmax(embedding.float(), dim=1))


FAMILIES = {
    "koalarization": Family(
        Koalarization,
        ab_coding("2L/100-1 -> ab/127", scale=127.0, encode_input=lambda view: view.lightness / 50 - 1),
        multiple=8,
        source="project Games; Baldassarre et al. 2017, Deep Koalarization",
        embeds=True,
    ),
    "fusion": Family(
        Fusion,
        ab_coding("L -> ab/128", scale=128.0, encode_input=lambda view: view.lightness),
        multiple=8,
        source="project Games; E. Wallner, Coloring greyscale images, full",
        embeds=True,
    ),
}
