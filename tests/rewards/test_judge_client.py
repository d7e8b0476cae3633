"""The judge behind an address: what is sent, deadlines, retries, budgets, a cache that survives, no key anywhere."""

import json
import socket
import threading

import pytest

from critica.records.supervision import Abstained, Failed
from critica.records.words import Message
from critica.rewards.judge_base import Asking, JudgeReply, JudgeTrouble
from critica.rewards.judge_cache import FILE, ReplyCache, question_key
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_server import JudgeServer
from critica.rewards.judge_text import Unreadable
from critica.rewards.judge_wire import Address
from critica.rewards.workers import WorkerLimits
from rewards.judge_worlds import ENVIRONMENT, QUICK

SECRET = "sk-do-not-print-me"


class Script:
    """A judge whose answers are taken from a list of replies and troubles; the last is repeated."""

    identity = "script"

    def __init__(self, *answers):
        self.answers, self.asked, self.lock = list(answers), 0, threading.Lock()

    def complete(self, messages, draw, seconds):
        with self.lock:
            said = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
        if isinstance(said, Exception):
            raise said
        return JudgeReply(said, 7)

    def close(self):
        return None


def question(text="how many?", read=str, draw=0):
    return Question((Message("user", text),), read, draw)


def number(text):
    if not text.isdigit():
        raise Unreadable("no number")
    return int(text)


def client(url, **settings):
    return HttpJudge(url=url, model="m", **settings).build(ENVIRONMENT, WorkerLimits())


def test_a_question_goes_out_as_the_protocol_says_and_the_answer_comes_back(monkeypatch):
    monkeypatch.setenv("CRITICA_JUDGE_KEY", SECRET)
    with JudgeServer(Script("forty two")) as server:
        reply = client(server.url, temperature=0.5).complete(
            [Message("system", "be brief"), Message("user", "6 * 7?")], 3, 5.0
        )
    assert reply == JudgeReply("forty two", 7)
    headers, body = server.seen[0]
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert body["model"] == "m" and body["temperature"] == 0.5 and body["seed"] == 3
    assert body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "6 * 7?"}]


def test_the_key_is_in_no_error_no_name_and_no_cache_even_if_the_server_repeats_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CRITICA_JUDGE_KEY", SECRET)
    with JudgeServer(Script(JudgeTrouble(f"wrong key {SECRET}"), f"you said {SECRET}")) as server:
        live = client(server.url)
        with pytest.raises(JudgeTrouble, match=r"status 400: .*wrong key \*\*\*") as caught:
            live.complete([Message("user", "hi")], 0, 5.0)
        panel = Panel(live, Asking(cache=str(tmp_path)))
        said = panel.ask([question()])
        panel.close()
    assert said[0].said == "you said ***"
    everything = repr(live) + live.identity + str(caught.value) + (tmp_path / FILE).read_text()
    assert SECRET not in everything


def test_nothing_leaves_the_machine_unless_the_settings_name_the_place(monkeypatch):
    monkeypatch.setenv("CRITICA_JUDGE_URL", "https://judge.example/v1")
    with pytest.raises(ValueError, match=r"write judge\.url=https://judge\.example:443/v1"):
        client("")
    assert "judge.example" in client("https://judge.example/v1").identity  # named: built, and nothing is sent yet
    monkeypatch.setenv("CRITICA_JUDGE_URL", "http://127.0.0.1:9/v1")
    assert "127.0.0.1:9" in client("").identity
    monkeypatch.setenv("CRITICA_JUDGE_KEY", SECRET)
    with pytest.raises(ValueError, match="unencrypted"):
        client("http://judge.example/v1")
    with pytest.raises(ValueError, match="no user, password"):
        HttpJudge(url="http://me:word@127.0.0.1/v1")
    with pytest.raises(ValueError, match=r"judge\.model is empty"):
        HttpJudge().build(ENVIRONMENT, WorkerLimits())


@pytest.mark.parametrize(
    ("host", "here"), [("localhost", True), ("127.1.2.3", True), ("127.evil.example", False), ("10.0.0.1", False)]
)
def test_loopback_is_read_off_the_address(host, here):
    assert Address.read(f"http://{host}:80/v1").loopback is here


def test_what_is_busy_is_asked_again_and_what_is_wrong_is_not():
    busy, wrong = JudgeTrouble("busy", again=True), JudgeTrouble("no such model")
    script = Script(busy, busy, "ok")
    with JudgeServer(script) as server:
        assert Panel(client(server.url), QUICK).ask([question()])[0].said == "ok" and script.asked == 3
    script = Script(busy)
    heard = Panel(script, QUICK).ask([question()])[0]
    assert isinstance(heard.said, Failed) and script.asked == 3  # one attempt and two retries
    script = Script(wrong, "ok")
    heard = Panel(script, QUICK).ask([question()])[0]
    assert heard.said == Failed("no such model") and script.asked == 1


def test_a_server_that_drips_is_hung_up_on():
    """Each byte would reset a socket's own timeout; the deadline is of the whole call."""
    listener, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip():
        held, _ = listener.accept()
        held.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.05):
            try:
                held.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        with pytest.raises(JudgeTrouble, match=r"had not answered after 0\.3 s") as caught:
            client(f"http://127.0.0.1:{listener.getsockname()[1]}/v1").complete([Message("user", "hi")], 0, 0.3)
        assert caught.value.again
    finally:
        stop.set()
        listener.close()
        thread.join(5.0)


