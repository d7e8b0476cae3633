"""The glossary: every metric that may be logged, with its unit and the one sentence that defines it."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from critica.records.checks import RecordError


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """A name, a unit, and a sentence. A name that ends in `/*` declares a family."""

    name: str
    unit: str
    sentence: str


class UndeclaredMetric(RecordError):
    """A metric was named that the glossary does not hold."""


# To add a metric, add one line: name | unit | sentence.
_TABLE = """
reward/told | reward | Mean reward that training was told, over trajectories with a known outcome.
reward/told_std | reward | Standard deviation over trajectories of the reward that training was told.
reward/clean | reward | Mean reward before injected noise; training never sees it.
reward/unknown | share | Trajectories without any outcome (the source abstained or failed).
accuracy/sampled | share | Trajectories of the step whose clean reward is at least .999, at the training temperature.
noise/flipped_share | share | Trajectories whose reward the injected noise changed.
correction/false_positives | share | Rate of wrong answers told right that the correction reckons with.
correction/false_negatives | share | Rate of right answers told wrong that the correction reckons with.
correction/exchanged_groups | share | Rate of groups told the wrong way round that the correction reckons with.
correction/exchanged_share | share | Mean probability that a group of this step was told the wrong way round.
correction/signal | ratio | Youden's J of that channel: how far apart right and wrong answers are told on average.
correction/signal_low | ratio | Lower end of the 95% interval of J from audits.
correction/signal_high | ratio | Upper end of the 95% interval of J from audits.
correction/alarm | share | 1 where J's interval reaches 0: what is told may say nothing about what is true.
correction/audits | count | Verdicts of this step that were checked by a better source.
correction/changed_share | share | Trajectories whose reward the correction changed by more than a thousandth.
correction/error_said | reward | Mean absolute difference of what was said (noise included) from the clean reward.
correction/error_told | reward | The same after correction: below it where the correction helps.
noise/false_positives | share | Wrong answers of the step that were said to be right, where the truth is known.
noise/false_negatives | share | Right answers of the step that were said to be wrong, where the truth is known.
noise/hacking_gap | reward | Mean of what was said minus the clean reward: it grows where the policy learns to please.
noise/length_correlation | ratio | Correlation over answers of length and the reward that training was told.
noise/length_correlation_clean | ratio | Correlation over answers of length and the clean reward.
reward/failed | share | Verdicts that failed: the source raised, hung, or said nonsense.
reward/cost | cost | What the step's verdicts cost, in the source's own unit.
reward/disagreement | reward | Mean standard deviation over objectives of what they told about one answer.
advantage/share/* | share | This objective's part in the absolute differences between siblings that training was told.
policy/entropy | nats | Mean entropy of the policy's next-token law at sampled tokens.
policy/kl_behavior | nats | Mean k3 estimate of KL(behavior || policy) over the update's passes; 0 with one update.
policy/kl_reference | nats | Mean k3 estimate of KL(policy || reference) at sampled tokens.
policy/kl_reference_law | nats | Mean KL(policy || reference) over the whole vocabulary at sampled tokens.
imitation/nats | nats | Mean cross-entropy of the imitated tokens, before any weight or smoothing.
imitation/perplexity | ratio | Mean over imitated answers of exp(nats per token of the answer).
imitation/token_accuracy | share | Imitated tokens that are the likeliest one of their law.
imitation/left_out | share | Tokens that selective fine-tuning does not imitate.
policy/kl_teacher | nats | Mean KL(policy || teacher) over the vocabulary at sampled tokens, teacher as distilled from.
policy/pairs | count | Pairs of siblings in an optimizer step of an objective that compares them.
policy/pair_gap | nats | Mean over pairs of the better answer's log-ratio to the anchor less the worse one's.
policy/pair_accuracy | share | Pairs whose better answer gained on the worse one since the anchor; equal counts half.
policy/pair_weight_max | ratio | Largest weight of a pair over the mean weight.
policy/ratio_spread | nats | Mean distance of an answer's log-ratio to the anchor from its group's mean.
policy/unlearning_force | share | Mean probability of the tokens that are unlearned: what they are pushed with.
policy/layer_divergence | nats | Mean Jensen-Shannon divergence of an inner layer's law and the final one.
policy/view_divergence | nats | Mean divergence of the policy from its view at the tokens that the view covers.
policy/view_covered | share | Sampled tokens that the view speaks about.
policy/step_log_ratio | nats | Mean over trained steps of the log-ratio of policy to reference, summed over a step.
policy/clip_fraction | share | Trained tokens whose ratio left the trust region on the side where clipping binds.
policy/clip_fraction_low | share | Trained tokens with negative advantage whose ratio fell below 1 - low.
policy/clip_fraction_high | share | Trained tokens with positive advantage whose ratio rose above 1 + high.
policy/ratio_mean | ratio | Mean of policy over proximal probability at trained tokens.
policy/ratio_max | ratio | Largest ratio of policy over proximal probability at a trained token.
policy/grad_norm | norm | L2 norm of the policy's gradient before clipping, mean over optimizer steps.
evolution/members | count | Members of the population that were told at least one outcome.
evolution/fitness_std | reward | Standard deviation over members of their mean outcome, prompt means taken off.
evolution/update_norm | norm | L2 norm of the change of all weights, the anchor's pull included.
evolution/drift | norm | L2 distance of all weights from those that the run began with.
policy/updates | count | Optimizer steps of the policy in this step.
policy/sampled_logprob | nats | Mean log-probability of the sampled tokens under the policy that sampled them.
critic/explained_variance | share | 1 - Var(told - value) / Var(told) over sampled tokens; told is the whole outcome.
critic/explained_variance_clean | share | The same against the clean outcome: what the critic knows of the truth.
critic/bias | reward | Mean of value - told outcome over sampled tokens; positive means optimistic.
critic/bias_clean | reward | Mean of value - clean outcome over sampled tokens.
critic/brier | reward² | Mean of (value - told outcome)² over sampled tokens.
critic/brier_clean | reward² | Mean of (value - clean outcome)² over sampled tokens.
critic/ece | reward | Expected calibration error in 10 equal bins of value, against the told outcome.
critic/ece_clean | reward | Expected calibration error in 10 equal bins of value, against the clean outcome.
critic/rank_correlation | correlation | Spearman correlation of value and told outcome over sampled tokens.
critic/rank_correlation_clean | correlation | Spearman correlation of value and clean outcome over sampled tokens.
critic/value_mean | reward | Mean value over sampled tokens.
critic/value_std | reward | Standard deviation of value over sampled tokens.
critic/value_first | reward | Mean value before the first sampled token: what the prompt alone promises.
critic/value_last | reward | Mean value before the last sampled token.
critic/loss | loss | The critic's reduced loss, mean over its optimizer steps.
critic/grad_norm | norm | L2 norm of the critic's gradient before clipping, mean over optimizer steps.
critic/updates | count | Optimizer steps of the critic in this step.
critic/moving_share | share | Sampled tokens after a row's first whose value is not that of the token before.
critic/quantile_spread | reward | Mean distance of the .9 and .1 quantiles of the predicted return law.
critic/dormant_units | share | Features that the head reads whose mean size is at most .025 of the mean feature's.
critic/feature_rank | directions | Effective rank of the features that the critic's head reads: exp of their entropy.
critic/weight_norm | norm | L2 norm of all of the critic's weights.
critic/replay_ratio | passes | The critic's passes over the step's batch that an adaptive replay aims at.
critic/fresh_error | share | Mean (value - told)² / Var(told) since the last reading, before it was learned from.
critic/unread_statements | share | Statements of a critic that writes that could not be read as a value.
critic/statement_reward | reward | Mean of 1 - (stated - told)² over statements learned from; unread ones earn 0.
critic/statement_entropy | nats | Mean entropy of the writing critic's next-token law at the tokens of its statements.
critic/disagreement | reward | Mean standard deviation over ensemble members of their mean values.
advantage/mean | credit | Mean advantage over trained tokens.
advantage/std | credit | Standard deviation of the advantage over trained tokens.
advantage/max_abs | credit | Largest absolute advantage of a trained token.
step/skipped | count | 1 if a number that was not finite kept this step, or the rest of it, from being learned from.
samples/trained | samples | Trajectories in the loss.
samples/masked | samples | Trajectories in the batch with weight 0.
samples/filtered | samples | Trajectories scored and rejected before the batch.
samples/failed | samples | Trajectories without an outcome.
samples/zero_variance | samples | Trajectories whose group told nothing: all its rewards are equal.
samples/fewest | samples | Fewest samples of a prompt of the batch, as the budget gave them.
samples/most | samples | Most samples of a prompt of the batch.
prompts/trained | prompts | Prompts with at least one trained sample.
prompts/mixed | share | Prompts of the batch whose known told outcomes are not all equal.
tokens/sampled | tokens | Tokens that the policy wrote in this step.
tokens/prompt | tokens | Context tokens of this step's rows.
tokens/trained | tokens | Sampled tokens that carry weight in the loss.
tokens/padding | share | Padding cells of the step's grid.
length/mean | tokens | Mean sampled tokens of a trajectory.
length/max | tokens | Most sampled tokens of a trajectory.
length/correct | tokens | Mean sampled tokens of trajectories that are right (clean).
length/wrong | tokens | Mean sampled tokens of trajectories that are wrong (clean).
length/limit_share | share | Trajectories cut by the token limit.
length/stop_share | share | Trajectories that ended by a stop string, where one did.
sampling/kept_tokens | tokens | Mean number of tokens that one was drawn among, where sampling left some out.
mismatch/mean_abs_logratio | nats | Mean |proximal - behavior log-prob| at sampled tokens: sampler against trainer.
mismatch/max_abs_logratio | nats | Largest |proximal - behavior log-prob| at a sampled token.
mismatch/dropped | share | Trained tokens that count for nothing because sampler and policy disagree.
episode/turns | turns | Mean turns that the policy wrote in an episode, over all its scenes.
episode/limited_share | share | Episodes that a limit of turns, tokens or context ended.
episode/right_first | share | Episodes whose first attempt was told right, where every verdict is known.
episode/right_any | share | Episodes one of whose attempts was told right, where every verdict is known.
episode/first_turn | reward | Mean told verdict about first answers, where a critique may follow.
episode/belief_first | nats | Mean entropy of what the policy would answer before it has read anything.
episode/belief_last | nats | Mean entropy of what the policy would answer from its last memory.
episode/second_turn | reward | Mean told verdict about second answers, written after a critique of the first.
continuations/states | states | Distinct prefixes that a critic had the policy go on from.
continuations/samples | samples | Continuations that the policy wrote for a critic and the source was asked about.
continuations/tokens | tokens | Tokens written for a critic's continuations; they come on top of tokens/sampled.
continuations/read_tokens | tokens | Prefix tokens read for a critic's continuations, each prefix once.
continuations/unknown | share | Continuations without an outcome.
control/stop_rate | share | Answers that the decode control gave up while they were written.
control/false_stop_rate | share | Answers under audit, given up by the rule and written on nevertheless, that are right.
control/threshold | value | The threshold of the stop rule, steered towards its target rate.
control/guided_share | share | Sampled tokens that value guidance had a hand in.
control/guidance_kl | nats | Mean KL(guided || policy) of the next-token law, over guided tokens.
learning_rate/policy | 1/step | Learning rate of the policy's optimizer at the end of the step.
learning_rate/critic | 1/step | Learning rate of the critic's optimizer at the end of the step.
loss/* | loss | A reduced loss term of this name, before its weight, mean over optimizer steps.
correction/objective/* | any | The metric correction/… of this objective alone, where there are several.
reward/source/* | reward | Mean told reward of this objective.
accuracy/source/* | share | Trajectories of this task source whose clean reward is at least .999.
"""


def _read_table(table: str) -> Mapping[str, MetricDefinition]:
    lines = [[cell.strip() for cell in line.split(" | ")] for line in table.strip().splitlines()]
    return MappingProxyType({name: MetricDefinition(name, unit, sentence) for name, unit, sentence in lines})


GLOSSARY: Mapping[str, MetricDefinition] = _read_table(_TABLE)
_FAMILIES = tuple(sorted((name[:-1] for name in GLOSSARY if name.endswith("/*")), key=len, reverse=True))


def definition(name: str) -> MetricDefinition:
    """The definition of this metric, or `UndeclaredMetric` with the nearest declared name."""
    if name in GLOSSARY and not name.endswith("/*"):
        return GLOSSARY[name]
    for family in _FAMILIES:
        if name.startswith(family) and len(name) > len(family) and not name.endswith("*"):
            return GLOSSARY[family + "*"]
    near = difflib.get_close_matches(name, GLOSSARY, n=1)
    hint = f"; the nearest declared name is {near[0]!r}" if near else ""
    raise UndeclaredMetric(f"metric {name!r} is not declared in critica/records/metrics.py{hint}: add one line there")


def require_declared(names: Iterable[str]) -> None:
    """Raise `UndeclaredMetric` for the first name that the glossary does not hold."""
    for name in names:
        definition(name)
