"""The stages in their order, and which of them `--force` runs again."""

STAGES = ("latency", "supernet", "oneshot", "similarity", "search", "picks", "retrain", "export", "rank", "report")

# What is made from a stage's results. A table that is measured again costs nobody a supernet, and networks are trained
# again where the picks differ.
_MADE_FROM = {
    "latency": ("search", "picks", "export", "report"),
    "supernet": ("oneshot", "similarity", "search", "picks", "retrain", "export", "rank", "report"),
    "oneshot": ("report",),
    "similarity": ("report",),
    "search": ("picks", "export", "report"),
    "picks": ("export", "report"),
    "retrain": ("export", "report"),
    "export": ("report",),
    "rank": ("report",),
    "report": (),
}


def forced_by(asked: str) -> set[str]:
    """Stages that are run again, whatever they have.

    Args:
        asked: a kind of stage, which means all of it and what is made from it; or one stage such as `retrain/pick-2`,
            which means that one: what is made from it follows where its results differ.
    """
    return {asked} if "/" in asked else {asked, *_MADE_FROM[asked]}
