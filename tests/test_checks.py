import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz import checks

CASES = {
    "float": (lambda c: c.check_count("f", "n", 2.0), TypeError, "f: n must be an int, got 2.0"),
    "bool": (lambda c: c.check_count("f", "n", True), TypeError, "f: n must be an int, got True"),
    "word": (lambda c: c.check_count("f", "n", "2"), TypeError, "f: n must be an int, got '2'"),
    "float array": (lambda c: c.check_count("f", "n", jnp.ones(())), TypeError, "f: n must be an int, got Array"),
    "zero": (lambda c: c.check_count("f", "n", 0), ValueError, "f: n must be at least 1, got 0"),
    "too many": (lambda c: c.check_count("f", "n", 9, at_most=8), ValueError, "f: n must be 1 to 8, got 9"),
    "huge": (lambda c: c.check_count("f", "n", 10**5000, at_most=8), ValueError, "got a very large number"),
    "no number": (lambda c: c.check_number("f", "x", "1"), TypeError, "f: x must be a number, got '1'"),
    "complex": (lambda c: c.check_number("f", "x", 1j), TypeError, "must be a number"),
    "array": (lambda c: c.check_number("f", "x", np.ones(2)), TypeError, "must be a number"),
    "None": (lambda c: c.check_number("f", "x", None), TypeError, "got None"),
    "NaN": (lambda c: c.check_number("f", "x", math.nan, 0, 1), ValueError, r"f: x must be in \[0, 1\], got nan"),
    "infinite": (lambda c: c.check_number("f", "x", math.inf, 0), ValueError, r"must be in \[0, inf\), got inf"),
    "below": (lambda c: c.check_number("f", "x", np.float32(-1), 0), ValueError, r"must be in \[0, inf\), got "),
    "flag": (lambda c: c.check_flag("f", "shuffle", "no"), TypeError, "f: shuffle must be True or False, got 'no'"),
    "choice": (
        lambda c: c.check_choice("f", "how", "sums", ("sum", None)),
        ValueError,
        "one of 'sum', None, got 's",
    ),
    "array choice": (lambda c: c.check_choice("f", "how", np.ones(2), ("sum",)), ValueError, "one of 'sum', got"),
    "function": (lambda c: c.check_function("f", "loss", 3, "outputs"), TypeError, "a function of outputs, got 3"),
    "text": (lambda c: c.check_text("f", "title", 3), TypeError, "f: title must be a string, got 3"),
    "surrogate": (lambda c: c.check_text("f", "title", "a\ud800"), ValueError, "half a character at index 1"),
    "strings": (
        lambda c: c.check_strings("f", "x", ["a", 3], "path"),
        TypeError,
        "one path, or several of them, got 3",
    ),
    "no strings": (lambda c: c.check_strings("f", "x", None), TypeError, "one string, or several of them, got None"),
    "no path": (lambda c: c.check_path("f", "logdir", None), TypeError, "f: logdir must be a path, got None"),
    "bytes": (lambda c: c.check_path("f", "logdir", b"a"), TypeError, "must be a path, got b'a'"),
    "NUL": (lambda c: c.check_path("f", "logdir", "a\0b"), ValueError, r"without NUL, got 'a\\x00b'"),
    "half": (lambda c: c.check_path("f", "logdir", "a\ud800b"), ValueError, r"got 'a\\ud800b'"),
    "bucket": (lambda c: c.check_path("f", "logdir", "gs://a"), ValueError, "local or mounted disk"),
    "no key": (lambda c: c.check_key("f", None), TypeError, "f: key is missing"),
    "seed": (lambda c: c.check_key("f", 0), TypeError, r"f: key must be a jax.random.key, got 0"),
    "keys": (lambda c: c.check_key("f", jax.random.split(jax.random.key(0))), ValueError, "keys of shape"),
}


@pytest.mark.parametrize("name", CASES)
def test_errors(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message) as caught:
        call(checks)
    assert str(caught.value).startswith("f: ")
    assert len(str(caught.value)) < 400


def test_what_passes():
    assert checks.check_count("f", "n", np.int64(3)) == 3
    assert type(checks.check_count("f", "n", jnp.int32(3))) is int
    assert [checks.check_number("f", "x", value) for value in (1, 0.5, np.float32(2), jnp.float32(2))] == [1, 0.5, 2, 2]
    assert checks.check_flag("f", "x", np.True_) is True
    checks.check_choice("f", "how", None, ("sum", None))
    assert checks.check_strings("f", "x", "a") == ("a",)
    assert checks.check_text("f", "x", "Ä 🂡") == "Ä 🂡"
    key = jax.random.key(0)
    assert checks.check_key("f", key) is key


def test_traced_values():
    def traced(x):
        assert checks.is_traced(x)
        assert checks.check_number("f", "x", x, 0, 1) is x
        with pytest.raises(
            TypeError, match=r"n must be an int, got a traced value, which is not known yet inside jax\.jit"
        ):
            checks.check_count("f", "n", x)
        return x

    assert not checks.is_traced(jnp.ones(()))
    jax.jit(traced)(1.0)


def test_a_network_that_does_not_fit_is_named():
    network = lambda x: x @ jnp.ones((3, 2))
    with checks.applying("f", "data", network, jnp.ones((4, 3))):
        pass
    with (
        pytest.raises(ValueError, match=r"f: the network cannot be applied to data, float32\[4, 2\]: dot_general"),
        checks.applying("f", "data", network, jnp.ones((4, 2))),
    ):
        raise RuntimeError("deep inside")
    with (
        pytest.raises(RuntimeError, match="of something else"),
        checks.applying("f", "data", network, jnp.ones((4, 3))),
    ):
        raise RuntimeError("of something else")


def test_the_checks_and_tensorboard_do_without_jax():
    program = "import sys, jaxviz.checks, jaxviz.tensorboard; assert 'jax' not in sys.modules, 'jax was imported'"
    subprocess.run([sys.executable, "-c", program], check=True)
