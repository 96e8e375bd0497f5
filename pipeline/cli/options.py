"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Use a library that other users may write: they decide what Muster reads, deletes and answers there.",
    ),
]
LibraryOption = Annotated[
    str, typer.Option("--library", "-l", envvar="MUSTER_LIBRARY", help="Folder or bucket URI of the library.")
]
ModelOption = Annotated[
    list[str],
    typer.Option("--model", metavar="TASK=NAME", help="Model of a task; may be repeated. See `muster models list`."),
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights-dir", envvar="MUSTER_WEIGHTS", help="Folder to look for weights in first.")
]
WeightsFileOption = Annotated[
    list[str],
    typer.Option(
        "--weights", metavar="TASK=FILE", help="Your weights for the model of a task (.safetensors, .pth). Repeatable."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, or auto: cuda where there is one.")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Number of workers.", show_default="one per GPU, or per core as memory allows")
]
AddressOption = Annotated[
    str | None, typer.Option(envvar="RAY_ADDRESS", help="A running Ray cluster.", show_default="this machine alone")
]
SharedOption = Annotated[
    bool, typer.Option("--shared-library", help="The library's folder is one that all nodes of the cluster share.")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-errors", help="Try again what could not be reached, crashed, or ran out of memory.")
]
TasksOption = Annotated[str, typer.Option(help="Tasks to run, with commas.")]
SourcesArgument = Annotated[
    list[str], typer.Argument(metavar="SOURCE", help="Folders, globs, files or Parquet manifests; local or any URI.")
]
FollowLinksOption = Annotated[
    bool, typer.Option("--follow-links", help="Follow links that lead out of the folders named.")
]
ExcludeOption = Annotated[
    list[str],
    typer.Option(
        metavar="GLOB",
        help="Files or folders/ to leave out: '*.png', 'private/', '/2019/raw'. Repeatable. See .musterignore.",
    ),
]
FpsOption = Annotated[float, typer.Option(metavar="NUMBER", help="Videos: moments that are looked at in each second.")]
FramesOption = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Videos: moments of each at most.", show_default="any number")
]
ColumnOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Column of Parquet files that names images: URLs or paths. By default uri, url or path."
    ),
]
AllowPrivateOption = Annotated[
    bool,
    typer.Option(
        "--allow-private",
        help="Ask web servers on this machine and in private networks, too, for the images that these sources name.",
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify",
        "--rescan",
        help="Read every photo again, and find those that were changed and kept their size and time.",
    ),
]
MethodOption = Annotated[
    str, typer.Option(help="graph: finds the number of people. kmeans: see --k; knows nothing of photos or quality.")
]
KOption = Annotated[str, typer.Option(help="Number of people for kmeans, or auto.")]
SamePhotoOption = Annotated[
    bool, typer.Option("--same-photo", help="graph: two faces of one photo may be one person (collages).")
]
ClassesOption = Annotated[
    str,
    typer.Option(
        metavar="NAME[=SCORE],…",
        help="objects, masks: only these classes, each with its least score if you like: person,dog=0.6.",
        show_default="all",
    ),
]
MinScoreOption = Annotated[
    float | None, typer.Option(help="objects, masks: least score of a find.", show_default="the model's own")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="TASK.NAME=VALUE", help="An option of a task, as its page or package has it. Repeatable."
    ),
]
LIBRARY, TASKS = "./library", "faces,previews"
