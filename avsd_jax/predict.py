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

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

from avsd_jax.common.cli import run as run_command
from avsd_jax.errors import InputError
from avsd_jax.media.reading import probe
from avsd_jax.prediction.map_writers import MAP_WRITERS, check_folder
from avsd_jax.prediction.predictor import Predictor

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a training run or of a converted model.")
_OUT = flags.DEFINE_string("out", None, "Folder to write to; made if missing.")
_MAPS = flags.DEFINE_enum("maps", "png", list(MAP_WRITERS), "How to write the maps.")
_STRIDE = flags.DEFINE_integer("stride", 1, "Distance between the frames predicted.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Clips that go through the model together.", lower_bound=1)


def main(argv: Sequence[str]) -> None:
    """Runs what the parsed flags say."""
    if len(argv) != 2:
        raise InputError(f"{len(argv) - 1} videos given: give one, as in predict --checkpoint=DIR INPUT.mp4 --out=DIR")
    for flag in (_CHECKPOINT, _OUT):
        if not flag.value:
            raise InputError(f"--{flag.name} is missing: see python -m avsd_jax.predict --help")
    # Remarks on the input only, without the time and place of the log call.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().setFormatter(None)
    # A terminated run cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Both fail here, before the model is loaded.
    probe(argv[1])
    check_folder(Path(_OUT.value), Path(argv[1]).name)
    predictor = Predictor(_CHECKPOINT.value, _BATCH_SIZE.value)
    result = predictor.run(argv[1], _OUT.value, maps=_MAPS.value, stride=_STRIDE.value)
    print(f"{result.num_frames} frames: {next(p for p in result.files if p.suffix == '.mp4')}")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line.

    Raises:
        InputError: a flag is unknown or has a wrong value.
    """
    try:
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        raise InputError(str(error).splitlines()[0]) from error


if __name__ == "__main__":
    avsd_jax.common.interrupt.loaded()
    sys.exit(run_command(lambda: app.run(main, flags_parser=parse_flags)))
