"""What this package is called where packages are installed from. `muster` there is somebody else's."""

DISTRIBUTION = "muster-photos"


def version() -> str:
    from importlib.metadata import version  # 30 ms, and few need it

    return version(DISTRIBUTION)
