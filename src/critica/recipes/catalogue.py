"""The catalogue: every recipe by name, beside every built-in part by kind and short name. Nothing registers itself."""

from collections.abc import Mapping
from types import MappingProxyType

from critica.recipes.a2po import A2PO
from critica.recipes.a_hpo import A_HPO
from critica.recipes.align_distil import ALIGN_DISTIL
from critica.recipes.answer_posterior import ANSWER_POSTERIOR
from critica.recipes.aryabhata2 import ARYABHATA2
from critica.recipes.base import Recipe
from critica.recipes.beta_baseline import BETA_BASELINE
from critica.recipes.bpco import BPCO
from critica.recipes.ce_u import CE_U
from critica.recipes.cispo import CISPO
from critica.recipes.cme import CME
from critica.recipes.code_rl import CODE_RL
from critica.recipes.corver import CORVER
from critica.recipes.dapo import DAPO
from critica.recipes.direct_advantage import DIRECT_ADVANTAGE
from critica.recipes.distraction_if import DISTRACTION_IF
from critica.recipes.dno import DNO
from critica.recipes.dpo import DPO
from critica.recipes.dqc import DQC
from critica.recipes.dr_dpo import DR_DPO
from critica.recipes.dr_grpo import DR_GRPO
from critica.recipes.dvpo import DVPO
from critica.recipes.eksft import EKSFT
from critica.recipes.es_awd import ES_AWD
from critica.recipes.espo import ESPO
from critica.recipes.evo_rubric import EVO_RUBRIC
from critica.recipes.gapd import GAPD
from critica.recipes.gcpo import GCPO
from critica.recipes.gdpo import GDPO
from critica.recipes.genac import GENAC
from critica.recipes.gmpo import GMPO
from critica.recipes.grpo import GRPO
from critica.recipes.gspo import GSPO
from critica.recipes.gvpo import GVPO
from critica.recipes.hista import HISTA
from critica.recipes.hl_gauss import HL_GAUSS
from critica.recipes.hpo import HPO
from critica.recipes.inpo import INPO
from critica.recipes.ladder import LADDER
from critica.recipes.max_rl import MAX_RL
from critica.recipes.mmpo import MMPO
from critica.recipes.mul_dim_if import MUL_DIM_IF
from critica.recipes.multi_attempt import MULTI_ATTEMPT
from critica.recipes.novelty import NOVELTY
from critica.recipes.numca import NUMCA
from critica.recipes.oisd import OISD
from critica.recipes.opo import OPO
from critica.recipes.part_names import PARTS
from critica.recipes.pearl import PEARL
from critica.recipes.peo import PEO
from critica.recipes.pkpo import PKPO
from critica.recipes.policy_cliff import POLICY_CLIFF
from critica.recipes.post_time import POST_TIME
from critica.recipes.power_sampling import POWER_SAMPLING
from critica.recipes.ppo import PPO
from critica.recipes.proact import PROACT
from critica.recipes.prompt_spec import PROMPT_SPEC
from critica.recipes.q_sharp import Q_SHARP
from critica.recipes.reinforce import REINFORCE
from critica.recipes.reinforce_pp import REINFORCE_PP
from critica.recipes.reinforce_pp_baseline import REINFORCE_PP_BASELINE
from critica.recipes.remax import REMAX
from critica.recipes.retro_act import RETRO_ACT
from critica.recipes.rewarding_doubt import REWARDING_DOUBT
from critica.recipes.rl2ml import RL2ML
from critica.recipes.rlhs import RLHS
from critica.recipes.rloo import RLOO
from critica.recipes.rlr3 import RLR3
from critica.recipes.rltf_fm import RLTF_FM
from critica.recipes.rltf_sd import RLTF_SD
from critica.recipes.robust_bellman import ROBUST_BELLMAN
from critica.recipes.roro import RORO
from critica.recipes.sapo import SAPO
from critica.recipes.sentence_reward import SENTENCE_REWARD
from critica.recipes.sft import SFT
from critica.recipes.sg_srl import SG_SRL
from critica.recipes.stac import STAC
from critica.recipes.surprise import SURPRISE
from critica.recipes.tempo import TEMPO
from critica.recipes.trace import TRACE
from critica.recipes.v0 import V0
from critica.recipes.v0_5 import V0_5
from critica.recipes.v0_5_budget import V0_5_BUDGET
from critica.recipes.v0_budget import V0_BUDGET
from critica.recipes.vapo import VAPO
from critica.recipes.vc_ppo import VC_PPO
from critica.recipes.vine_ppo import VINE_PPO
from critica.recipes.vrpo import VRPO

__all__ = ["PARTS", "RECIPES"]

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (
        REINFORCE, RLOO, GRPO, DR_GRPO, DAPO, PPO, VC_PPO, DVPO, ESPO, VAPO, VRPO,
        ROBUST_BELLMAN, STAC, HL_GAUSS, BPCO,
        BETA_BASELINE, TEMPO, NUMCA, HISTA, V0, V0_5,
        SURPRISE, VINE_PPO, PROACT, GENAC,
        V0_BUDGET, V0_5_BUDGET,
        Q_SHARP, CODE_RL,
        DIRECT_ADVANTAGE, DQC, SENTENCE_REWARD, ALIGN_DISTIL,
        ANSWER_POSTERIOR, REWARDING_DOUBT, MUL_DIM_IF, POST_TIME, DISTRACTION_IF,
        RLR3, EVO_RUBRIC, PROMPT_SPEC, RORO, PEARL, SG_SRL, RLHS,
        CME, TRACE, CORVER,
        MULTI_ATTEMPT, RLTF_SD, RLTF_FM, RETRO_ACT, MMPO, LADDER,
        ES_AWD, POLICY_CLIFF, POWER_SAMPLING, NOVELTY, ARYABHATA2,
        REINFORCE_PP, REINFORCE_PP_BASELINE, GSPO, CISPO, SAPO, GMPO, OPO, REMAX,
        MAX_RL, PKPO, RL2ML, HPO, A_HPO, GDPO,
        GCPO, OISD, GAPD,
        GVPO, A2PO, DPO, DNO, INPO, DR_DPO, CE_U, PEO,
        SFT, EKSFT,
    )}
)
