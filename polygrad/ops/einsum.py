"""Sums of products in Einstein's notation, by pairs of operands in a cheap order."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations

from polygrad.core import case, composite
from polygrad.ops.products import _count

ELLIPSIS = "..."
EXHAUSTIVE = 5  # operands up to which every order is tried (180 orders of 5)


# ----------------------------------------------------------------------------------------------------- the notation


def _labels(term, count):
    """The labels of one term's axes; those under the ellipsis are numbered from the last."""
    if ELLIPSIS not in term:
        return tuple(term)
    before, _, after = term.partition(ELLIPSIS)
    hidden = count - len(before) - len(after)
    return (*before, *(f"{ELLIPSIS}{i}" for i in range(hidden - 1, -1, -1)), *after)


@lru_cache(maxsize=1024)
def _parsed(equation, counts):
    """The labels of each operand's axes and of the result's, for operands with so many axes."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(counts):
        raise ValueError(f"einsum: {equation!r} has {len(terms)} operands, {len(counts)} were given")
    inputs = [_labels(term, n) for term, n in zip(terms, counts, strict=True)]
    for term, labels, n in zip(terms, inputs, counts, strict=True):
        if len(labels) != n or not all(c.isalpha() for c in term.replace(ELLIPSIS, "", 1)):
            raise ValueError(f"einsum: {term!r} in {equation!r} does not name the axes of an operand with {n}")
    hidden = max((sum(c.startswith(ELLIPSIS) for c in labels) for labels in inputs), default=0)
    found = [c for labels in inputs for c in labels if not c.startswith(ELLIPSIS)]
    if not arrow:
        right = ELLIPSIS + "".join(sorted(c for c in set(found) if found.count(c) == 1))
    output = _labels(right, len(right.replace(ELLIPSIS, "", 1)) + (hidden if ELLIPSIS in right else 0))
    if len(set(output)) != len(output) or not {c for c in output if not c.startswith(ELLIPSIS)} <= set(found):
        raise ValueError(
            f"einsum: the result {right!r} in {equation!r} repeats a label or names one that no operand has"
        )
    return tuple(inputs), output


def _sizes(inputs, shapes):
    """The size of each label's axes. Raises ValueError where two differ and neither is one."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for c, n in zip(labels, shape, strict=True):
            if sizes.get(c, 1) == 1:
                sizes[c] = n
            elif n not in (1, sizes[c]):
                raise ValueError(f"einsum: label {c!r} stands for axes of sizes {sizes[c]} and {n}")
    return sizes


# ------------------------------------------------------------------------------------------------------- the order


def _merged(terms, i, j, output):
    """The terms after contracting two: the others, and the labels of the product that are still needed."""
    rest = [t for k, t in enumerate(terms) if k not in (i, j)]
    needed = set(output).union(*rest)
    return [*rest, tuple(sorted((set(terms[i]) | set(terms[j])) & needed))]


def _work(labels, sizes):
    return math.prod(sizes[c] for c in labels)


@lru_cache(maxsize=1024)
def _order(terms, output, sizes):
    """The pairs to contract in turn: the fewest multiplications for few operands, greedily for many."""
    return (
        _cheapest(list(terms), output, dict(sizes))[1]
        if len(terms) <= EXHAUSTIVE
        else _greedy(list(terms), output, dict(sizes))
    )


def _cheapest(terms, output, sizes):
    if len(terms) == 1:
        return 0, ()
    best = (math.inf, ())
    for i, j in combinations(range(len(terms)), 2):
        work = _work(set(terms[i]) | set(terms[j]), sizes)
        if work < best[0]:
            later, path = _cheapest(_merged(terms, i, j, output), output, sizes)
            best = min(best, (work + later, ((i, j), *path)))
    return best


def _greedy(terms, output, sizes):
    path = []
    while len(terms) > 1:

        def growth(pair, terms=terms):
            i, j = pair
            made = _merged(terms, i, j, output)[-1]
            work = _work(set(terms[i]) | set(terms[j]), sizes)
            return _work(made, sizes) - _work(terms[i], sizes) - _work(terms[j], sizes), work

        pair = min(combinations(range(len(terms)), 2), key=growth)
        path.append(pair)
        terms = _merged(terms, *pair, output)
    return tuple(path)


# ---------------------------------------------------------------------------------------------------- the products


def _arranged(xp, x, labels, wanted):
    """x with its axes in another order."""
    order = tuple(labels.index(c) for c in wanted)
    return x if order == tuple(range(len(order))) else xp.permute_dims(x, order)


def _simplified(xp, x, labels, sizes, needed):
    """An operand with each label once (the diagonal), broadcast axes dropped, and what nobody else needs summed."""
    for c in sorted({c for c in labels if labels.count(c) > 1}):
        while labels.count(c) > 1:
            i = labels.index(c)
            j = labels.index(c, i + 1)
            n = max(x.shape[i], x.shape[j])
            rest = tuple(k for k in range(len(labels)) if k not in (i, j))
            x = xp.permute_dims(x, (*rest, i, j))
            x = xp.linalg.diagonal(xp.broadcast_to(x, (*x.shape[:-2], n, n)))
            labels = (*(labels[k] for k in rest), c)
    single = tuple(i for i, c in enumerate(labels) if x.shape[i] == 1 and sizes[c] != 1)
    if single:
        x = xp.squeeze(x, axis=single)
        labels = tuple(c for i, c in enumerate(labels) if i not in single)
    return _summed(xp, x, labels, needed)


