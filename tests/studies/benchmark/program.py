"""A program without any of our code: it reads the files of a problem and writes an answer."""

import json
import sys

import numpy as np

with open("problem.json") as stream:
    problem = json.load(stream)
assert problem["kind"] == "locate"
with np.load(problem["heard"]) as heard:
    count = len(heard["valid"])
assert "position" not in heard
if sys.argv[1:] == ["fail"]:
    sys.exit("no idea")
if sys.argv[1:] == ["hang"]:
    import time

    time.sleep(600)
with open("answer.csv", "w") as answer:
    answer.write("target,x,y,z\n")
    for k in range(count):
        answer.write(f"{k},{10.0 * k},20,0\n")
