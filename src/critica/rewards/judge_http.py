"""A judge behind an OpenAI-compatible address: vLLM, SGLang, llama.cpp, or a provider."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critica.environments.base import Environment
from critica.records.words import Message
from critica.rewards.judge_base import JudgePart, JudgeReply, JudgeTrouble
from critica.rewards.judge_wire import Address, post
from critica.rewards.workers import WorkerLimits

URL_VARIABLE = "CRITICA_JUDGE_URL"
LOCAL = "http://127.0.0.1:8000/v1"
HIDDEN = "***"


@dataclass(frozen=True)
class HttpJudge(JudgePart):
    """Asks `url`/chat/completions for `model`. What is judged leaves this machine only where `url` says so.

    Without `url` the variable CRITICA_JUDGE_URL names a server on this machine, and without that it is
    http://127.0.0.1:8000/v1. The key is what the variable `key_variable` holds; it is in no file and no message, and
    goes in the clear to this machine alone. `json_mode` asks the server for JSON only: then there is no reason first.
    """

    url: str = ""
    model: str = ""
    key_variable: str = "CRITICA_JUDGE_KEY"
    temperature: float = 0.0
    max_tokens: int = 512
    json_mode: bool = False

    def __post_init__(self) -> None:
        if self.url:
            Address.read(self.url)
        if not 0.0 <= self.temperature < float("inf") or self.max_tokens < 1:
            raise ValueError("judge.temperature must be 0 or above, and judge.max_tokens at least 1")

    def build(self, environment: Environment, limits: WorkerLimits) -> "HttpJudgeClient":
        """The live client. Raises ValueError if no model is named, or if a key or an answer would leak."""
        if not self.model:
            raise ValueError("judge.model is empty: name the model that the server at judge.url serves")
        address = Address.read(self.url or os.environ.get(URL_VARIABLE, "") or LOCAL)
        if not self.url and not address.loopback:
            raise ValueError(
                f"{URL_VARIABLE} names {address.host}, which is not this machine: write judge.url={address.url}, so"
                " that the run's settings say where its answers are sent"
            )
        key = os.environ.get(self.key_variable, "") if self.key_variable else ""
        if key and not address.secure and not address.loopback:
            raise ValueError(f"the key in {self.key_variable} would go to {address.url} unencrypted: write https://")
        return HttpJudgeClient(self, address, key)


class HttpJudgeClient:
    """The live client. It keeps no connection, so any number of threads may ask."""

    def __init__(self, part: HttpJudge, address: Address, key: str) -> None:
        self._part, self._address, self._key = part, address, key
        sampled = f"temperature {part.temperature:g}, {part.max_tokens} tokens, json {part.json_mode}"
        self.identity = f"{part.model} at {address.url}, {sampled}"

    def __repr__(self) -> str:
        return f"HttpJudgeClient({self.identity})"

    def complete(self, messages: Sequence[Message], draw: int, seconds: float) -> JudgeReply:
        """One question, asked once."""
        part = self._part
        content: dict[str, Any] = {
            "model": part.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "temperature": part.temperature,
            "max_tokens": part.max_tokens,
        }
        if part.temperature > 0:
            content["seed"] = draw
        if part.json_mode:
            content["response_format"] = {"type": "json_object"}
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            text = post(self._address, "/chat/completions", content, headers, seconds)
        except JudgeTrouble as trouble:
            said = f"judge {part.model} {self._redacted(str(trouble))}"
            raise JudgeTrouble(said, trouble.again, trouble.wait_seconds) from None
        return self._read(self._redacted(text))

    def _read(self, text: str) -> JudgeReply:
        try:
            body = json.loads(text)
            written = body["choices"][0]["message"]["content"]
            tokens = (body.get("usage") or {}).get("total_tokens", 0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            written, tokens = None, 0
        if not isinstance(written, str):
            shown = " ".join(text[:200].split())
            raise JudgeTrouble(f"judge {self._part.model} sent no choices[0].message.content: {shown}")
        return JudgeReply(written, tokens if isinstance(tokens, int) and tokens >= 0 else 0)

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, HIDDEN) if self._key else text

    def close(self) -> None:
        """Nothing to end."""
