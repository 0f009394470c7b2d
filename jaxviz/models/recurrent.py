"""The recurrent classifier of sequences of different lengths."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxviz.checks import check_choice, check_count, check_flag
from jaxviz.models.checks import check_rate

_CELLS = {"simple": nn.SimpleCell, "lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}
_SUMMARIES = ("last", "mean")


class Recurrence(nn.Module):
    """One recurrent layer, run over time by `nn.scan`; at a masked step the state stays and the output is zero.

    Args:
        cell: "simple" (tanh), "lstm" or "gru".
        features: units of the state.
        reverse: run from the last step to the first; outputs stay in the order of the inputs.
    """

    cell: str
    features: int
    reverse: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Returns the output of every step and the output of the last valid one.

        Args:
            x: `(batch, time, inputs)`.
            mask: bool `(batch, time)`, True where a step is valid; None where all are.

        Returns:
            Outputs `(batch, time, features)`, and the state after the last valid step `(batch, features)`.
        """
        cell = _CELLS[self.cell](self.features, name="cell")
        carry = cell.initialize_carry(jax.random.key(0), x[:, 0].shape)  # zeros, whatever the key

        def step(cell: nn.RNNCellBase, carry: Any, inputs: tuple[jax.Array, jax.Array | None]) -> tuple[Any, jax.Array]:
            x, valid = inputs
            new, output = cell(carry, x)
            if valid is None:
                return new, output
            valid = valid[:, None]
            carry = jax.tree.map(lambda new, old: jnp.where(valid, new, old), new, carry)
            return carry, jnp.where(valid, output, jnp.zeros_like(output))

        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
            reverse=self.reverse,
        )
        carry, outputs = scan(cell, carry, (x, mask))
        return outputs, carry[1] if self.cell == "lstm" else carry


class RecurrentClassifier(nn.Module):
    """Embedding (for integer ids), recurrent layers, a dense layer: one vector of logits per sequence.

    Padding never changes the answer: masked steps leave the state as it was, in both directions. Layers are
    named "Embed_0", "lstm_0", "lstm_0_reverse", "Dropout_0", "lstm_1", ..., "Dense_0".

    Args:
        classes: number of outputs.
        cell: "simple" (tanh), "lstm" or "gru".
        features: units of each layer, per direction.
        layers: number of recurrent layers.
        bidirectional: run every layer in both directions too, and join their outputs.
        vocabulary: number of token ids; None for float sequences.
        embedding: size of the tokens' vectors.
        summary: what the dense layer sees: the "last" state (of each direction) or the "mean" output of valid steps.
        dropout: rate in [0, 1) after each recurrent layer; needs the rng "dropout" when `train=True`.

    Raises:
        ValueError, TypeError: a setting out of its range, named in the message.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> module = RecurrentClassifier(classes=2, cell="gru", features=8, vocabulary=100)
        >>> tokens = jnp.array([[5, 7, 9], [3, 0, 0]])
        >>> variables = module.init(jax.random.key(0), tokens)
        >>> module.apply(variables, tokens, jnp.array([3, 1]), train=False).shape
        (2, 2)

    References:
        S. Hochreiter, J. Schmidhuber: Long short-term memory. Neural Computation 9(8), 1997.
        K. Cho et al.: Learning phrase representations using RNN encoder-decoder. EMNLP 2014, arXiv:1406.1078 (GRU).
        M. Schuster, K. Paliwal: Bidirectional recurrent neural networks. IEEE Trans. Signal Processing 45(11), 1997.
    """

    classes: int
    cell: str = "lstm"
    features: int = 64
    layers: int = 1
    bidirectional: bool = False
    vocabulary: int | None = None
    embedding: int = 64
    summary: str = "last"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "classes",
            "features",
            "layers",
            "embedding",
            *(("vocabulary",) if self.vocabulary is not None else ()),
        ):
            check_count("RecurrentClassifier", name, getattr(self, name))
        check_choice("RecurrentClassifier", "cell", self.cell, tuple(_CELLS))
        check_choice("RecurrentClassifier", "summary", self.summary, _SUMMARIES)
        check_flag("RecurrentClassifier", "bidirectional", self.bidirectional)
        check_rate("RecurrentClassifier", "dropout", self.dropout)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, lengths: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """Returns the logits.

        Args:
            x: integer ids `(batch, time)` with a vocabulary, else floats `(batch, time, inputs)`.
            lengths: which steps are valid: integers `(batch,)`, the number of valid steps at the start, or a bool mask
                `(batch, time)`, which may be padded anywhere. None: all of them. A sequence without a valid step is
                summarized by zeros.
            train: apply dropout.

        Returns:
            `(batch, classes)`.
        """
        x = self._sequences(x)
        mask = None if lengths is None else _mask(lengths, x.shape[:2])
        last = x[:, 0]
        for i in range(self.layers):
            if i and self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
            runs = [Recurrence(self.cell, self.features, name=f"{self.cell}_{i}")(x, mask)]
            if self.bidirectional:
                runs.append(
                    Recurrence(self.cell, self.features, reverse=True, name=f"{self.cell}_{i}_reverse")(x, mask)
                )
            x, last = (jnp.concatenate(parts, axis=-1) for parts in zip(*runs, strict=True))
        summary = last if self.summary == "last" else _mean(x, mask)
        if self.dropout:
            summary = nn.Dropout(self.dropout, deterministic=not train)(summary)
        return nn.Dense(self.classes)(summary)

    def _sequences(self, x: jax.Array) -> jax.Array:
        """Returns the float sequences `(batch, time, inputs)`, embedded where the inputs are ids; checks the inputs."""
        integer = jnp.issubdtype(x.dtype, jnp.integer)
        if integer and self.vocabulary is None:
            raise ValueError(
                f"RecurrentClassifier: inputs are {x.dtype}; for integer ids set vocabulary=, their number"
            )
        if integer != (self.vocabulary is not None) or x.ndim != (2 if integer else 3) or x.shape[1] == 0:
            allowed = "integer ids (batch, time)" if self.vocabulary is not None else "floats (batch, time, inputs)"
            raise ValueError(
                f"RecurrentClassifier: inputs must be {allowed} of at least one step, got {x.dtype} {x.shape}"
            )
        return x if self.vocabulary is None else nn.Embed(self.vocabulary, self.embedding)(x)


def _mask(lengths: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns the bool mask `(batch, time)` of lengths or of a mask."""
    lengths = jnp.asarray(lengths)
    if lengths.dtype == bool and lengths.shape == shape:
        return lengths
    if jnp.issubdtype(lengths.dtype, jnp.integer) and lengths.shape == shape[:1]:
        return jnp.arange(shape[1])[None, :] < lengths.astype(int)[:, None]
    raise ValueError(
        f"RecurrentClassifier: lengths must be integers {shape[:1]} or a bool mask {shape}, "
        f"got {lengths.dtype} {lengths.shape}"
    )


def _mean(outputs: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the mean over the valid steps; zeros where there is none."""
    if mask is None:
        return outputs.mean(axis=1)
    count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
    return outputs.sum(axis=1) / count.astype(outputs.dtype)  # masked outputs are zeros
