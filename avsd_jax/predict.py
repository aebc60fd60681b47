"""Saliency of any video file: heat maps over the picture with its sound kept, maps, and the gate over time.

    python -m avsd_jax.predict --checkpoint=DIR INPUT.mp4 --out=DIR [--maps=png|npz|stavis|none] [--stride=1]
                               [--batch_size=4]

`DIR` is the folder of a training run or what `python -m avsd_jax.convert` wrote. In the output folder appear

    INPUT_overlay.mp4      the frames under their maps, the gate in a corner, with the input's sound
    maps/000000.png ...    --maps=png: a map per frame, of the frame's size, 8 bits, stretched frame by frame
    maps/000000.npz ...    --maps=npz: 100 frames a file: `frames` [n], `times` [n] in seconds and `saliency`
                           [n, H, W] in [0, 1] as the model gives it (of its own size, not stretched)
    maps/pred_sal_000001.jpg ...  --maps=stavis: the model's map, stretched, as STAViS's own script writes it
    timeline.json          per frame: time, probability of audio-visual consistency, gate
    timeline.png           that probability as a curve

when all of them are whole. The folder is of one video: another prediction of the same one replaces the earlier whole,
one of another video is refused. docs/prediction.md says more.

Every frame has a map. With --stride=k every k-th frame is predicted: between two predictions the map goes
linearly from one to the other, and probability and gate keep the earlier one's value. Frames are taken at the
file's own rate.
"""

import avsd_jax.common.interrupt  # isort: skip

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.common import cli, logs
from avsd_jax.media.reading import probe
from avsd_jax.prediction.map_writers import MAP_WRITERS, check_folder
from avsd_jax.prediction.predictor import Predictor


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.predict", __doc__)
    parser.add_argument("video", metavar="INPUT.mp4", help="the video file")
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="a training run or a converted model")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to; made if missing")
    parser.add_argument("--maps", default="png", choices=list(MAP_WRITERS), help="how to write the maps (default: png)")
    parser.add_argument(
        "--stride", type=cli.positive, default=1, help="distance between the frames predicted (default: 1)"
    )
    parser.add_argument(
        "--batch_size", type=cli.positive, default=4, help="clips that go through the model together (default: 4)"
    )
    parser.add_argument("--verbose", action="store_true", help="print what libraries say, too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _predict_command_line(_parser().parse_args(argv)))


def _predict_command_line(args: argparse.Namespace) -> None:
    # A terminated run cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Both fail here, before the model is loaded.
    probe(args.video)
    check_folder(Path(args.out), Path(args.video).name)
    with logs.shown(args.verbose):
        predictor = Predictor(args.checkpoint, args.batch_size)
        result = predictor.run(args.video, args.out, maps=args.maps, stride=args.stride)
    print(f"{result.num_frames} frames: {next(p for p in result.files if p.suffix == '.mp4')}")


if __name__ == "__main__":
    avsd_jax.common.interrupt.loaded()
    sys.exit(main())
