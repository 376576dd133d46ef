"""The stages of a run, a file each: what one is given, what decides its result, and when it is run.

A file is called as its stage, whose networks have folders below that name. It says in `DECIDED_BY` with which modules
the work begins: those and all that they reach decide the result, so `make stage-versions` watches them. A new stage is
such a file, and a line of `runs/stage_names.py`.
"""
