"""The one kind of error that a user can mend.

Everything that fails because of what a user gave (a key, a file, a link, a full disk) raises `UserError` with one
sentence that names the thing and says what to do. The command prints that sentence and exits with status 2; every
other exception is a bug of ours and exits with status 1.
"""


class UserError(Exception):
    """One sentence that names the key or the file, and the remedy."""


def full_disk(path: object) -> UserError:
    """The error for `OSError.errno == ENOSPC` while writing below `path`."""
    return UserError(
        f"No space is left on the device while writing {path}: free some space and run again; nothing half-written was kept."
    )
