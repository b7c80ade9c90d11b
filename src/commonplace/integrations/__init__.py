"""Adapters for frameworks, one module each: ``langchain``, ``llama_index`` and ``haystack``.

Each needs the extra of its name. Nothing else in the library imports them.
"""
