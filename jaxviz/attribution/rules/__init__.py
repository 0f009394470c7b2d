"""Methods that put other backward rules in place of the derivative: per primitive of the traced program, per layer."""
