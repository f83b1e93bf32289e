"""The same training samples as `data.synthetic` makes, as tensors on a device.

```python
generator = TensorGenerator("bank.zip", SyntheticConfig(), seed=1, device="cuda")
generator.batch(7, 256)      # template, online, search, box, present, weight: all on the device
```

What happens in a sample is drawn on the CPU, a table of numbers for a whole batch at once; pictures
lie on the device and are only sampled there. So a batch costs a few hundred kernels whatever its
size, and no loader stands in the way.
"""

from .generator import TensorGenerator

__all__ = ["TensorGenerator"]
