"""Checks the demo's evaluation: usage check_demo.py evaluation.json"""
import json
import sys

found = json.load(open(sys.argv[1]))
image = found["image_auroc"][found["default_score"]]["value"]
pixel = found["pixel_auroc"]
print(f"demo: image AUROC {image:.4f}, pixel AUROC {pixel:.4f}")
assert image > 0.95 and pixel > 0.95, "both must lie above 0.95"
