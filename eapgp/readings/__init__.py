"""What single nodes do on prompts: where heads attend, the roles that they have, what nodes write towards the answer.

Unlike edge scores these need no gradient and no intervention (but to check a role): they are read off plain runs.
"""

from eapgp.readings.attention import HeadPattern, head_pattern
from eapgp.readings.attention_terms import AttentionTerms, attention_terms
from eapgp.readings.direct import DirectContributions, direct_contributions
from eapgp.readings.promoted import PromotedTokens, promoted_tokens
from eapgp.readings.role_check import RoleCheck, check_role
from eapgp.readings.role_table import ROLES
from eapgp.readings.roles import HeadRoles, head_roles

__all__ = [
    "ROLES",
    "AttentionTerms",
    "DirectContributions",
    "HeadPattern",
    "HeadRoles",
    "PromotedTokens",
    "RoleCheck",
    "attention_terms",
    "check_role",
    "direct_contributions",
    "head_pattern",
    "head_roles",
    "promoted_tokens",
]
