"""The ten questions that a report answers: each with its answer in a sentence, and where the evidence stands."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from critica.viewer.contest import Contest
from critica.viewer.drift import drift_sentence
from critica.viewer.dropped import dropped_sentence
from critica.viewer.page import clock, number
from critica.viewer.story import Story
from critica.viewer.summary import stage_seconds
from critica.viewer.tasks import tasks_sentence
from critica.viewer.window import WINDOW, mean_of


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer, the section with the evidence; `kind` is the choice of answers that it opens."""

    name: str
    ask: str
    answer: str
    section: str
    kind: str = ""


def questions_of(story: Story) -> Iterator[Question]:
    """In the order of the page."""
    yield Question("critic", "Is the critic any good?", critic_answer(story.contest), "critic")
    yield Question("surprise", "Where is it surprised?", surprise_answer(story), "surprise")
    yield Question("credit", "Why did this answer get its advantage?", credit_answer(story), "answers", "all")
    yield Question("clean", "What was the clean reward?", clean_answer(story), "answers", "flipped" * any(
        rollout.flipped for rollout in story.answers.rollouts) or "all")  # fmt: skip
    yield Question("noise", "What did noise do?", noise_answer(story), "noise")
    yield Question("dropped", "Which samples were dropped, and why?", dropped_sentence(story.ledger), "dropped")
    yield Question("drift", "Is the policy drifting or collapsing?", drift_sentence(story.signs), "drift")
    yield Question("tasks", "Which tasks improved?", tasks_sentence(story.held_out, story.sampled), "tasks")
    yield Question("time", "Where did the time go?", time_answer(story), "time")
    yield Question("compare", "What changed between two runs?", "One page sets runs side by side: settings, curves, "
                   "prompts. The command is ready to copy.", "compare")  # fmt: skip


def critic_answer(contest: Contest) -> str:
    """Its error against the truth beside the two stand-ins; against what was told where the truth is not known."""
    if contest.silent:
        return "There is none: this run expected the same of every answer, or nothing at all."
    critic, *others = contest.contestants
    clean = not math.isnan(critic.mse_clean)
    mine = critic.mse_clean if clean else critic.mse_told
    theirs = [(one.name, one.mse_clean if clean else one.mse_told) for one in others]
    known = [(name, value) for name, value in theirs if not math.isnan(value)]
    better = sum(mine < value for _, value in known)
    verdict = ("Worse than both stand-ins", "Better than one stand-in", "Better than both stand-ins")[better]
    if len(known) == 1:
        verdict = ("Worse than one number for all", "Better than one number for all")[better]
    what = "the truth" if clean else "what was told"
    said = ", ".join(f"{name} {value:.3f}" for name, value in known)
    if contest.uses_own_outcome:
        verdict = "It has seen the outcomes that it speaks about, which flatters it"
    return f"{verdict}: squared error {mine:.3f} against {what}; {said}."


def surprise_answer(story: Story) -> str:
    """The word that moves it most and the largest single change; else the largest surprise at an end."""
    found = story.surprises
    if found.inside:
        top = found.inside[0]
        word = (
            f"most at “{_plain(found.words[0].token)}” ({found.words[0].size:.2f} each time); " if found.words else ""
        )
        return (
            f"{found.typical:.2f} a token on average, {word}the largest change is {top.change:+.2f} at "
            f"“{_plain(top.token)}” in step {top.step}."
        )
    if story.contest.silent:
        return "Nowhere: nothing was expected."
    if found.ends:
        top = found.ends[0]
        return (
            f"Only at the ends: its value never moves inside an answer. Largest: {top.change:+.2f} in step {top.step}."
        )
    return "No answer of the last steps has both a value and an outcome."


def credit_answer(story: Story) -> str:
    """What one answer's credit was made of."""
    shown = [one for one in story.answers.rollouts if not math.isnan(one.credit)]
    if not shown:
        return "No answer that is shown was trained on."
    one = max(shown, key=lambda rollout: (rollout.step, abs(rollout.credit)))
    expected = "" if math.isnan(one.expected) else f", {number(one.expected, '.2f')} expected"
    return (
        f"Open any of {len(story.answers.rollouts)}: told, expected, siblings, token by token. In step {one.step}: "
        f"told {number(one.told, '.2f')}{expected}, credit {one.credit:+.2f}."
    )


def clean_answer(story: Story) -> str:
    """Mean clean and told reward of the last steps, and how often they differ."""
    last = story.lines[-WINDOW:]
    told, clean = mean_of(last, "reward/told"), mean_of(last, "reward/clean")
    if math.isnan(clean):
        return "No clean reward is known of the last steps."
    changed = story.noise.changed.answers
    differs = f" Noise changed {changed:,} of {story.noise.whole.answers:,} trained answers." if changed else ""
    return f"{clean:.3f} on average over the last {len(last)} steps, where training was told {number(told)}.{differs}"


def noise_answer(story: Story) -> str:
    """How much was changed and how many answers were pushed the wrong way."""
    last = story.lines[-WINDOW:]
    flipped = mean_of(last, "noise/flipped_share")
    effect = story.noise
    if not flipped > 0:
        more = f" {100 * effect.whole.wrong_way:.0f}% were pushed the wrong way all the same." if effect.whole.wrong_way > 0 else ""  # fmt: skip  # noqa: E501
        return f"None was put in on purpose.{more}"
    pushed = ""
    if effect.whole.answers:
        pushed = f" {100 * effect.whole.wrong_way:.0f}% of trained answers were pushed the wrong way"
        pushed += (
            f" ({100 * effect.truthful.wrong_way:.0f}% of those told the truth)." if effect.truthful.answers else "."
        )
    return f"It changed {100 * flipped:.0f}% of the rewards.{pushed}"


def time_answer(story: Story) -> str:
    """The two largest stages and the slowest step."""
    spent = stage_seconds(story.timing)
    total = math.fsum(spent.values())
    if not total:
        return "This run has no clock readings."
    top = sorted(spent, key=lambda stage: -spent[stage])[:2]
    shares = ", ".join(f"{stage} {100 * spent[stage] / total:.0f}%" for stage in top)
    slow = max(story.timing, key=lambda line: math.fsum(line.values.values()))
    slowest = f"the slowest step was {slow.step} ({clock(math.fsum(slow.values.values()))})"
    return f"{shares[0].upper()}{shares[1:]} of {clock(total)}; {slowest}."


def _plain(token: str) -> str:
    """A token's text where white space would not be seen."""
    return token.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣") or "(empty)"
