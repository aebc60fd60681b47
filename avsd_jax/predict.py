"""Predicts the saliency of a video file, of a picture or of a folder of pictures, or of any number of these.

    python -m avsd_jax.predict INPUT.mp4 --out=DIR [--checkpoint=DIR | --model=gbvs_av] [--maps=png|npz|stavis|mp4|none]
                               [--overlay=video|none] [--frames=START:END:STEP] [--mode=exact|fast] [--stride=1]
                               [--batch_size=4] [--precision=default|high|highest] [--every=0.25]
                               [--threshold=0.5 | --hysteresis=LOW,HIGH] [--frame_step=1]
    python -m avsd_jax.predict PICTURE.jpg|FOLDER --out=DIR [--checkpoint=DIR | --model=gbvs] [--maps=png|npz|none]
                               [--overlay=video|none] [--precision=default|high|highest]
    python -m avsd_jax.predict INPUT|FOLDER|@LIST ... --out=DIR [--overwrite] [--beam_pipeline_options=...] ...

The checkpoint is the folder of a training run, of a model converted by `python -m avsd_jax.convert` or of a shared one,
or its address on a hub, `hf://owner/name[/folder][@revision]` (docs/sharing.md). Without one, a model that has no
weights predicts: `gbvs_av`, of pictures `gbvs`, or another one by --model. The output folder gets of a video

    INPUT_overlay.mp4      the frames under their maps, the gate in a corner, with the input's audio
    maps/000000.png ...    --maps=png: a map per frame, of the frame's size, 8 bits, each min-max normalised
    maps/000000.npz ...    --maps=npz: 100 frames per file: `frames` [n], `times` [n] in seconds and `saliency`
                           [n, H, W] in [0, 1], the output of the model (of its own size, not normalised)
    maps/pred_sal_000001.jpg ...  --maps=stavis: the model's map, min-max normalised, as STAViS's own script writes it
    maps/saliency.mp4      --maps=mp4: the maps of --maps=png, to 2 levels, as a grey video with the input's times
    timeline.json          per frame: time, probability of audio-visual consistency, gate
    timeline.png           a plot of that probability

and of pictures

    overlays/PICTURE.jpg   the picture under its map
    maps/PICTURE.png       --maps=png: the map, of the picture's size, as of a frame
    maps/PICTURE.npz       --maps=npz: `saliency` [H, W], as of a frame
    pictures.json          per picture: its size and files, or why it could not be read

when all of them are complete. A folder holds one video, or one picture or folder of pictures: another prediction of the
same replaces the earlier one completely, one of another is refused. See docs/prediction.md.

Of several inputs, of a folder with videos or folders in it, and of a list, each file gets a folder of its own,
`DIR/NAME/`, with what is written of it alone. The model is loaded once. What is there already, by the same model and
options and of the same contents, is skipped; a file that fails is reported and stops no other; DIR/summary.json tells
what became of each, and the exit status is 2 if some failed. See docs/many_videos.md.

Every frame has a map. With --stride=k every k-th frame is predicted: maps between two predictions are interpolated
linearly, and probability and gate are those of the earlier one. Frames are taken at the file's own rate.

--mode=exact gives the maps of the model called with each clip, to 1e-5; --mode=fast approximates them: one frame in
2 is predicted, unless --stride says otherwise.

The classifier of a gated model scores one frame every `--every` seconds (by default as the run's `avc_every` says; 0:
every frame), and its score holds until the next one. The gate is open above `--threshold`; with --hysteresis=LOW,HIGH
it opens above HIGH and closes at LOW or below.

A model that maps every frame of a clip takes the frames of a video as one sequence, with --frame_step=k as k sequences
of every k-th frame, each with a state of its own, whose maps are interleaved (UNISAL's protocol: 5).

--frames=100:200 predicts these frames alone, as Python slices a list: their maps are those of the whole video.

Pictures of a folder are predicted one by one, whatever their names. If some cannot be read, the others are predicted,
and the exit status is 2.
"""

import avsd_jax.common.huge_pages  # noqa: F401  # isort: skip
import avsd_jax.common.interrupt  # isort: skip

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.common import beam, cli, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.common.wording import printable
from avsd_jax.errors import InputError
from avsd_jax.map_files.contents import some
from avsd_jax.media.reading import probe
from avsd_jax.models.common.network import PRECISIONS
from avsd_jax.prediction import decision, inputs, many, picture_files, picture_predictor
from avsd_jax.prediction.frame_choice import FrameChoice
from avsd_jax.prediction.map_writers import MAP_WRITERS, check_folder
from avsd_jax.prediction.picture_predictor import PicturePredictor
from avsd_jax.prediction.predictor import DEFAULT_MODEL, Predictor
from avsd_jax.prediction.traits import FAST_STRIDE, MODES

