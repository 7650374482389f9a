#!/usr/bin/env python3
"""Checks an exported model: onnx.checker, onnxruntime against expected logits.

Usage: check_onnx.py MODEL.onnx INPUTS.f32 EXPECTED.f32 [--maximum-flips 0.001] [--batch 256] [--json]

INPUTS.f32: raw little-endian float32, normalized, NCHW, any number of samples of the model's input shape.
EXPECTED.f32: raw little-endian float32, the first output of the same samples, sample by sample.
Prints the share of samples whose largest logit differs and the largest and mean absolute difference of logits. Exits with
1 when the share exceeds --maximum-flips, 2 when the files do not fit the model. The providers are onnxruntime's CPU ones, with
graph optimizations off (Q/DQ computed as written) and on (fused to integer kernels); both must pass.
"""
import argparse
import json
import sys

import numpy
import onnx
import onnxruntime


def run(path, inputs, batch, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    output = session.get_outputs()[0].name
    parts = [session.run([output], {name: inputs[start:start + batch]})[0] for start in range(0, len(inputs), batch)]
    return numpy.concatenate(parts).reshape(len(inputs), -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("expected")
    parser.add_argument("--maximum-flips", type=float, default=0.001, help="largest share of differing labels")
    parser.add_argument("--batch", type=int, default=256, help="samples per run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()

    model = onnx.load(arguments.model)
    onnx.checker.check_model(model, full_check=True)
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    inputs = numpy.fromfile(arguments.inputs, "<f4")
    expected = numpy.fromfile(arguments.expected, "<f4")
    size = int(numpy.prod(shape))
    if len(inputs) == 0 or len(inputs) % size or len(expected) % (len(inputs) // size):
        print(f"error: {len(inputs)} input and {len(expected)} expected values do not fit samples of {shape}", file=sys.stderr)
        return 2
    inputs = inputs.reshape(-1, *shape)
    expected = expected.reshape(len(inputs), -1)

    level = onnxruntime.GraphOptimizationLevel
    report = {"model": arguments.model, "samples": len(inputs), "maximumFlips": arguments.maximum_flips, "runs": []}
    passed = True
    for label, setting in (("as written", level.ORT_DISABLE_ALL), ("fused", level.ORT_ENABLE_ALL)):
        logits = run(arguments.model, inputs, arguments.batch, setting)
        if logits.shape != expected.shape:
            print(f"error: {logits.shape[1]} outputs per sample, {expected.shape[1]} expected", file=sys.stderr)
            return 2
        flips = int((logits.argmax(1) != expected.argmax(1)).sum())
        difference = numpy.abs(logits.astype(numpy.float64) - expected)
        # A NaN on either side must fail: it makes the difference NaN, and no comparison with it is true.
        ok = bool(flips <= arguments.maximum_flips * len(inputs)) and bool(numpy.isfinite(difference).all())
        passed = passed and ok
        report["runs"].append({"optimization": label, "flips": flips, "share": flips / len(inputs),
                               "largestDifference": float(difference.max()), "meanDifference": float(difference.mean()),
                               "passed": ok})
    if arguments.json:
        print(json.dumps(report))
    else:
        for entry in report["runs"]:
            print(f"{entry['optimization']:>10}: {entry['flips']} of {len(inputs)} labels differ ({entry['share']:.3%}), logits by at "
                  f"most {entry['largestDifference']:.3g}, {entry['meanDifference']:.3g} on average: "
                  f"{'passed' if entry['passed'] else 'FAILED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
