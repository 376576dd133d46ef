"""How far the ranking of a supernet can be trusted: its scores against the truth, and what may explain them."""

TRUTH_PREFIX = "truth-"
"""Of the names of networks that are trained to judge the supernet's ranking, not to be used."""
