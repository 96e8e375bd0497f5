"""`muster evaluate`: accuracy on labelled photos."""

from pathlib import Path
from typing import Annotated, Any

import typer

import muster
from muster.pipeline.cli.console import JsonOption, progress, report, skipped
from muster.pipeline.cli.options import (
    LIBRARY,
    DeviceOption,
    KOption,
    LibraryOption,
    ModelOption,
    SetOption,
    WeightsFileOption,
    WeightsOption,
    WorkersOption,
)

evaluate_app = typer.Typer(no_args_is_help=True, help="Accuracy on labelled photos.")
ImagesOption = Annotated[str, typer.Option("--images", help="Labelled images: a Parquet file or any other source.")]
KeepOption = Annotated[
    str, typer.Option("--library", "-l", help="Library to keep the work in.", show_default="one that is thrown away")
]


@evaluate_app.command("verify")
def evaluate_verify(
    images: ImagesOption,
    pairs: Annotated[str, typer.Option(help="Pairs file in the layout of LFW's View 2.")],
    library: KeepOption = "",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is this the same person? Accuracy over labelled pairs, fold by fold.

    Example: muster evaluate verify --images lfw.parquet --pairs pairs.txt
    """
    from muster.pipeline.cli.parse import chosen

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    [task] = chosen("faces", model)
    with progress() as on_progress:
        facts = muster.evaluate.verify(
            images, pairs, library=library, task=task, machine=machine, on_progress=on_progress
        )
    text = "accuracy {accuracy} ± {std} at {threshold}, {pairs} pairs, {undetected} images without a face"
    report(facts, as_json, text.format_map(facts))


@evaluate_app.command("cluster")
def evaluate_cluster(
    images: ImagesOption,
    label: Annotated[str, typer.Option(help="Column that names the person.")],
    library: KeepOption = "",
    k: KOption = "auto",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Are the clusters the people? Both methods over labelled photos.

    Example: muster evaluate cluster --images lfw.parquet --label person
    """
    from muster.pipeline.cli.parse import chosen, parse_k

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    [task], count = chosen("faces", model), parse_k(k)
    with progress() as on_progress:
        facts = muster.evaluate.cluster(
            images, label, k=count, library=library, task=task, machine=machine, on_progress=on_progress
        )
    lines = [
        f"{method}: pairwise F {r['pairwise_f1']}, BCubed F {r['bcubed_f1']},"
        f" {r['clusters']} clusters, {r['people']} people"
        for method, r in facts.items()
        if method != "undetected"
    ]
    report({**facts["graph"], **facts}, as_json, *lines)


@evaluate_app.command("identify")
def evaluate_identify(
    images: ImagesOption,
    label: Annotated[str, typer.Option(help="Column that names the person.")],
    library: KeepOption = "",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who is this, or nobody known? Half of the photos of each person are enrolled; who has one photo is a stranger.

    Example: muster evaluate identify --images lfw.parquet --label person
    """
    from muster.pipeline.cli.parse import chosen
    from muster.tasks.people.calibrate import FPIRS

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    [task] = chosen("faces", model)
    with progress() as on_progress:
        facts = muster.evaluate.identify(
            images, label, library=library, task=task, machine=machine, on_progress=on_progress
        )
    lines = ["rank 1 {rank1}; {people} people, {mated} mated and {nonmated} non-mated searches".format_map(facts)]
    for fpir in FPIRS:
        low, high = facts[f"fnir_at_fpir_{fpir:g}_interval"]
        lines.append(f"FNIR {facts[f'fnir_at_fpir_{fpir:g}']} ({low} to {high}) at FPIR {fpir:g}")
    lines += map(_doubt, facts["doubt"])
    report(facts, as_json, *lines)


def _doubt(row: dict[str, Any]) -> str:
    percent = {name: f"{100 * value:.2f} %" for name, value in row.items() if isinstance(value, float)}
    return (
        "photos of each: {photos} ({people} people), lower threshold by {lower}: ".format_map(row)
        + "{named} named, {misnamed} misnamed, {unsure} left to a human ({unsure_shown} with themselves shown),"
        " {unknown} unknown; of strangers {strangers_named} named, {strangers_unsure} left to a human".format_map(
            percent
        )
    )


@evaluate_app.command("objects")
def evaluate_objects(
    images: ImagesOption,
    annotations: Annotated[
        Path | None,
        typer.Option(help="COCO JSON of boxes.", show_default="instances.json in the images' folder or beside it"),
    ] = None,
    library: KeepOption = "",
    task: Annotated[str, typer.Option(help="Any whose rows have labels, scores and boxes.")] = "objects",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    weights: WeightsFileOption = [],  # noqa: B006
    settings: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Are the objects found? COCO's average precision, and precision and recall at a score of 0.5.

    Example: muster evaluate objects --images coco128/images --annotations coco128/instances.json
    """
    from muster.pipeline.cli.parse import chosen

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    [choice] = chosen(task, model, weights, settings=settings)
    with progress() as on_progress:
        facts = muster.evaluate.objects(
            images, annotations, library=library, task=choice, machine=machine, on_progress=on_progress
        )
    text = (
        f"AP {facts['ap']}, AP50 {facts['ap50']}; at score 0.5: precision {facts['precision_at_0.5']},"
        f" recall {facts['recall_at_0.5']}; {facts['images']} images, {facts['boxes']} boxes"
    )
    report(facts, as_json, text)


@evaluate_app.command("labels")
def evaluate_labels(
    images: ImagesOption,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of what is on a photo: a text, or a list.", show_default="folder"),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(help="COCO JSON that says what is on photos, in place of a column.", show_default="none"),
    ] = None,
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    weights: WeightsFileOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Do the labels say what photos show? Top 1 and top 5, or mean average precision where they show several things.

    Example: muster evaluate labels --images photos --model labels=head --weights labels=labels.safetensors
    """
    from muster.pipeline.cli.parse import chosen

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    [task] = chosen("labels", model, weights)
    with progress() as on_progress:
        facts = muster.evaluate.labels(
            images,
            label=label,
            annotations=annotations,
            task=task,
            machine=machine,
            on_progress=on_progress,
        )
    figures = ", ".join(f"{name} {facts[name]}" for name in ("top1", "top5", "map") if name in facts)
    lines = [f"{facts['model']}: {figures}; calibration error {facts['calibration_error']}, {facts['images']} images"]
    report(facts, as_json, *lines, *(f"{name}: {value}" for name, value in facts["per_class"].items()))


@evaluate_app.command("masks")
def evaluate_masks(
    images: ImagesOption,
    labels: Annotated[
        Path, typer.Option(help="Folder of label images: PNGs with the images' names, a value per class.")
    ],
    library: KeepOption = "",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    weights: WeightsFileOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Which pixels are what? Mean IoU over label images, by the model that knows their values unless one is named.

    Example: muster evaluate masks --images photos --labels labels
    """
    from muster.pipeline.cli.parse import chosen

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    [task] = chosen("masks", model, weights)
    with progress() as on_progress:
        facts = muster.evaluate.masks(
            images, labels, library=library, task=task, machine=machine, on_progress=on_progress
        )
    text = "{model}: mean IoU {miou}, global accuracy {global_accuracy}, class average {class_average}, {images} images"
    lines = [text.format_map(facts), *(f"{name}: {iou}" for name, iou in facts["per_class"].items())]
    report(facts, as_json, *lines)


@evaluate_app.command("search")
def evaluate_search(
    captions: Annotated[Path, typer.Option(help="COCO JSON of captions.")],
    library: LibraryOption = LIBRARY,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Do words find the photos that they describe? The rank of a caption's photo among all, and the other way round.

    Example: muster evaluate search --captions captions_val2017.json -l ./library
    """
    facts = muster.evaluate.search(library, captions, machine=muster.Machine(device=device))
    ways = (f"{way.replace('_', ' ')}: {_ranked(facts[way])}" for way in ("text_to_photo", "photo_to_text"))
    report(facts, as_json, "{model}: {photos} photos, {captions} captions".format_map(facts), *ways)


def _ranked(facts: dict[str, Any]) -> str:
    recalls = [name for name in facts if f"{name}_interval" in facts]
    found = [
        f"{name.replace('_', ' ')} {facts[name]} ({{}} to {{}})".format(*facts[f"{name}_interval"]) for name in recalls
    ]
    return f"{', '.join(found)}; median rank {facts['median_rank']:g}, mean 1 / rank {facts['mean_reciprocal_rank']}"


@evaluate_app.command("pairs")
def evaluate_pairs(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="NAME.safetensors, as muster train NAME wrote it.")],
    images: Annotated[
        list[str], typer.Option("--images", metavar="SOURCE", help="Parquet file of items; may be repeated.")
    ],
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Their column that says who an item is of.", show_default="pairs of texts"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PNG to draw DET curves into.", show_default="none")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Are these two of one? Error rates of a siamese network: signatures, voices, pairs of questions.

    Example: muster evaluate pairs signatures/signatures.safetensors --images new.parquet --label person
    """
    with skipped() as on_skipped:
        facts = muster.evaluate.pairs(model, images, label, out=out, on_skipped=on_skipped)
    report(facts, as_json, *(_claims(kind, each) for kind, each in facts.items() if isinstance(each, dict)))


def _claims(kind: str, facts: dict[str, Any]) -> str:
    low, high = facts["eer_interval"]
    text = f"{kind}: EER {facts['eer']} ({low} to {high})"
    if "accuracy" in facts:
        text += f", accuracy {facts['accuracy']} ± {facts['accuracy_std']} over {facts['folds']} folds"
    tars = ", ".join(f"{facts[f'tar_at_far_{far}']} at FAR {far}" for far in ("1e-1", "1e-2"))
    return f"{text}; TAR {tars}; {facts['genuine']} genuine claims and {facts['impostors']} others"