def test_a_redirect_is_not_followed_and_an_answer_without_text_is_trouble():
    listener = socket.create_server(("127.0.0.1", 0))
    answers = [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"choices":[]}',
    ]

    def serve():
        for answer in answers:
            held, _ = listener.accept()
            with held:
                held.recv(1 << 16)
                held.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    live = client(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
    with pytest.raises(JudgeTrouble, match="status 302") as caught:
        live.complete([Message("user", "hi")], 0, 5.0)
    assert not caught.value.again
    with pytest.raises(JudgeTrouble, match="no choices"):
        live.complete([Message("user", "hi")], 0, 5.0)
    listener.close()


def test_answers_come_by_index_and_no_more_than_the_bound_are_open():
    class Echo:
        identity = "echo"

        def __init__(self):
            self.gate, self.open, self.most, self.lock = threading.Barrier(3, timeout=5.0), 0, 0, threading.Lock()

        def complete(self, messages, draw, seconds):
            with self.lock:
                self.open += 1
                self.most = max(self.most, self.open)
            self.gate.wait()  # passes only when three are there at once
            with self.lock:
                self.open -= 1
            return JudgeReply(messages[0].content)

        def close(self):
            return None

    echo = Echo()
    heard = Panel(echo, Asking(concurrency=3)).ask([question(f"q{i}") for i in range(9)])
    assert [one.said for one in heard] == [f"q{i}" for i in range(9)] and echo.most == 3


def test_an_unreadable_answer_has_failed_and_is_not_kept(tmp_path):
    script = Script("perhaps", "12")
    panel = Panel(script, Asking(cache=str(tmp_path)))
    first = panel.ask([question(read=number)])[0]
    assert isinstance(first.said, Failed) and "no number" in first.said.error and "perhaps" in first.said.error
    assert panel.ask([question(read=number)])[0].said == 12
    assert panel.ask([question(read=number)])[0].said == 12 and script.asked == 2


def test_the_cache_survives_a_torn_line_and_knows_one_question_from_another(tmp_path):
    first = ReplyCache(str(tmp_path))
    ask = (Message("user", "a"),)
    first.put(question_key("judge", ask, 0), JudgeReply("yes", 3))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'["torn", "ye')
    second = ReplyCache(str(tmp_path))
    assert len(second) == 1 and second.get(question_key("judge", ask, 0)) == JudgeReply("yes", 3)
    second.put(question_key("judge", ask, 1), JudgeReply("no", 4))
    third = ReplyCache(str(tmp_path))
    assert third.get(question_key("judge", ask, 1)) == JudgeReply("no", 4) and len(third) == 2
    for other in (("other", ask, 0), ("judge", (Message("system", "a"),), 0), ("judge", ask, 2)):
        assert third.get(question_key(*other)) is None
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_equal_questions_are_asked_and_counted_once():
    script = Script("5")
    heard = Panel(script, QUICK).ask([question(read=number), question(read=number), question("other", number)])
    assert [one.said for one in heard] == [5, 5, 5] and script.asked == 2
    assert [(one.questions, one.tokens) for one in heard] == [(1, 7), (0, 0), (1, 7)]


def test_a_budget_of_questions_goes_to_the_first_and_the_rest_hear_why():
    panel = Panel(Script("5"), Asking(questions=3))
    heard = panel.ask([question(f"q{i}") for i in range(5)])
    assert [one.said for one in heard[:3]] == ["5"] * 3
    assert all(isinstance(one.said, Abstained) and "budget of 3 questions" in one.said.reason for one in heard[3:])
    panel = Panel(Script("5"), Asking(tokens=10))
    assert [one.said for one in panel.ask([question("a"), question("b")])] == ["5", "5"]  # 14 tokens: seen afterwards
    assert isinstance(panel.ask([question("c")])[0].said, Abstained)


def test_a_cached_answer_counts_so_that_a_run_done_again_stops_at_the_same_place(tmp_path):
    asked = [question(f"q{i}") for i in range(3)]
    once = Panel(Script("5"), Asking(questions=2, cache=str(tmp_path))).ask(asked)
    script = Script("never asked")
    again = Panel(script, Asking(questions=2, cache=str(tmp_path))).ask(asked)
    assert [one.said for one in once] == [one.said for one in again] and script.asked == 0


def test_what_is_late_has_failed_and_the_rest_is_there():
    release = threading.Event()

    class Slow:
        identity = "slow"

        def complete(self, messages, draw, seconds):
            if messages[0].content == "hang":
                release.wait(10.0)
            return JudgeReply("ok")

        def close(self):
            return None

    heard = Panel(Slow(), Asking(concurrency=2, batch_seconds=0.3)).ask(
        [question("a"), question("hang"), question("b")]
    )
    release.set()
    assert [heard[0].said, heard[2].said] == ["ok", "ok"]
    assert isinstance(heard[1].said, Failed) and "0.3 s were over" in heard[1].said.error


def test_a_client_that_raises_costs_its_own_answer_only():
    heard = Panel(Script(KeyError("x"), "fine"), Asking(concurrency=1)).ask([question("a"), question("b")])
    assert heard[0].said == Failed("raised KeyError: 'x'") and heard[1].said == "fine"


def test_the_server_says_json_and_counts_who_is_open():
    with JudgeServer(Script("x")) as server:
        panel = Panel(client(server.url), Asking(concurrency=2))
        panel.ask([question(f"q{i}") for i in range(6)])
    assert len(server.seen) == 6 and 1 <= server.most_at_once <= 2
    assert json.dumps(server.seen[0][1])
