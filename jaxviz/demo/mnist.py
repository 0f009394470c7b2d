"""A convolutional network on 10,000 handwritten digits: trained with all hooks on, evaluated, and explained."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxviz import attribution, data, figures, models, train, watch
from jaxviz.demo.album import Album
from jaxviz.model import Model
from jaxviz.summaries import summary
from jaxviz.tensorboard import Writer

LOSS, METRICS = "softmax_cross_entropy", ("accuracy",)
MODULE = models.CNN(classes=10, channels=(16, 32, 64), pooling="stride", batch_norm=True)
EPOCHS, BATCH_SIZE, RATE, WEIGHT_DECAY, SHIFT = 10, 64, 0.008, 0.01, 2
LAST_MAP = "relu_2"  # 4 x 4 x 64, before the head: for the projector
CAM_MAP = "relu_1"  # 7 x 7 x 32: fine enough a grid for Grad-CAM on 28 x 28 pixels


def run(folder: Path, *, seed: int, quick: bool, console: Console) -> list[str]:
    """Runs the MNIST part of the demo; returns what was found."""
    training, held_out = data.mnist()
    epochs = 1 if quick else EPOCHS
    if quick:
        training = (training[0][:1600], training[1][:1600])
    saved = folder / "checkpoints"
    with train.Checkpoints(saved) as checkpoints:
        begun = checkpoints.latest_step or 0
    if begun:
        console.print(f"going on at step {begun}")
    with Writer(folder, start_step=begun) as writer:
        album = Album(writer, folder / "pictures")
        settings = {
            "epochs": epochs,
            "batch_size": BATCH_SIZE,
            "learning_rate": RATE,
            "weight_decay": WEIGHT_DECAY,
            "seed": seed,
        }
        writer.hparams(settings, ["epoch/val_accuracy", "epoch/val_loss"])
        charts = {name: [f"train/{name}", f"epoch/{name}", f"epoch/val_{name}"] for name in ("loss", "accuracy")}
        writer.layout({"training and validation": charts})
        state, history = _train(writer, saved, training, held_out, epochs, seed, console)
        model, step = state.model, int(state.step)
        writer.text("mnist/network", f"```\n{summary(model, held_out[0][:BATCH_SIZE])}\n```", step)
        album.add("mnist/layers", figures.layer_diagram(model.layers(held_out[0][:1])), step)
        album.add("mnist/learning_curves", figures.learning_curves(history.epochs, title="MNIST"), step)
        console.print("evaluating on the held-out digits")
        logits = np.asarray(train.predict(model, held_out[0], batch_size=500))
        found, wrong = _evaluate(held_out, logits, writer, album, step)
        console.print("explaining right and wrong answers")
        found += _explain(model, held_out, logits, wrong, album, step, jax.random.key(seed), 4 if quick else 8)
        _project(model, held_out, writer, 200 if quick else 1000)
        writer.text("mnist/found", "\n\n".join(found), step)
    return found


def _train(
    writer: Writer, saved: Path, training: Any, held_out: Any, epochs: int, seed: int, console: Console
) -> tuple[train.State, train.History]:
    """Trains with every hook on."""
    per_epoch = len(training[0]) // BATCH_SIZE
    key = jax.random.key(seed)
    rate = train.cosine(RATE, epochs * per_epoch, warmup=epochs * per_epoch * 3 // 10)
    state = train.create_state(
        MODULE, training[0][:1], optimizer=train.optimizer("adamw", rate, weight_decay=WEIGHT_DECAY), key=key
    )
    probe, shown = held_out[0][:256], held_out[0][:4]
    hooks = (
        watch.weights(every=25),
        watch.gradients(every=25),
        watch.updates(every=25),
        watch.activations(probe, layers="relu_*", every=50),
        watch.saliency(shown, target=held_out[1][:4], every=100),
        watch.input_gradients(probe[:64], target=held_out[1][:64], every=50),
    )
    return train.fit(
        state,
        training,
        loss=LOSS,
        metrics=METRICS,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=held_out,
        key=key,
        augment=functools.partial(data.shift, pixels=SHIFT),
        drop_remainder=True,
        hooks=hooks,
        writer=writer,
        checkpoint_dir=saved,
        console=console,
    )


def _evaluate(
    held_out: Any, logits: np.ndarray, writer: Writer, album: Album, step: int
) -> tuple[list[str], np.ndarray]:
    """Draws the confusion matrix and the mistakes; returns what was found, and the mistakes, the surest first."""
    images, labels = held_out
    probabilities = np.asarray(jax.nn.softmax(logits))
    predictions = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    wrong = wrong[np.argsort(-sureness[wrong])]
    album.add("mnist/confusion_matrix", figures.confusion_matrix(labels, predictions, num_classes=10), step)
    shown = wrong[:40]
    if len(shown):
        titles, correct = figures.answers(labels[shown], predictions[shown], probabilities=sureness[shown])
        grid = figures.image_grid(
            images[shown], titles=titles, correct=correct, title="Wrong answers, the surest first"
        )
        album.add("mnist/wrong_answers", grid, step)
    for digit in range(10):
        writer.pr_curve(f"mnist/digit_{digit}", labels == digit, probabilities[:, digit], step)
    counts = figures.confusion_counts(labels, predictions, num_classes=10)
    np.fill_diagonal(counts, 0)
    label, answer = np.unravel_index(counts.argmax(), counts.shape)
    found = [f"accuracy on {len(labels)} held-out digits: {np.mean(predictions == labels):.2%} ({len(wrong)} wrong)"]
    if len(shown):
        found.append(f"the most common mistake: {label} taken for {answer}, {counts.max()} times")
    return found, wrong


def _explain(
    model: Model,
    held_out: Any,
    logits: np.ndarray,
    wrong: np.ndarray,
    album: Album,
    step: int,
    key: jax.Array,
    count: int,
) -> list[str]:
    """Explains right and wrong answers by several methods, on pictures; returns what was found."""
    images, labels = held_out
    predictions = logits.argmax(axis=1)
    right = np.flatnonzero(predictions == labels)
    right = np.concatenate([right[labels[right] == digit][:1] for digit in range(count)])  # the first of each digit
    smooth = attribution.smooth(attribution.gradient, samples=25, noise=0.2)
    found = []
    for name, chosen in (("right", right), ("wrong", wrong[:count])):
        if not len(chosen):
            continue
        inputs, target = images[chosen], predictions[chosen]
        integrated = attribution.integrated_gradients(model, inputs, target=target)
        gap = np.abs(attribution.completeness_gap(model, inputs, integrated, target=target))
        sums = integrated.sum(axis=(1, 2, 3))
        maps = {
            "saliency": attribution.saliency(model, inputs, target=target),
            "SmoothGrad": smooth(model, inputs, target=target, key=key),
            "input x gradient": attribution.input_x_gradient(model, inputs, target=target),
            "integrated gradients": integrated,
            f"Grad-CAM at {CAM_MAP}": attribution.grad_cam(model, inputs, layer=CAM_MAP, target=target),
        }
        titles, correct = figures.answers(labels[chosen], predictions[chosen])
        album.add(
            f"mnist/why_{name}",
            figures.explanations(inputs, maps, titles=titles, correct=correct, title=f"Why these {name} answers?"),
            step,
        )
        found.append(
            f"integrated gradients (50 steps) of {len(chosen)} {name} answers add up to what the score gains over a black one, "
            f"{sums.min():.1f} to {sums.max():.1f}, but for {gap.max():.2f} at the most"
        )
    if len(wrong):
        # What speaks for the wrong answer rather than for the right one, pixel by pixel.
        chosen = wrong[:count]
        inputs, answer, label = images[chosen], predictions[chosen], labels[chosen]
        difference = attribution.integrated_gradients(model, inputs, target=answer) - attribution.integrated_gradients(
            model, inputs, target=label
        )
        titles = [f"{given} rather than {true}" for given, true in zip(answer, label, strict=True)]
        figure = figures.heatmaps(
            difference,
            images=inputs,
            titles=titles,
            title="What speaks for the wrong answer (orange), and against it (blue)",
        )
        album.add("mnist/wrong_rather_than_right", figure, step)
    return found


def _project(model: Model, held_out: Any, writer: Writer, count: int) -> None:
    """Puts the last feature maps of some digits into the projector."""
    images, labels = held_out[0][:count], held_out[1][:count]
    maps = model.until(LAST_MAP)(images)
    writer.embedding(
        "last feature map", maps.reshape(count, -1), metadata=[str(label) for label in labels], images=images
    )
