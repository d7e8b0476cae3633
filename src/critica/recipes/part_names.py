"""Every built-in part by kind and short name: what `use = "quantile"` means. Nothing registers itself."""

from collections.abc import Mapping
from types import MappingProxyType

from critica.advantages.best_only import BestOnly
from critica.advantages.contrast import Contrast, LinearSpread, RankPower, SoftmaxSpread, TopSpread
from critica.advantages.count_weighted import CountWeighted, PassAt, PowerWeights, WeightCurve
from critica.advantages.feedback_credit import FeedbackCredit
from critica.advantages.gae import Gae, LengthAdaptive, QuantileGae
from critica.advantages.nodes import NodeGae
from critica.advantages.optimal_tilt import OptimalTilt
from critica.advantages.outcome import Outcome
from critica.advantages.outcome_confidence import OutcomeConfidence
from critica.advantages.risk import Cumulative, Cvar, Mean, MinusSpread, Power, Wang, WorstHead
from critica.advantages.shaped import ShapedOutcome
from critica.advantages.sign_weighted import AdaptiveSignWeighted, SignWeighted
from critica.advantages.standardized import Standardized
from critica.advantages.step_tilt import StepTilt
from critica.advantages.tempo import TreeDifference
from critica.advantages.token_reward import TokenReward
from critica.advantages.worst_prompts import WorstPrompts
from critica.critics.blend import Blend
from critica.critics.bodies import LoraBody, OwnBody, SharedTrunk, SmallModel
from critica.critics.bottleneck import Bottleneck
from critica.critics.bounded import BoundedCritic
from critica.critics.categorical import CategoricalCritic
from critica.critics.chunk import ChunkCritic
from critica.critics.chunk_targets import ChunkBackup, StepStarts
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.critics.ensemble import Ensemble
from critica.critics.fused_value import FusedValue
from critica.critics.gaussian import GaussianCritic
from critica.critics.generative import GenerativeCritic
from critica.critics.greedy_answer import GreedyAnswer
from critica.critics.hista import HiddenNeighbors
from critica.critics.lagged import Lagged
from critica.critics.language import StatedValue
from critica.critics.length_weighted import LengthWeighted
from critica.critics.monte_carlo import MonteCarloRollouts
from critica.critics.numca import NumberSets
from critica.critics.outcome_classes import OutcomeClasses
from critica.critics.pair_targets import SiblingPairs
from critica.critics.posterior import BetaPosterior
from critica.critics.preference_models import PreferenceModels
from critica.critics.privileged import Privileged
from critica.critics.prompt_value import PromptValue
from critica.critics.quantile import QuantileCritic
from critica.critics.reference_tail import ReferenceTail
from critica.critics.scalar import ScalarCritic
from critica.critics.semantic import SemanticAnchor
from critica.critics.sentence_reward import SentenceReward
from critica.critics.simulator import SimulatorRollouts
from critica.critics.success import SuccessCritic
from critica.critics.surprise import SurpriseCritic
from critica.critics.targets import (
    CategoricalLambda,
    GroupQuantiles,
    LambdaMixture,
    LambdaReturn,
    MonteCarlo,
    QuantileLambda,
)
from critica.critics.taught_ends import TaughtEnds
from critica.critics.tempo import PrefixTree
from critica.critics.token_values import TokenValues
from critica.critics.turn_mean import TurnMean
from critica.curricula.critic_then_policy import CriticThenPolicy
from critica.curricula.gated import GatedWarmup
from critica.curricula.growing import GrowingGroups
from critica.curricula.ladder import Ladder
from critica.curricula.stream import Stream
from critica.curricula.watching import Watching
from critica.environments.arithmetic import Arithmetic
from critica.environments.binary_tree import BinaryTree
from critica.environments.chain import Chain
from critica.environments.constrained import Constrained
from critica.environments.digit_sum import DigitSum
from critica.environments.files import TaskFile
from critica.environments.guess import Guess
from critica.environments.mixes import MixEntry
from critica.environments.reasoning_gym import ReasoningGym
from critica.environments.recall import Recall
from critica.environments.star_graph import StarGraph
from critica.environments.two_branch import TwoBranch
from critica.objectives.align_distil import Distillation
from critica.objectives.alone import Alone
from critica.objectives.cross_entropy import CrossEntropyLoss
from critica.objectives.direct_advantage import LogRatioRegression
from critica.objectives.eksft import SelectiveCrossEntropy
from critica.objectives.gold_actions import GoldActions, ReachedAnchors
from critica.objectives.layer_distillation import LayerDistillation
from critica.objectives.mismatch import GeometricMask, Masked, StaleRows, Truncated
from critica.objectives.noise_entropy import NoiseEntropy
from critica.objectives.pair_rules import Hinge, Logistic, SoftLogistic, SquaredGap
from critica.objectives.pair_weights import EvenPairs, Tilt, WorstMix, WorstShare
from critica.objectives.penalties import Entropy, ReferenceKl, SampledCertainty
from critica.objectives.policy_loss import PolicyLoss
from critica.objectives.positive_example import PositiveExamples
from critica.objectives.preference import PairLoss
from critica.objectives.regression import GroupRegression
from critica.objectives.surrogates import (
    ClippedRatio,
    ClippedShift,
    ClippedWeight,
    GammaWeight,
    GeometricMean,
    MaskedShift,
    PolicyGradient,
    SoftClip,
)
from critica.objectives.unlearning import Unlearning
from critica.objectives.view_distillation import ViewDistillation
from critica.policies.decoding import TokenByToken
from critica.policies.part import LocalPolicy
from critica.policies.power_sampling import PowerSampling
from critica.recipes.base import Paper
from critica.records.losses import Constant, SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums, TokenMean
from critica.records.views import AnotherContext
from critica.rewards.answer_only import AnswerOnly
from critica.rewards.answer_posterior import AnswerPosterior
from critica.rewards.audited_corrections import Appeal, AuditedValue
from critica.rewards.base import FailurePolicy
from critica.rewards.constraints import Constraints
from critica.rewards.correction_base import Uncorrected
from critica.rewards.corrections import Backward, Forward, Watched
from critica.rewards.corver import CorVer
from critica.rewards.cross_entropy_source import CrossEntropy
from critica.rewards.distraction import Distraction
from critica.rewards.each_objective import EachObjective
from critica.rewards.evo_rubric import EvoRubric
from critica.rewards.format import Format
from critica.rewards.hindsight import Hindsight
from critica.rewards.in_context import InContextReward
from critica.rewards.json_schema import JsonSchema
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_ranking import JudgeRanking
from critica.rewards.judge_reward import JudgeReward
from critica.rewards.length import Length
from critica.rewards.math_verifiers import MathVerify, StrictMath
from critica.rewards.noise import Flip, NoNoise
from critica.rewards.noise_labels import Confusion, Drift, ExploitableBug, Missing, ScorerOfAccuracy, Spurious
from critica.rewards.noise_values import Additive, Favor, Saturation
from critica.rewards.noise_wrong_labels import MajorityLabels, WrongLabels
from critica.rewards.post_time import RelativeForecast
from critica.rewards.posterior import Posterior
from critica.rewards.program_outcome import ProgramOutcome
from critica.rewards.prompt_spec import PromptSpec
from critica.rewards.proper_scoring import ProperScoring
from critica.rewards.rates import Audited, Stated
from critica.rewards.reward_model import RewardModel
from critica.rewards.rubric import Rubric
from critica.rewards.scripted_judge import ScriptedJudge
from critica.rewards.set_overlap import SetOverlap
from critica.rewards.several import Several
from critica.rewards.source_relevance import SourceRelevance
from critica.rewards.spec_file import SpecChecks
from critica.rewards.step_rubric import StepRubric
from critica.rewards.trace_source import Trace
from critica.rewards.unasked import Unasked
from critica.rewards.unit_tests import UnitTests
from critica.rewards.value_corrections import Repair, Soften, Unsure, Winsorize
from critica.rewards.verifiers import EnvironmentScorer, Exact, Function, Numeric, RegexExtract
from critica.rollout.admission import AcceptAll, DifficultyWindow, Informative
from critica.rollout.attempts import MultiAttempt
from critica.rollout.budget import Uniform
from critica.rollout.combine import LowerBound, NormalizeThenSum, Sum
from critica.rollout.control import NoControl
from critica.rollout.critiques import JudgeCritique, PolicyCritique, ToldAnswer
from critica.rollout.early_stop import EarlyStop
from critica.rollout.feedback import Feedback
from critica.rollout.forecast_budgets import ExpectedFailures, MixedGroups
from critica.rollout.given import Given
from critica.rollout.given_pairs import GivenPairs
from critica.rollout.guidance import ValueGuidance
from critica.rollout.memory import Memory
from critica.rollout.protocol import SingleTurn
from critica.rollout.retrospect import Retrospect
from critica.rollout.until_certain import UntilCertain
from critica.updaters.evolution import EvolutionStrategy, L1Anchor, L2Anchor, NoAnchor
from critica.updaters.gradient import Adam
from critica.updaters.replay_ratio import AdaptiveReplay, FixedReplay

