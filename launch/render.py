"""Prints the JobSet of a run on Kubernetes (GKE): one pod on each host of a TPU slice, or on each machine with GPUs.

python -m launch.render --image=IMAGE --tpu=tpu-v5-lite-podslice:4x8 -- --config=... --workdir=/runs/avinet
python -m launch.render --image=IMAGE --gpu=nvidia-h100-80gb:8 --hosts=2 -- --config=... --workdir=/runs/avinet

`... | kubectl apply --filename=-` starts it. The cluster needs JobSet (jobset.sigs.k8s.io) and a volume claim that all
pods can write to, such as Filestore's; it is mounted as /runs. A preempted run starts again as often as needed, any
other failure up to --restarts times.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence

import yaml

# Exit status of a run that was preempted and has saved its state.
PREEMPTED = 75
# Seconds between SIGTERM and SIGKILL: a step, and saving.
GRACE = 120
PORT = 8476


class Parser(argparse.ArgumentParser):
    """A parser with one-line error messages."""

    def error(self, message: str) -> None:
        """Prints the message and exits with status 2."""
        self.exit(2, f"error: {message}: see python -m launch.render --help\n")


def pair(pattern: str, form: str) -> Callable[[str], tuple[str, str]]:
    """Returns an argument type: NAME:VALUE with a value of a form."""

    def parse(text: str) -> tuple[str, str]:
        found = re.fullmatch(rf"([a-z0-9-]+):({pattern})", text)
        if not found:
            raise argparse.ArgumentTypeError(f"{text!r} is no {form}")
        return found[1], found[2]

    return parse


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses a command line; `options` are those of avsd_jax.main."""
    parser = Parser(
        "python -m launch.render", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="avsd", help="of the JobSet (default: avsd)")
    parser.add_argument("--image", required=True, help="built from launch/Dockerfile")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--tpu",
        type=pair(r"[1-9]\d*(x[1-9]\d*){1,2}", "ACCELERATOR:TOPOLOGY, such as tpu-v5-lite-podslice:4x8"),
        metavar="ACCELERATOR:TOPOLOGY",
        help="as the labels of the node pool name them",
    )
    kind.add_argument(
        "--gpu",
        type=pair(r"[1-9]\d?", "ACCELERATOR:COUNT, such as nvidia-h100-80gb:8"),
        metavar="ACCELERATOR:COUNT",
        help="of each host",
    )
    parser.add_argument("--hosts", type=int, default=1, help="with --gpu: number of machines (default: 1)")
    parser.add_argument("--chips_per_host", type=int, default=4, help="with --tpu: of the machine type (default: 4)")
    parser.add_argument("--claim", default="runs", help="volume claim that is mounted as /runs (default: runs)")
    parser.add_argument("--restarts", type=int, default=3, help="after failures that are no preemption (default: 3)")
    parser.add_argument("--spot", action="store_true", help="on spot machines")
    parser.add_argument("options", nargs="+", metavar="OPTION", help="of python -m avsd_jax.main, after --")
    args = parser.parse_args(argv)
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", args.name):
        parser.error(f"--name={args.name!r} is no name in Kubernetes: up to 30 lower-case letters, digits and hyphens")
    if min(args.hosts, args.chips_per_host, args.restarts + 1) < 1:
        parser.error("--hosts and --chips_per_host begin at 1, --restarts at 0")
    if args.tpu and args.hosts > 1:
        parser.error("--hosts belongs to --gpu; a TPU's topology says how many there are")
    if args.tpu and chips(args) % args.chips_per_host and chips(args) > args.chips_per_host:
        parser.error(
            f"a topology of {args.tpu[1]} is no multiple of {args.chips_per_host} chips: give --chips_per_host"
        )
    return args


def job_set(args: argparse.Namespace) -> dict:
    """Returns the JobSet of a command line."""
    hosts, devices, labels, join = tpu(args) if args.tpu else gpu(args)
    if args.spot:
        labels |= {"cloud.google.com/gke-spot": "true"}
    container = {
        "name": "main",
        "image": args.image,
        "args": ["avsd_jax.main", *args.options, *join],
        "resources": {"limits": devices},
        "ports": [{"containerPort": PORT}],
        "volumeMounts": [{"name": "runs", "mountPath": "/runs"}, {"name": "memory", "mountPath": "/dev/shm"}],
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "nodeSelector": labels,
        "containers": [container],
        "volumes": [
            {"name": "runs", "persistentVolumeClaim": {"claimName": args.claim}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    # A pod that fails ends its job, and that the whole set. Where a machine vanished, another pod may be the first to
    # fail, by losing it: that is an ordinary failure.
    preempted = [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [PREEMPTED]}},
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    job = {
        "completionMode": "Indexed",
        "parallelism": hosts,
        "completions": hosts,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": preempted},
        "template": {"spec": pod},
    }
    again = {
        "name": "preempted",
        "action": "RestartJobSetAndIgnoreMaxRestarts",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": args.name,
            # All pods of a slice in one node pool, no other job in it.
            "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
        },
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": args.name},
            "failurePolicy": {"maxRestarts": args.restarts, "rules": [again]},
            "replicatedJobs": [{"name": "hosts", "replicas": 1, "template": {"spec": job}}],
        },
    }


def chips(args: argparse.Namespace) -> int:
    """Returns how many chips a topology has."""
    return math.prod(int(n) for n in args.tpu[1].split("x"))


def tpu(args: argparse.Namespace) -> tuple[int, dict, dict, list[str]]:
    """Returns the number of hosts, the devices of each, the node pool's labels, and how the processes meet."""
    accelerator, topology = args.tpu
    each = min(chips(args), args.chips_per_host)
    labels = {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": topology,
    }
    # GKE tells each pod who the others are, and jax reads it.
    return chips(args) // each, {"google.com/tpu": each}, labels, ["--distributed=auto"]


def gpu(args: argparse.Namespace) -> tuple[int, dict, dict, list[str]]:
    """Returns what `tpu` does, for GPUs."""
    accelerator, count = args.gpu
    first = f"{args.name}-hosts-0-0.{args.name}:{PORT}"
    join = ["--distributed=manual", f"--coordinator={first}", f"--num_processes={args.hosts}"]
    # Kubernetes numbers the pods of an indexed job, and replaces the name of a variable by its value.
    join += ["--process_id=$(JOB_COMPLETION_INDEX)"]
    return args.hosts, {"nvidia.com/gpu": int(count)}, {"cloud.google.com/gke-accelerator": accelerator}, join


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    print(yaml.safe_dump(job_set(parse(argv)), sort_keys=False, width=120), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
