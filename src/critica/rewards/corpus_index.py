"""Which words occur together in a text file, counted in windows: a small index of our own, in memory and on disk."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
WINDOW = 1000  # words
FORMAT = 1


class CorpusProblem(ValueError):
    """A corpus or its index cannot be used; the text says why."""


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased: letters and digits, with an apostrophe inside."""
    return [match.group().lower() for match in WORD.finditer(text)]


class CorpusIndex:
    """For each word the windows that hold it, ascending. A window is at most `window` words of one paragraph.

    Paragraphs are parted by blank lines; longer ones are cut into windows that do not overlap, so that words on both
    sides of a cut are not counted together.
    """

    def __init__(
        self, vocabulary: dict[str, int], starts: Int[np.ndarray, "W"], postings: Int[np.ndarray, "P"],
        windows: int, source: str, window: int,
    ) -> None:  # fmt: skip
        self._vocabulary, self._starts, self._postings = vocabulary, starts, postings
        self.windows, self.source, self.window = windows, source, window

    @classmethod
    def of_text(cls, text: str, window: int = WINDOW) -> "CorpusIndex":
        """The index of a text. Raises `CorpusProblem` for one without words."""
        found: dict[str, list[int]] = {}
        count = 0
        for paragraph in re.split(r"\n\s*\n", text):
            words = words_of(paragraph)
            for start in range(0, len(words), window):
                for word in set(words[start : start + window]):
                    found.setdefault(word, []).append(count)
                count += 1
        if not found:
            raise CorpusProblem("the corpus holds no words")
        vocabulary = {word: place for place, word in enumerate(sorted(found))}
        lists = [found[word] for word in vocabulary]
        starts = np.concatenate(([0], np.cumsum([len(one) for one in lists]))).astype(np.int64)
        postings = np.concatenate([np.asarray(one, dtype=np.int32) for one in lists])
        return cls(vocabulary, starts, postings, count, digest_of(text), window)

    @classmethod
    def of_file(cls, path: Path | str, window: int = WINDOW, keep: Path | str = "") -> "CorpusIndex":
        """The index of a text file; with `keep`, read from that folder if it is of this very text, else saved there.

        Raises FileNotFoundError, `CorpusProblem`.
        """
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        if keep and (Path(keep) / "index.json").is_file():
            index = cls.load(Path(keep))
            if index.source == digest_of(text) and index.window == window:
                return index
        index = cls.of_text(text, window)
        if keep:
            index.save(Path(keep))
        return index

    def windows_of(self, word: str) -> Int[np.ndarray, "P"]:
        """The windows that hold the word."""
        place = self._vocabulary.get(word.lower())
        return self._postings[:0] if place is None else self._postings[self._starts[place] : self._starts[place + 1]]

    def count(self, words: Sequence[str]) -> int:
        """How many windows hold all of these words. Raises `CorpusProblem` for no words."""
        if not words:
            raise CorpusProblem("a query names at least one word")
        lists = sorted((self.windows_of(word) for word in set(words)), key=len)
        common = lists[0]
        for other in lists[1:]:
            common = np.intersect1d(common, other, assume_unique=True)
        return len(common)

    def save(self, folder: Path) -> None:
        """Plain arrays and a JSON file; the JSON is written last."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "starts.npy", self._starts, allow_pickle=False)
        np.save(folder / "postings.npy", self._postings, allow_pickle=False)
        (folder / "words.txt").write_text("\n".join(self._vocabulary))
        note = {"format": FORMAT, "windows": self.windows, "source": self.source, "window": self.window}
        (folder / "index.json").write_text(json.dumps(note))

    @classmethod
    def load(cls, folder: Path) -> "CorpusIndex":
        """The index that `save` wrote; postings stay on disk until they are asked for. Raises `CorpusProblem`."""
        try:
            note = json.loads((folder / "index.json").read_text())
            starts = np.load(folder / "starts.npy", allow_pickle=False)
            postings = np.load(folder / "postings.npy", mmap_mode="r", allow_pickle=False)
            words = (folder / "words.txt").read_text().split("\n")
        except (OSError, ValueError) as error:
            raise CorpusProblem(f"{folder} holds no index of a corpus ({error}): delete it") from error
        if note.get("format") != FORMAT or len(words) + 1 != len(starts) or int(starts[-1]) != len(postings):
            raise CorpusProblem(f"the index at {folder} is of another format or half-written: delete it")
        places = {word: place for place, word in enumerate(words)}
        return cls(places, starts, postings, note["windows"], note["source"], note["window"])


def digest_of(text: str) -> str:
    """SHA-256 of the text."""
    return hashlib.sha256(text.encode()).hexdigest()
