"""What a run looks like to a person: one self-contained HTML page, made from the files of the run folder alone."""

from .page import write_report

__all__ = ["write_report"]
