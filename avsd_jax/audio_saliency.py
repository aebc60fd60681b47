"""Computes the saliency of a file's audio over time, by methods that need no training.

    python -m avsd_jax.audio_saliency FILE [--out=DIR] [--method=NAME,...]

FILE is a video or an audio file. The output folder, by default FILE's name without its ending and with
`_audio_saliency`, in the folder that the command runs in, gets

    audio_saliency.csv     per video frame: number from 1, time in seconds, and a column for each method, in [0, 1]
    audio_saliency.json    what each column is, its scale, and notes on the input
    audio_saliency.png     spectrogram, waveform and curves

when all of them are complete. A file without video has a row every 40 ms. A folder holds one file's curves: another
run on the same file replaces them, one of another file is refused. Methods:

    energy                root mean square of the samples
    onset                 how much louder the frequency bands become
    kayser                Kayser's auditory saliency map, averaged over frequency
    surprise_gaussian     Schauerte's surprise, of log power under a Gaussian of the last second
    surprise_gamma        Schauerte's surprise, of magnitude under a Gamma distribution that forgets
    divergence            KL divergence of the spectrum from that before it
    natural_statistics    Tsuchida and Cottrell's rareness of gammatone features
    teager                Teager energy, amplitude and frequency of the dominant band
    contrast              temporal contrast of envelope, pitch, bandwidth and rate

See docs/audio_saliency.md.
"""

import avsd_jax.common.interrupt  # isort: skip

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.common import cli, logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.handcrafted.sound.curves import METHODS
from avsd_jax.prediction import audio_curves


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.audio_saliency", __doc__)
    parser.add_argument("file", metavar="FILE", help="the video or audio file")
    parser.add_argument("--out", metavar="DIR", help="folder to write to; created if missing")
    parser.add_argument(
        "--method", default=",".join(METHODS), metavar="NAME,...", help="one or more of the methods (default: all)"
    )
    parser.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _run_command_line(_parser().parse_args(argv)))


@cli.sigterm_exits()
def _run_command_line(args: argparse.Namespace) -> None:
    file = Path(args.file)
    out = Path(f"{file.stem}_audio_saliency") if args.out is None else Path(args.out)
    methods = args.method.split(",")
    with logs.shown(args.verbose):
        keep_programs()
        result = audio_curves.run(file, out, methods)
    table = next(path for path in result.files if path.suffix == ".csv")
    print(f"{len(result.times)} rows, {len(methods)} methods: {table}")


if __name__ == "__main__":
    avsd_jax.common.interrupt.loaded()
    sys.exit(main())
