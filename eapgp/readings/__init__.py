"""What single nodes do on prompts: where heads attend, and what nodes write towards the answer.

Unlike edge scores these need no gradient and no intervention: they are read off the clean and the
corrupted run.
"""

from eapgp.readings.attention import HeadPattern, head_pattern
from eapgp.readings.direct import DirectContributions, direct_contributions
from eapgp.readings.promoted import PromotedTokens, promoted_tokens

__all__ = [
    "DirectContributions",
    "HeadPattern",
    "PromotedTokens",
    "direct_contributions",
    "head_pattern",
    "promoted_tokens",
]
