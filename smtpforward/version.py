"""Which version this is, as the package manager knows it."""

from importlib import metadata


def version() -> str:
    """The version; what says that there is none, where the tree is run as it lies."""
    try:
        return metadata.version("smtpforward")
    except metadata.PackageNotFoundError:
        return "(not installed)"
