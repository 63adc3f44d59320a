"""Holds a finished demonstration against what the README says of it."""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

import archcomp_tf

MIN_RATIO = 20
MAX_POINTS_LOST = 2.0  # mean over the seeds; 500 test images, 0.2 points each
MIN_FILE_RATIO = 40  # teacher's float32 LiteRT file to student's int8 one

workdir = pathlib.Path(sys.argv[1])
results = json.loads((workdir / "report/results.json").read_text())
teacher, student = results["teacher"], results["student"]
assert teacher["num_params"] >= 250_000
assert teacher["test_accuracy"] >= 0.98, teacher["test_accuracy"]
assert student["compression_ratio"] >= MIN_RATIO, student
lost = 100 * (teacher["test_accuracy"] - np.mean(student["test_accuracies"]))
assert lost <= MAX_POINTS_LOST, f"{lost:.2f} points lost"

folder = workdir / "students" / student["fingerprint"]
teacher_bytes = (workdir / "teacher/model.keras").stat().st_size
student_bytes = (folder / "model.keras").stat().st_size
files = teacher_bytes / student_bytes
assert files >= student["compression_ratio"] / 2, (teacher_bytes, student_bytes)

litert = {name: file["bytes"] for name, file in results["files"].items()}
assert litert["teacher_float32"] >= MIN_FILE_RATIO * litert["student_int8"], (
    litert
)

test = archcomp_tf.datasets.load("digits").test
model = tf.saved_model.load(str(folder / "saved_model"))
served = model.classify(test.images)
accuracy = np.mean(np.argmax(served, axis=-1) == test.labels)
assert abs(accuracy - student["test_accuracy"]) < 1e-9, accuracy
print(
    f"demo: {student['compression_ratio']:.1f} times smaller, "
    f"{lost:.2f} points lost, .keras file {files:.1f} times smaller "
    f"({teacher_bytes:,} -> {student_bytes:,} bytes)"
)
