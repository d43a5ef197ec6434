"""The exception whose text is meant for the person who started the host."""


class HostError(Exception):
    """A mistake to correct before the host can run; the text is one line that says where and what it is."""
