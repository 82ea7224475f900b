"""The conformance suite: checks any backend, ours or a stranger's, against every op that polygrad declares.

It names no op: it walks the registry. For every op, case, data type and backend: the value against the reference in double
precision, the JVP against a central difference, the VJP by the adjoint identity, the same of the pull and the push for
second order, the placement of every cotangent, each operand alone, broadcast, empty and size-one operands, a device
that is not the default, and each override against its body. Beside it: kinks, indexing and operators of the tensor object,
equal random bits and equal training curves.

Run it as a command, `python -m polygrad_conformance --backend NAME`, or as a pytest plugin,
`pytest --pyargs polygrad_conformance --pg-backend NAME`. A backend is an entry point of the group `polygrad.backends`, a module
that has a `backend`, or a module that is an Array API namespace. `polygrad_conformance.suite` has the same for programs.
"""