# Options that have no effect on a picture.
_OF_VIDEOS = ("mode", "stride", "every", "threshold", "hysteresis", "batch_size", "frame_step", "frames")


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.predict", __doc__)
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="a video file, a picture, a folder of these, or @LIST of paths"
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--checkpoint", metavar="DIR", help="a training run, a converted or shared model, or hf://owner/name[@revision]"
    )
    model.add_argument(
        "--model",
        metavar="NAME",
        help=f"without a checkpoint: a model that has no weights (default: {DEFAULT_MODEL}, of pictures gbvs)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to; created if missing")
    parser.add_argument("--maps", default="png", choices=list(MAP_WRITERS), help="how to write the maps (default: png)")
    parser.add_argument(
        "--overlay", default="video", choices=("video", "none"), help="also write the input under its maps (default)"
    )
    parser.add_argument("--mode", choices=MODES, help="the model's maps (exact, default), or approximate ones, faster")
    parser.add_argument(
        "--stride",
        type=cli.positive,
        help=f"distance between the predicted frames (default: 1; with --mode=fast {FAST_STRIDE})",
    )
    parser.add_argument(
        "--every", type=cli.number(0.0, 3600.0), help="seconds between two scores of the gate (default: the run's)"
    )
    parser.add_argument(
        "--frame_step",
        type=cli.positive,
        help="of models of sequences: every so many frames are one (default: the run's)",
    )
    decision.add_options(parser)
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of float32 products on a GPU or TPU (default: the run's)",
    )
    parser.add_argument("--frames", metavar="START:END:STEP", help="frames to predict, as Python slices a list")
    parser.add_argument("--batch_size", type=cli.positive, help="clips per batch (default: 4)")
    parser.add_argument(
        "--overwrite", action="store_true", help="of many inputs: make anew what another model or other options made"
    )
    parser.add_argument(
        "--beam_pipeline_options", help="of many inputs: flags for Apache Beam, which does the work: runner=...,..."
    )
    parser.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _predict_command_line(_parser().parse_intermixed_args(argv)))


@cli.sigterm_exits()
def _predict_command_line(args: argparse.Namespace) -> None:
    frames = FrameChoice.of(args.frames)
    if not inputs.is_one(args.inputs):
        _many(args, frames)
        return
    if args.beam_pipeline_options is not None:
        raise InputError("--beam_pipeline_options is of many inputs: leave it out, or give a @list or several inputs")
    (source,) = args.inputs
    found = picture_files.found(source)
    if found is not None:
        _pictures(args, found)
        return
    # Both fail here, before the model is loaded.
    probe(source)
    check_folder(Path(args.out), Path(source).name)
    with logs.shown(args.verbose):
        keep_programs()
        predictor = Predictor(
            args.checkpoint, args.batch_size or 4, args.model or DEFAULT_MODEL, args.precision, args.frame_step
        )
        result = predictor.run(
            source,
            args.out,
            maps=args.maps,
            mode=args.mode or MODES[0],
            stride=args.stride,
            every=args.every,
            decision=decision.chosen(args),
            frames=frames,
            overlay=args.overlay != "none",
        )
    overlaid = next(
        (path for path in result.files if path.suffix == ".mp4" and path.parent == Path(args.out)), args.out
    )
    print(f"{result.num_frames} frames by {predictor.config.model_name}: {overlaid}")


def _many(args: argparse.Namespace, frames: FrameChoice | None) -> None:
    options = many.Options(
        checkpoint=args.checkpoint,
        model=args.model,
        batch_size=args.batch_size,
        precision=args.precision,
        frame_step=args.frame_step,
        maps=args.maps,
        overlay=args.overlay != "none",
        mode=args.mode or MODES[0],
        stride=args.stride,
        every=args.every,
        decision=decision.chosen(args),
        frames=frames,
    )
    with logs.shown(args.verbose):
        keep_programs()
        flags = beam.flags(args.beam_pipeline_options)
        summary = many.run(args.inputs, args.out, options, overwrite=args.overwrite, beam_options=flags)
    print(many.table(summary))
    print(f"\nsummary: {Path(args.out) / many.SUMMARY}")
    if summary[many.FAILED]:
        failed = [printable(row["input"]) for row in summary["files"] if row["status"] == many.FAILED]
        raise InputError(
            f"{len(failed)} of {len(summary['files'])} files failed ({some(failed)}): see {many.SUMMARY}; the others "
            f"are in {args.out}"
        )


def _pictures(args: argparse.Namespace, found: picture_files.Found) -> None:
    (source,) = args.inputs
    given = [name for name in _OF_VIDEOS if getattr(args, name) is not None]
    if given:
        raise InputError(f"--{given[0]} is of videos, and {source} is of pictures: leave it out")
    if args.maps not in picture_files.MAPS:
        raise InputError(f"--maps={args.maps} is of videos: choose one of {', '.join(picture_files.MAPS)}")
    picture_files.check_options(args.maps, args.overlay != "none")
    picture_files.check_folder(Path(args.out), found.name)
    with logs.shown(args.verbose):
        keep_programs()
        predictor = PicturePredictor(args.checkpoint, args.model or picture_predictor.DEFAULT_MODEL, args.precision)
        result = predictor.run(source, args.out, maps=args.maps, overlay=args.overlay != "none")
    number = f"{result.num_pictures} picture{'s' * (result.num_pictures > 1)}"
    shown = Path(args.out) / ("maps" if args.overlay == "none" else "overlays")
    print(f"{number} by {predictor.config.model_name}: {shown}")
    if result.failed:
        names = some([printable(name) for name in sorted(result.failed)])
        raise InputError(
            f"{len(result.failed)} of {len(found.paths)} pictures cannot be read ({names}): save "
            f"them again; the others are in {args.out}"
        )


if __name__ == "__main__":
    avsd_jax.common.interrupt.loaded()
    sys.exit(main())
