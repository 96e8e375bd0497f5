"""What this package is called where packages are installed from. `muster` there is somebody else's."""

import json

DISTRIBUTION = "muster-photos"


def version() -> str:
    from importlib.metadata import version  # 30 ms, and few need it

    return version(DISTRIBUTION)


def origin() -> str | None:
    """The URL of the folder, file or repository that it was installed from; None where pip did not note it.

    Source: direct_url.json, https://packaging.python.org/en/latest/specifications/direct-url/. It holds no password.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        noted = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:  # a job's code comes to its nodes without metadata
        return None
    return str(json.loads(noted)["url"]) if noted else None


def named() -> tuple[str, str]:
    """Name and version, as a User-Agent has them, and the project's page; what is not known is left out."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        known = metadata(DISTRIBUTION)
    except PackageNotFoundError:  # a job's code comes to its nodes without metadata
        return DISTRIBUTION, ""
    pages = dict(each.split(", ", 1) for each in known.get_all("Project-URL") or ())
    return f"{DISTRIBUTION}/{known['Version']}", pages.get("Homepage", "")
