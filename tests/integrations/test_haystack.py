"""Haystack: its public tests of document stores, and what a collection gives beyond them."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("haystack", reason="Haystack is not installed (extra haystack; make test-frameworks)")

from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.testing.document_store import DocumentStoreBaseTests
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    DeleteDocumentsAsyncTest,
    WriteDocumentsAsyncTest,
)

import commonplace as cp
from commonplace.integrations.haystack import CommonplaceDocumentStore


class Standard:
    """A new store for each test. Documents come by path, and without the embeddings that the tests made up."""

    @pytest.fixture
    def document_store(self, kb: cp.Collection) -> CommonplaceDocumentStore:
        return CommonplaceDocumentStore(kb)

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        bare = [replace(document, embedding=None) for document in expected]
        assert sorted(received, key=lambda document: document.id) == sorted(bare, key=lambda document: document.id)


class TestDocumentStoreStandard(Standard, DocumentStoreBaseTests):
    def test_write_documents(self, document_store: CommonplaceDocumentStore) -> None:
        """Haystack leaves the default policy to the store: an id that exists is an error."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


class TestAsyncDocumentStoreStandard(
    Standard, CountDocumentsAsyncTest, DeleteDocumentsAsyncTest, WriteDocumentsAsyncTest
):
    async def test_write_documents_async(self, document_store: CommonplaceDocumentStore) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])
        self.assert_documents_are_equal(await document_store.filter_documents_async(), [document])
