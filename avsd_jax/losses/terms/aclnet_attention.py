"""ACLNet's loss of its attention, which is published for still images alone; its weight there is 1."""

from avsd_jax.losses.aclnet import AclnetTerm


class Term(AclnetTerm):
    """See `avsd_jax.losses.aclnet`."""

    trains = "attention"
