"""Seeing inside the network: attention of the prediction tokens, distributions of the sides.

```python
insight = explain_frame("clip.mp4", (175, 137, 93, 86), frame=120)
save_picture(insight, "look.png")
save_page(insight, "look.html")
```
Needs the extra `torch`; `save_picture` needs `eval` too.
"""

from .attention import SIDES, Attention, prediction_attention
from .distributions import entropy, spread
from .frame import Insight, explain_frame
from .page import save_page
from .picture import save_picture

__all__ = [
    "SIDES",
    "Attention",
    "Insight",
    "entropy",
    "explain_frame",
    "prediction_attention",
    "save_page",
    "save_picture",
    "spread",
]
