"""What can go wrong when a package or a wheelhouse is built. Each message says what to do."""


class PackageError(Exception):
    """The package can't be built, or does not work."""


class NoInterpreterError(PackageError):
    """No Python on this machine can run the package."""
