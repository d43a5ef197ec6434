"""The one exception whose text is meant for the person who started the host."""


class HostError(Exception):
    """Something to be put right before the host can run; the text is one line which says where and what."""
