"""Checks that the closed form agrees with its prototype on `bottle`: usage check_bottle.py evaluation.json

The prototype's image AUROC was 0.994 to 0.998 and its pixel AUROC 0.979, rounded to 0.99 and 0.98.
"""
import json
import sys

found = json.load(open(sys.argv[1]))
image = found["image_auroc"][found["default_score"]]["value"]
pixel = found["pixel_auroc"]
print(f"bottle: image AUROC {image:.4f}, pixel AUROC {pixel:.4f}")
assert image >= 0.985 and pixel >= 0.975, "expected 0.99 and 0.98 to two digits"
