"""OpenAI's API over collections, by OpenAI's own client against a real server."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from commonplace.generation import ModelGenerator
from commonplace.server import KeyFile, Library, create_app
from commonplace.server.markdown import without_links
from commonplace.server.openai.messages import Message
from commonplace.server.openai.tasks import question_in, task_of
from tests.server.conftest import serving
from tests.server.pumps import picture

SEAL = [{"role": "user", "content": "Which seal does the north pump need?"}]
TITLE = """### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Output:
JSON format: { "title": "your concise title here" }
### Chat History:
<chat_history>
USER: Which seal does the north pump need?
ASSISTANT: Seal 4711.
</chat_history>"""


class Parrot(ModelGenerator):
    """A language model that repeats how many messages it got."""

    def __init__(self) -> None:
        super().__init__("parrot")

    def write(self, messages, max_tokens):
        yield f"I got {len(messages)}."


@pytest.fixture(scope="module")
def url(pump_folder: Path) -> Iterator[str]:
    with serving(create_app(Library({"pumps": str(pump_folder)}))) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def data_url() -> str:
    return "data:image/png;base64," + base64.b64encode(picture()).decode()


def test_collections_are_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["pumps"]
    assert client.models.retrieve("pumps").owned_by == "commonplace"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_an_answer_has_its_citations_three_ways(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="pumps", messages=SEAL)
    message = completion.choices[0].message
    assert "seal 4711" in message.content and completion.choices[0].finish_reason == "stop"
    first = message.annotations[0].url_citation
    assert f"](<{first.url}>)" in message.content[first.start_index : first.end_index]
    assert first.title.startswith("North pump") and "4711" in httpx.get(first.url).text
    answer = completion.model_extra["commonplace"]["answer"]
    assert answer["citations"][0]["item"]["document"] == "north" and answer["blocks"][0]["support"] == "supported"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 10


def test_a_picture_link_works_without_a_key(client: openai.OpenAI) -> None:
    content = (
        client.chat.completions.create(
            model="pumps", messages=[{"role": "user", "content": "Show me a picture of a red disc"}]
        )
        .choices[0]
        .message.content
    )
    (link,) = re.findall(r"!\[[^\]]*\]\(<([^>]+)>\)", content)
    response = httpx.get(link)
    assert response.headers["content-type"] == "image/png" and Image.open(io.BytesIO(response.content)).size[0] > 300


def test_a_stream_is_openais(client: openai.OpenAI, url: str) -> None:
    body = {"model": "pumps", "messages": SEAL, "stream": True, "stream_options": {"include_usage": True}}
    lines = [line for line in httpx.post(f"{url}/v1/chat/completions", json=body).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") and "\n" not in line for line in lines)
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["commonplace"]["evidence"]["hits"][0]["document"] == "north"
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])

    stream = client.chat.completions.create(model="pumps", messages=SEAL, stream=True)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    marks = [mark["url_citation"] for mark in chunks[-2]["choices"][0]["delta"]["annotations"]]
    assert all(streamed[mark["start_index"]] == "[" and streamed[mark["end_index"] - 1] == ")" for mark in marks)
    whole = client.chat.completions.create(model="pumps", messages=SEAL).choices[0].message.content
    assert without_links(streamed) == without_links(whole) and "4711" in streamed


def test_the_last_user_message_is_asked_in_the_light_of_the_others(client: openai.OpenAI) -> None:
    answered = client.chat.completions.create(model="pumps", messages=SEAL).choices[0].message.content
    messages = [
        {"role": "system", "content": "You are a pirate."},
        *SEAL,
        {"role": "assistant", "content": answered},
        {"role": "user", "content": [{"type": "text", "text": "What about the south pump?"}]},
    ]
    completion = client.chat.completions.create(model="pumps", messages=messages)
    assert "815" in completion.choices[0].message.content.split(".")[0]
    assert "seal" in completion.model_extra["commonplace"]["answer"]["searched_as"]


def test_a_picture_is_part_of_the_question(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data_url()}}]
    completion = client.chat.completions.create(model="pumps", messages=[{"role": "user", "content": parts}])
    cited = completion.model_extra["commonplace"]["answer"]["citations"]
    assert [citation["item"]["document"] for citation in cited][:1] == ["disc"]
    parts[1]["image_url"]["url"] = "http://127.0.0.1:1/secret.png"
    with pytest.raises(openai.BadRequestError, match="fetches no addresses"):
        client.chat.completions.create(model="pumps", messages=[{"role": "user", "content": parts}])


def test_filters_are_an_extension(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="pumps",
        messages=[{"role": "user", "content": "Which seal does the pump need?"}],
        extra_body={"commonplace": {"where": {"team": "south"}}},
    )
    assert "815" in completion.choices[0].message.content and "4711" not in completion.choices[0].message.content


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "at least 1 item"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, "role user"),
        ({"messages": SEAL, "n": 2}, "less than or equal to 1"),
        ({"messages": SEAL, "response_format": {"type": "json_object"}}, "answers are text"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "words and pictures"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty"),
        ({"messages": SEAL, "stream": True, "commonplace": {"where": {"year": {"~": 1}}}}, "operator"),
    ],
)
def test_errors_have_openais_shape(client: openai.OpenAI, body: dict, message: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.with_raw_response.create(model="pumps", messages=[], extra_body=body)
    assert set(caught.value.body) == {"message", "type", "param", "code"} and message in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"


def test_responses_cite_files(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="pumps", input="Which seal does the north pump need?", include=["file_search_call.results"]
    )
    search, message = response.output
    assert search.type == "file_search_call" and search.results[0].file_id == "north"
    mark = message.content[0].annotations[0]
    assert (mark.type, mark.file_id, mark.filename) == ("file_citation", "north", "North pump")
    assert response.output_text[mark.index] == "[" and response.usage.total_tokens > 10
    with client.responses.stream(model="pumps", input=[{"role": "user", "content": "When was it built?"}]) as stream:
        events = list(stream)
        assert stream.get_final_response().status == "completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    types = [event.type for event in events]
    assert types[0] == "response.created" and types[-1] == "response.completed"
    with pytest.raises(openai.BadRequestError, match="keeps no conversations"):
        client.responses.create(model="pumps", input="And?", previous_response_id="resp_1")


def test_a_streamed_response_adds_its_annotations(client: openai.OpenAI) -> None:
    parts = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": data_url()}]
    with client.responses.stream(model="pumps", input=[{"role": "user", "content": parts}]) as stream:
        added = [event.annotation for event in stream if event.type == "response.output_text.annotation.added"]
        final = stream.get_final_response()
    assert added and added[0].file_id == "disc"
    assert [mark.index for mark in final.output[-1].content[0].annotations] == [mark.index for mark in added]


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["a red disc", "a green motor"]
    decoded = client.embeddings.create(model="pumps", input=texts)  # the client asks for base64
    plain = client.embeddings.create(model="pumps", input=texts, encoding_format="float")
    rows = np.array([row.embedding for row in plain.data])
    assert np.allclose(rows, [row.embedding for row in decoded.data], atol=1e-6) and decoded.usage.prompt_tokens > 5
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    mixed = client.embeddings.create(model="pumps", input=[{"image": data_url()}, {"text": "a red disc"}])
    assert len(mixed.data) == 2 and np.allclose(mixed.data[1].embedding, rows[0], atol=1e-2)
    for bad in ([1, 2, 3], [""], [{"text": "a", "image": data_url()}], []):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="pumps", input=bad)
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="pumps", input="a", dimensions=7)


def test_vector_stores(client: openai.OpenAI) -> None:
    def files(filters: dict) -> set[str]:
        return {hit.file_id for hit in client.vector_stores.search("pumps", query="pump seal", filters=filters).data}

    page = client.vector_stores.search("pumps", query="seal of the north pump", max_num_results=1)
    (hit,) = page.data
    assert (hit.file_id, hit.filename) == ("north", "North pump") and "4711" in hit.content[0].text
    assert hit.attributes["team"] == "north" and hit.attributes["year"] == 1998 and 0 < hit.score <= 1
    south = {"type": "eq", "key": "team", "value": "south"}
    early = {"type": "lt", "key": "year", "value": 2000}
    assert files(south) == {"south"} and files(early) == {"north"}
    assert files({"type": "and", "filters": [south, early]}) == set()
    assert files({"type": "or", "filters": [south, {**south, "value": "north"}]}) == {"north", "south", "disc"}
    with pytest.raises(openai.BadRequestError, match="use eq"):
        files({"type": "ne", "key": "team", "value": "south"})


def test_keys_hold_here_too(pump_folder: Path, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    secret = keys.add("south", ["read"], None, ["team=south"])
    with serving(create_app(Library({"pumps": str(pump_folder)}), keys=keys)) as url:
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{url}/v1", api_key="cp_wrong", max_retries=0).models.list()
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0)
        content = client.chat.completions.create(model="pumps", messages=SEAL).choices[0].message.content
        assert "4711" not in content
        north = {"type": "eq", "key": "team", "value": "north"}
        assert client.vector_stores.search("pumps", query="seal", filters=north).data == []


# --- prompts of chat programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (TITLE, "title"),
        ("### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.", "tags"),
        ("### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might ask next.", "follow_ups"),
        ("### Task:\nAnalyze the chat history to determine the necessity of generating search queries", "queries"),
        ("### Task:\nYou are an autocompletion system. Continue the text in `<text>`.", "text"),
        ("Your task is to reflect the speaker's likely facial expression through a fitting emoji.", "emoji"),
        ("Provide a concise, 5-word-or-less title for the conversation, using title case.", "title"),
        ("Please generate a four to five word title summarizing our conversation without any lead-in.", "title"),
        ("Based on the chat history, give this conversation a name. Keep it short, 10 characters max.", "title"),
        ("Summarize the discussion briefly in 200 words or less to use as a prompt for future context.", "summary"),
        ('Summarize in a 10-word Title. Give the title only. "Which seal?"', "title"),
        ("Analyze this conversation and provide:\n1. Its language\n2. A concise title (5 words or less)", "title"),
        ("Suggest a short chat title.", "title"),
        ("请为这段对话生成一个简短的标题", "title"),
    ],
)
def test_prompts_of_chat_programs_are_recognised(prompt: str, kind: str) -> None:
    assert task_of([Message("user", "Which seal?"), Message("assistant", "4711"), Message("user", prompt)]) == kind


@pytest.mark.parametrize(
    "instructions",
    [
        "You are good at conversation. You need to summarize the user's conversation into a title of 10 words.",
        "You will generate a short title based on the first message a user begins a conversation with.",
    ],
)
def test_a_prompt_may_stand_in_the_instructions(instructions: str) -> None:
    assert task_of([Message("system", instructions), Message("user", "Which seal?")]) == "title"
    assert task_of([Message("system", "You are a pirate."), Message("user", "Which seal?")]) is None


@pytest.mark.parametrize(
    "question",
    [
        "What title does the report of 2004 have?",
        "Summarize the discussion of seals in the manual.",
        "Who gave this pump its name?",
        "Give me the title of the talk about conversation design.",
        "Which tags does the chat server of the plant use?",
        "Show me pictures of a conversation between two people.",
        "Please suggest a name for the north pump.",
        "这段对话的标题是什么？",
    ],
)
def test_questions_of_people_are_not(question: str) -> None:
    assert task_of([Message("user", question)]) is None


def test_a_prompt_with_passages_around_a_question_is_the_question() -> None:
    prompt = (
        "### Task:\nRespond to the user query using the provided context.\n<context>\nseal\n</context>\n\nWhich seal?"
    )
    assert question_in(prompt) == "Which seal?" and task_of([Message("user", prompt)]) is None
    assert question_in(prompt.replace("Which seal?", "<user_query>\nWhich?\n</user_query>")) == "Which?"


def test_titles_come_from_the_first_question_or_from_the_model(client: openai.OpenAI, pump_folder: Path) -> None:
    def reply(asked: openai.OpenAI, *texts: str) -> str:
        messages = [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(texts)]
        return asked.chat.completions.create(model="pumps", messages=messages).choices[0].message.content

    assert json.loads(reply(client, TITLE)) == {"title": "Which seal does the north pump need"}
    plain = "Provide a concise, 5-word-or-less title for the conversation."
    assert reply(client, "Which seal, please?", "4711", plain) == "Which seal, please"
    assert json.loads(reply(client, "### Task:\nSuggest 3 follow-up questions")) == {"follow_ups": []}
    with serving(create_app(Library({"pumps": str(pump_folder)}, generator=Parrot()))) as url:
        model = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        assert reply(model, "Which seal, please?", "4711", plain) == "I got 3."
