"""The address of a store: ``https://ACCOUNT.blob.core.windows.net/CONTAINER[/prefix]``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class StoreUrl:
    """A container's address and the folder in it, which ends with a slash unless it is empty."""

    container_url: str
    prefix: str = ""

    @property
    def container(self) -> str:
        """The container's name."""
        return self.container_url.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.container_url}/{self.prefix}".rstrip("/")

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """Read an address; raises ValueError. An emulator on this machine has the account in the path."""
        parts = urlsplit(text)
        is_local = parts.hostname in _LOCAL
        names = [name for name in parts.path.split("/") if name]
        wanted = 2 if is_local else 1
        if parts.username or parts.query or parts.fragment or not parts.hostname or len(names) < wanted:
            raise ValueError("https://ACCOUNT.blob.core.windows.net/CONTAINER, with a folder in it if need be")
        if parts.scheme != "https" and not is_local:
            raise ValueError("an address that begins with https://")
        base = "/".join((f"{parts.scheme}://{parts.netloc}", *names[:wanted]))
        return cls(base, "".join(f"{name}/" for name in names[wanted:]))
