"""Doors to tools of others. Each module stands alone and imports its tool only when called.

| module | for |
|---|---|
| `opencv` | programs written for `cv2.Tracker` |
| `supervision` | `sv.Detections` for supervision's annotators, zones and sinks |
| `fiftyone` | a FiftyOne video dataset with a label on each frame |
| `got10k` | the got10k toolkit's experiments |
| `cvat` | CVAT: a serverless function, and a tracking function of its SDK |
| `label_studio` | Label Studio: an ML backend, and tasks with results as predictions |
"""