def _summed(xp, x, labels, needed):
    gone = tuple(i for i, c in enumerate(labels) if c not in needed)
    return (xp.sum(x, axis=gone, dtype=x.dtype), tuple(c for c in labels if c in needed)) if gone else (x, labels)


def _pair(xp, a, la, b, lb, needed):
    """The product of two operands, summed over the labels that both have and nobody else needs."""
    both = [c for c in la if c in lb]
    batch, inner = [c for c in both if c in needed], [c for c in both if c not in needed]
    left, right = [c for c in la if c not in both], [c for c in lb if c not in both]
    size = {**dict(zip(la, a.shape, strict=True)), **dict(zip(lb, b.shape, strict=True))}
    shape = tuple(size[c] for c in (*batch, *left, *right))
    a = _arranged(xp, a, la, (*batch, *left, *inner))
    b = _arranged(xp, b, lb, (*batch, *inner, *right))
    counts = [tuple(size[c] for c in group) for group in (batch, left, inner, right)]
    if not inner:
        ones = (1,) * len(right)
        b = xp.reshape(b, (*counts[0], *(1,) * len(left), *counts[3]))
        return xp.reshape(a, (*counts[0], *counts[1], *ones)) * b, (*batch, *left, *right)
    n, rows, k, columns = (_count(group) for group in counts)
    lead = (n,) if batch else ()
    y = xp.matmul(xp.reshape(a, (*lead, rows, k)), xp.reshape(b, (*lead, k, columns)))
    return xp.reshape(y, shape), (*batch, *left, *right)


def _from_lists(args):
    """The notation einsum(x1, [0, 1], x2, [1, 2], [0, 2]) as an equation and operands."""

    def word(numbers):
        return "".join(ELLIPSIS if n is Ellipsis else chr(ord("A") + n + 6 * (n > 25)) for n in numbers)

    pairs = len(args) // 2
    equation = ",".join(word(args[2 * i + 1]) for i in range(pairs))
    if len(args) % 2:
        equation += "->" + word(args[-1])
    return equation, args[: 2 * pairs : 2]


@composite(
    dtypes="numeric",
    cases=[
        case("ij,jk->ik", (2, 3), (3, 4)),
        case("bij,bjk", (2, 3, 4), (2, 4, 2)),
        case("ii->i", (3, 3)),
        case("ij->", (2, 3)),
        case("...ij,...kj->...ik", (2, 1, 3, 4), (5, 2, 4)),
        case("i,j,k->ijk", (2,), (3,), (4,)),
        case("ij,jk,kl,il->", (2, 3), (3, 4), (4, 2), (2, 2)),
        case("ij,ij->ij", (2, 3), (1, 3)),
    ],
)
def einsum(xp, equation, /, *operands, optimize=None):
    """The sum of products that an equation such as "ij,jk->ik" describes.

    A letter names an axis, the same letter axes that run together; what the right side leaves out is summed; "..." stands for
    axes that broadcast. Without "->" the result has the letters that occur once, in order. PyTorch's list of operands and
    its form with lists of numbers are taken too.

    Args:
        optimize: the pairs of operands to contract in turn, as `opt_einsum.contract_path` gives them; by default the
            order with the fewest multiplications (found greedily for more than five operands).

    Raises:
        ValueError: an equation that does not fit the operands.
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    inputs, output = _parsed(equation, tuple(len(x.shape) for x in operands))
    sizes = _sizes(inputs, [x.shape for x in operands])
    terms = []
    for i, (x, labels) in enumerate(zip(operands, inputs, strict=True)):
        needed = set(output).union(*(t for j, t in enumerate(inputs) if j != i))
        terms.append(_simplified(xp, x, labels, sizes, needed))
    path = optimize or _order(tuple(t[1] for t in terms), output, tuple(sorted(sizes.items())))
    for pair in path:
        chosen = [terms[k] for k in pair]
        terms = [t for k, t in enumerate(terms) if k not in pair]
        made = chosen[0]
        for other in chosen[1:]:
            needed = set(output).union(*(t[1] for t in terms))
            made = _pair(xp, made[0], made[1], other[0], other[1], needed)
        terms.append(made)
    y, labels = _summed(xp, terms[0][0], terms[0][1], set(output))
    y = _arranged(xp, y, labels, [c for c in output if c in labels])
    return _spread(xp, y, output, labels, sizes)


def _spread(xp, y, output, labels, sizes):
    """The result with the axes that were broadcast away everywhere (all of size one, or none has the label) put back."""
    shape = tuple(sizes[c] for c in output)
    if len(labels) == len(output):
        return y
    return xp.broadcast_to(xp.reshape(y, tuple(sizes[c] if c in labels else 1 for c in output)), shape)
