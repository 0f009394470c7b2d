"""Programs that take as long whatever their values are, and do nothing but compute."""

from jaxviz.program._compat import ClosedJaxpr, Jaxpr, closed, subprograms


def is_steady(program: ClosedJaxpr | Jaxpr) -> bool:
    """Whether a program has no loop that its values end, and no call of the host."""
    jaxpr = closed(program)[0]
    if jaxpr.effects:
        return False
    return all(
        equation.primitive.name != "while"
        and not equation.primitive.name.endswith("callback")
        and all(map(is_steady, subprograms(equation)))
        for equation in jaxpr.eqns
    )
