"""Converts a published checkpoint of PyTorch or Caffe to a model folder.

    python -m avsd_jax.convert --model=avinet --checkpoint=AViNet.pt --out=DIR

Reading a `.pt` file needs PyTorch (`pip install "avsd-jax[convert]"`), a `.safetensors` or `.caffemodel` file does not.
Only tensors are read: a file that would run code when opened is refused. The weights are found under any keys and
prefixes of the training script; `--weights=PATH` selects one of several copies. DIR is then an input of
`python -m avsd_jax.predict --checkpoint=DIR` and `--config.init=DIR`. `--add=FILE` names another file with a part of
the network that its checkpoint does not hold. DeepVS and ACLNet are read from files of
TensorFlow (PREFIX.index) and Keras (.h5).
"""

import argparse
import sys
from collections.abc import Sequence

from avsd_jax.common import cli
from avsd_jax.torch_weights.conversion import convert
from avsd_jax.torch_weights.layouts import NAMES


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = cli.Parser("python -m avsd_jax.convert", __doc__)
    parser.add_argument("--model", required=True, choices=NAMES, help="network of the checkpoint")
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="PyTorch, safetensors or Caffe file to read"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new or empty folder to write")
    parser.add_argument("--weights", metavar="PATH", help="within a file of several copies; '.' for the outermost")
    parser.add_argument("--add", action="append", default=[], metavar="FILE", help="another file, of parts it lacks")
    return cli.run(lambda: _convert_command_line(parser.parse_args(argv)))


def _convert_command_line(args: argparse.Namespace) -> None:
    print(f"wrote {convert(args.model, args.checkpoint, args.out, args.weights, args.add)}")


if __name__ == "__main__":
    sys.exit(main())
