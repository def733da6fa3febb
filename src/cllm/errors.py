"""Every error that CLLM raises on purpose.

    CllmError                    1   anything below; the message is one line: what is wrong, and what to do
    ├── InvalidInput             2   what a person gave cannot be used
    │   ├── InvalidSettings      2   a setting is out of its bounds, or two of them contradict each other
    │   └── EmptyCorpus          2   no file, or too little text, is left to train on
    ├── InvalidCheckpoint        3   a .cllm file is truncated, corrupt, of a newer version, or not ours
    ├── RunNotFound              2   no run of that name, or none that can be resumed
    ├── TrainingFailed           4   a rank died, or the training could not go on
    │   └── NonFiniteLoss        4   loss or gradient became NaN or infinite, also after going back
    ├── StorageFull              5   the disk has no room for what must be written
    ├── NotEnoughMemory          6   the machine has too little memory for these settings
    └── Interrupted            130   a person stopped it

The number is the exit code of the command line.
"""

from __future__ import annotations


class CllmError(Exception):
    """Base of all errors meant for a person; `str(error)` is one line that says what to do."""

    exit_code = 1


class InvalidInput(CllmError, ValueError):
    """What a person gave (a path, a file, a prompt) cannot be used."""

    exit_code = 2


class InvalidSettings(InvalidInput):
    """A setting is out of bounds, or contradicts another."""


class EmptyCorpus(InvalidInput):
    """Nothing, or too little, is left to train on."""


class InvalidCheckpoint(CllmError):
    """A `.cllm` file is truncated, corrupt, too new, or not one."""

    exit_code = 3


class RunNotFound(CllmError):
    """No such run, or no run in the state that is asked for."""

    exit_code = 2


class TrainingFailed(CllmError):
    """The training ended before its work was done."""

    exit_code = 4


class NonFiniteLoss(TrainingFailed):
    """The loss or the gradient norm is NaN or infinite and going back did not help."""


class StorageFull(CllmError):
    """The disk is full (or a quota is reached); what was there before is untouched."""

    exit_code = 5


class NotEnoughMemory(CllmError):
    """The settings need more memory than the machine has."""

    exit_code = 6


class Interrupted(CllmError):
    """A person stopped the work."""

    exit_code = 130
