"""What happens in which order: data, training, search, run folders, the report, and the command line."""

from .cli.interrupts import is_command, leave_on_interrupt

if is_command():  # until `cli.main` listens itself
    leave_on_interrupt()
