"""A store in Milvus: a server or cluster that many machines share, or a Milvus Lite file."""