PARTS: Mapping[str, Mapping[str, type]] = MappingProxyType(
    {
        "critic": {
            "none": NoBaseline,
            "group_mean": GroupMean,
            "leave_one_out": LeaveOneOut,
            "turn_mean": TurnMean,
            "length_weighted": LengthWeighted,
            "greedy_answer": GreedyAnswer,
            "beta_posterior": BetaPosterior,
            "prefix_tree": PrefixTree,
            "number_sets": NumberSets,
            "hidden_neighbors": HiddenNeighbors,
            "prompt_value": PromptValue,
            "fused_value": FusedValue,
            "monte_carlo_rollouts": MonteCarloRollouts,
            "simulator": SimulatorRollouts,
            "scalar": ScalarCritic,
            "quantile": QuantileCritic,
            "categorical": CategoricalCritic,
            "gaussian": GaussianCritic,
            "bounded": BoundedCritic,
            "success": SuccessCritic,
            "chunk": ChunkCritic,
            "sentence_reward": SentenceReward,
            "preference_models": PreferenceModels,
            "surprise": SurpriseCritic,
            "stated_value": StatedValue,
            "outcome_classes": OutcomeClasses,
            "token_values": TokenValues,
            "taught_ends": TaughtEnds,
            "ensemble": Ensemble,
            "lagged": Lagged,
            "blend": Blend,
            "privileged": Privileged,
        },
        "language_critic": {"generative": GenerativeCritic},
        "body": {"own": OwnBody, "shared": SharedTrunk, "small": SmallModel, "lora": LoraBody},
        "regularizer": {"bottleneck": Bottleneck, "semantic": SemanticAnchor},
        "target": {
            "monte_carlo": MonteCarlo,
            "lambda_return": LambdaReturn,
            "quantile_lambda": QuantileLambda,
            "lambda_mixture": LambdaMixture,
            "categorical_lambda": CategoricalLambda,
            "group_quantiles": GroupQuantiles,
            "reference_tail": ReferenceTail,
            "step_starts": StepStarts,
            "chunk_backup": ChunkBackup,
            "sibling_pairs": SiblingPairs,
        },
        "advantage": {
            "outcome": Outcome,
            "outcome_confidence": OutcomeConfidence,
            "gae": Gae,
            "quantile_gae": QuantileGae,
            "standardized": Standardized,
            "tree_difference": TreeDifference,
            "node_gae": NodeGae,
            "step_tilt": StepTilt,
            "shaped_outcome": ShapedOutcome,
            "token_reward": TokenReward,
            "worst_prompts": WorstPrompts,
            "optimal_tilt": OptimalTilt,
            "contrast": Contrast,
            "feedback_credit": FeedbackCredit,
            "count_weighted": CountWeighted,
            "sign_weighted": SignWeighted,
            "adaptive_sign_weighted": AdaptiveSignWeighted,
            "best_only": BestOnly,
        },
        "weights": {"power": PowerWeights, "pass_at": PassAt, "curve": WeightCurve},
        "spread": {
            "rank_power": RankPower,
            "softmax_spread": SoftmaxSpread,
            "linear_spread": LinearSpread,
            "top_spread": TopSpread,
        },
        "view": {"another_context": AnotherContext, "gold_actions": GoldActions},
        "matcher": {"reached_anchors": ReachedAnchors},
        "decay": {"length_adaptive": LengthAdaptive},
        "risk": {
            "mean": Mean,
            "cvar": Cvar,
            "wang": Wang,
            "power": Power,
            "cumulative": Cumulative,
            "minus_spread": MinusSpread,
            "worst_head": WorstHead,
        },
        "objective": {
            "policy_loss": PolicyLoss,
            "log_ratio_regression": LogRatioRegression,
            "distillation": Distillation,
            "alone": Alone,
            "pair_loss": PairLoss,
            "group_regression": GroupRegression,
            "unlearning": Unlearning,
            "cross_entropy": CrossEntropyLoss,
            "selective_cross_entropy": SelectiveCrossEntropy,
        },
        "pair_rule": {
            "logistic": Logistic,
            "squared_gap": SquaredGap,
            "soft_logistic": SoftLogistic,
            "hinge": Hinge,
        },
        "pair_weights": {"even": EvenPairs, "worst_mix": WorstMix, "worst_share": WorstShare, "tilt": Tilt},
        "surrogate": {
            "policy_gradient": PolicyGradient,
            "clipped_ratio": ClippedRatio,
            "clipped_shift": ClippedShift,
            "masked_shift": MaskedShift,
            "clipped_weight": ClippedWeight,
            "soft_clip": SoftClip,
            "geometric_mean": GeometricMean,
            "gamma_weight": GammaWeight,
        },
        "mismatch": {
            "truncated": Truncated,
            "masked": Masked,
            "geometric_mask": GeometricMask,
            "stale_rows": StaleRows,
        },
        "reduction": {
            "token_mean": TokenMean,
            "sequence_mean_of_token_means": SequenceMeanOfTokenMeans,
            "sequence_mean_of_token_sums": SequenceMeanOfTokenSums,
            "constant": Constant,
        },
        "penalty": {
            "reference_kl": ReferenceKl,
            "entropy": Entropy,
            "positive_examples": PositiveExamples,
            "noise_entropy": NoiseEntropy,
            "sampled_certainty": SampledCertainty,
            "layer_distillation": LayerDistillation,
            "view_distillation": ViewDistillation,
        },
        "policy": {"local": LocalPolicy},
        "environment": {
            "reasoning_gym": ReasoningGym,
            "arithmetic": Arithmetic,
            "digit_sum": DigitSum,
            "binary_tree": BinaryTree,
            "chain": Chain,
            "two_branch": TwoBranch,
            "guess": Guess,
            "recall": Recall,
            "star_graph": StarGraph,
            "constrained": Constrained,
            "task_file": TaskFile,
        },
        "entry": {"dataset": MixEntry},
        "reward": {
            "environment": EnvironmentScorer,
            "exact": Exact,
            "numeric": Numeric,
            "regex": RegexExtract,
            "function": Function,
            "several": Several,
            "unit_tests": UnitTests,
            "program_outcome": ProgramOutcome,
            "reward_model": RewardModel,
            "cross_entropy": CrossEntropy,
            "trace": Trace,
            "corver": CorVer,
            "judge": JudgeReward,
            "judge_ranking": JudgeRanking,
            "rubric": Rubric,
            "prompt_spec": PromptSpec,
            "spec_checks": SpecChecks,
            "evo_rubric": EvoRubric,
            "step_rubric": StepRubric,
            "hindsight": Hindsight,
            "source_relevance": SourceRelevance,
            "in_context": InContextReward,
            "math": MathVerify,
            "math_strict": StrictMath,
            "json_schema": JsonSchema,
            "set_overlap": SetOverlap,
            "proper_scoring": ProperScoring,
            "constraints": Constraints,
            "post_time": RelativeForecast,
            "distraction": Distraction,
            "unasked": Unasked,
            "format": Format,
            "length": Length,
            "answer_only": AnswerOnly,
        },
        "judge": {"http": HttpJudge, "scripted": ScriptedJudge},
        "noise": {
            "none": NoNoise,
            "flip": Flip,
            "confusion": Confusion,
            "accuracy": ScorerOfAccuracy,
            "missing": Missing,
            "spurious": Spurious,
            "bug": ExploitableBug,
            "drift": Drift,
            "additive": Additive,
            "favor": Favor,
            "saturation": Saturation,
            "wrong_labels": WrongLabels,
            "majority": MajorityLabels,
        },
        "correction": {
            "none": Uncorrected,
            "backward": Backward,
            "forward": Forward,
            "audited_value": AuditedValue,
            "appeal": Appeal,
            "watched": Watched,
            "repair": Repair,
            "soften": Soften,
            "winsorize": Winsorize,
            "unsure": Unsure,
            "posterior": Posterior,
            "each_objective": EachObjective,
            "answer_posterior": AnswerPosterior,
        },
        "rates": {"stated": Stated, "audited": Audited},
        "combination": {"sum": Sum, "normalize_then_sum": NormalizeThenSum, "lower_bound": LowerBound},
        "failures": {"at_most": FailurePolicy},
        "admission": {"accept_all": AcceptAll, "informative": Informative, "difficulty_window": DifficultyWindow},
        "control": {"none": NoControl, "early_stop": EarlyStop, "value_guidance": ValueGuidance},
        "protocol": {
            "single_turn": SingleTurn,
            "multi_attempt": MultiAttempt,
            "feedback": Feedback,
            "retrospect": Retrospect,
            "memory": Memory,
            "given": Given,
            "given_pairs": GivenPairs,
        },
        "critique": {"told_answer": ToldAnswer, "judge_critique": JudgeCritique, "policy_critique": PolicyCritique},
        "budget": {
            "uniform": Uniform,
            "expected_failures": ExpectedFailures,
            "mixed_groups": MixedGroups,
            "until_certain": UntilCertain,
        },
        "curriculum": {
            "stream": Stream,
            "ladder": Ladder,
            "gated_warmup": GatedWarmup,
            "critic_then_policy": CriticThenPolicy,
            "growing_groups": GrowingGroups,
            "watching": Watching,
        },
        "decoding": {"token_by_token": TokenByToken, "power_sampling": PowerSampling},
        "optimizer": {"adam": Adam, "evolution": EvolutionStrategy},
        "anchor": {"none": NoAnchor, "l2": L2Anchor, "l1": L1Anchor},
        "replay": {"fixed": FixedReplay, "adaptive": AdaptiveReplay},
        "paper": {"paper": Paper},
    }
)
