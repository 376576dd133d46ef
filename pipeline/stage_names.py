"""The stages in their order: what `--force` takes."""

STAGES = ("latency", "supernet", "oneshot", "similarity", "search", "picks", "retrain", "export", "rank", "report")
