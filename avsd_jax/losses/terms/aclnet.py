"""ACLNet's loss of the predicted maps; its published weight is 1."""

from avsd_jax.losses.aclnet import AclnetTerm


class Term(AclnetTerm):
    """See `avsd_jax.losses.aclnet`."""
