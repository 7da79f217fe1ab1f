"""The one exception that means *the input is at fault*, as opposed to a fault in this program."""


class UserError(Exception):
    """A fault in what the user gave: the message says what was given, what was expected and the likely fix.

    The command line prints it without a traceback and exits with code 2.
    """
