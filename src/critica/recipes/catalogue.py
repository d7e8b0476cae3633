"""The catalogue: every recipe by name, and every built-in part by kind and short name. Nothing registers itself."""

from collections.abc import Mapping
from types import MappingProxyType

from critica.advantages.gae import Gae, LengthAdaptive, QuantileGae
from critica.advantages.nodes import NodeGae
from critica.advantages.outcome import Outcome
from critica.advantages.standardized import Standardized
from critica.advantages.tempo import TreeDifference
from critica.critics.bodies import OwnBody, SharedTrunk, SmallModel
from critica.critics.counted import GroupMean, LeaveOneOut, NoBaseline
from critica.critics.fused_value import FusedValue
from critica.critics.hista import HiddenNeighbors
from critica.critics.numca import NumberSets
from critica.critics.posterior import BetaPosterior
from critica.critics.prompt_value import PromptValue
from critica.critics.quantile import QuantileCritic
from critica.critics.scalar import ScalarCritic
from critica.critics.targets import LambdaMixture, LambdaReturn, MonteCarlo, QuantileLambda
from critica.critics.tempo import PrefixTree
from critica.curricula.stream import Stream
from critica.environments.arithmetic import Arithmetic
from critica.environments.binary_tree import BinaryTree
from critica.environments.chain import Chain
from critica.environments.digit_sum import DigitSum
from critica.environments.files import TaskFile
from critica.environments.mixes import MixEntry
from critica.environments.reasoning_gym import ReasoningGym
from critica.environments.two_branch import TwoBranch
from critica.objectives.penalties import Entropy, ReferenceKl
from critica.objectives.surrogates import ClippedRatio, PolicyGradient
from critica.policies.part import LocalPolicy
from critica.recipes.base import Paper, Recipe
from critica.recipes.beta_baseline import BETA_BASELINE
from critica.recipes.dapo import DAPO
from critica.recipes.dr_grpo import DR_GRPO
from critica.recipes.dvpo import DVPO
from critica.recipes.espo import ESPO
from critica.recipes.grpo import GRPO
from critica.recipes.hista import HISTA
from critica.recipes.numca import NUMCA
from critica.recipes.ppo import PPO
from critica.recipes.reinforce import REINFORCE
from critica.recipes.rloo import RLOO
from critica.recipes.tempo import TEMPO
from critica.recipes.v0 import V0
from critica.recipes.v0_5 import V0_5
from critica.recipes.vc_ppo import VC_PPO
from critica.records.losses import Constant, SequenceMeanOfTokenMeans, SequenceMeanOfTokenSums, TokenMean
from critica.rewards.base import FailurePolicy
from critica.rewards.noise import Flip, NoNoise
from critica.rewards.unit_tests import UnitTests
from critica.rewards.verifiers import EnvironmentScorer, Exact, Function, Numeric, RegexExtract
from critica.rollout.admission import AcceptAll, Informative
from critica.rollout.control import NoControl
from critica.rollout.early_stop import EarlyStop
from critica.updaters.gradient import Adam

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (
        REINFORCE, RLOO, GRPO, DR_GRPO, DAPO, PPO, VC_PPO, DVPO, ESPO,
        BETA_BASELINE, TEMPO, NUMCA, HISTA, V0, V0_5,
    )}
)

PARTS: Mapping[str, Mapping[str, type]] = MappingProxyType(
    {
        "critic": {
            "none": NoBaseline,
            "group_mean": GroupMean,
            "leave_one_out": LeaveOneOut,
            "beta_posterior": BetaPosterior,
            "prefix_tree": PrefixTree,
            "number_sets": NumberSets,
            "hidden_neighbors": HiddenNeighbors,
            "prompt_value": PromptValue,
            "fused_value": FusedValue,
            "scalar": ScalarCritic,
            "quantile": QuantileCritic,
        },
        "body": {"own": OwnBody, "shared": SharedTrunk, "small": SmallModel},
        "target": {
            "monte_carlo": MonteCarlo,
            "lambda_return": LambdaReturn,
            "quantile_lambda": QuantileLambda,
            "lambda_mixture": LambdaMixture,
        },
        "advantage": {
            "outcome": Outcome,
            "gae": Gae,
            "quantile_gae": QuantileGae,
            "standardized": Standardized,
            "tree_difference": TreeDifference,
            "node_gae": NodeGae,
        },
        "decay": {"length_adaptive": LengthAdaptive},
        "surrogate": {"policy_gradient": PolicyGradient, "clipped_ratio": ClippedRatio},
        "reduction": {
            "token_mean": TokenMean,
            "sequence_mean_of_token_means": SequenceMeanOfTokenMeans,
            "sequence_mean_of_token_sums": SequenceMeanOfTokenSums,
            "constant": Constant,
        },
        "penalty": {"reference_kl": ReferenceKl, "entropy": Entropy},
        "policy": {"local": LocalPolicy},
        "environment": {
            "reasoning_gym": ReasoningGym,
            "arithmetic": Arithmetic,
            "digit_sum": DigitSum,
            "binary_tree": BinaryTree,
            "chain": Chain,
            "two_branch": TwoBranch,
            "task_file": TaskFile,
        },
        "entry": {"dataset": MixEntry},
        "reward": {
            "environment": EnvironmentScorer,
            "exact": Exact,
            "numeric": Numeric,
            "regex": RegexExtract,
            "function": Function,
            "unit_tests": UnitTests,
        },
        "noise": {"none": NoNoise, "flip": Flip},
        "failures": {"at_most": FailurePolicy},
        "admission": {"accept_all": AcceptAll, "informative": Informative},
        "control": {"none": NoControl, "early_stop": EarlyStop},
        "curriculum": {"stream": Stream},
        "optimizer": {"adam": Adam},
        "paper": {"paper": Paper},
    }
)
