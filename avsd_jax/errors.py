"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """Bad input: the message is one sentence that names the thing and the mend.

    Command-line entry points print it without a traceback and exit with status 2.
    """
