"""Reading and embedding on many machines: actors on a Ray cluster, each with readers and the model's towers."""

from commonplace.distributed.actor import ActorSpec, Written, model_to_send
from commonplace.distributed.connection import check_address
from commonplace.distributed.pool import ActorPool

__all__ = ["ActorPool", "ActorSpec", "Written", "check_address", "model_to_send"]
